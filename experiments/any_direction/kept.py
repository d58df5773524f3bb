"""At which noise is it lost, what a drawn photograph is to show?

    python experiments/any_direction/kept.py --model=joint                                   # 6 minutes
    python experiments/any_direction/kept.py --quick --model=runs/keypad --given=text --drawn=image --outdir=runs/quick

Real test items get noise of several levels and are carried back from there (Meng et al. 2022, SDEdit, arXiv:2108.01073), beside the
condition that belongs to them, and alone; all others are absent, and nothing leads them. How often they show their class still, as
their judge sees it. A sampler goes through all these levels: it is no better from noise alone than from where it loses what is
there. Writes kept.json after every level, then kept.md, beside this file or to --outdir.
"""

import argparse
import pathlib

import torch
from tqdm import tqdm

import jointdiff
from jointdiff import build
from jointdiff.data import examples
from jointdiff.evaluate.frechet import frechet
from jointdiff.evaluate.judge import build_judges, ceiling
from jointdiff.evaluate.record import Record, plus_minus

HERE = pathlib.Path(__file__).parent
LEVELS = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0)  # standard deviations of noise to one of the data


def carried(model, judges, y: dict, given: str, drawn: str, level: float, seed: int, steps: int) -> dict[str, float]:
    """How often items noised to a level and carried back show their class, with the condition and without, and how far they are
    from the real ones."""
    names, denoiser = model.layout.names, model.denoiser
    strength = float(denoiser.sde.time((level * denoiser.data_std[names.index(drawn)]).double()))
    wanted, real, out = judges[given].judge(y[given]), judges[drawn].features(y[drawn]), {}
    for name, told in {"with": {given: y[given]}, "alone": {}}.items():
        absent = [n for n in names if n not in (drawn, *told)]
        how = {"start": y, "strength": strength, "reading": {}, "guidance": 0.0, "steps": steps}
        back = model.sample(told, num=len(wanted), seed=seed, leave_out=absent, **how)[drawn]
        out[name] = float((judges[drawn].judge(back) == wanted).float().mean())
        out[f"{name}, Frechet"] = frechet(judges[drawn].features(back), real)
    return out


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="joint", help="shipped weights, a workdir, or a safetensors file")
    parser.add_argument("--given", default="text")
    parser.add_argument("--drawn", default="picture")
    parser.add_argument("--num", type=int, default=100, help="test rows a level and seed")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--outdir", type=pathlib.Path, default=HERE)
    parser.add_argument("--quick", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(1)
    num, seeds, steps = (8, 2, 3) if args.quick else (args.num, args.seeds, 18)
    model = jointdiff.load(args.model)
    model.layout.check([args.given, args.drawn])
    judges, data = build_judges(model.config, model.modalities), build.data(model.config, model.modalities, "test")
    setting = {"model": args.model, "given": args.given, "drawn": args.drawn, "num": num, "seeds": seeds}
    result = Record(args.outdir / "kept.json", setting, levels={})
    result["ceiling"] = ceiling(judges[args.drawn], model.config, args.drawn, model.modalities[args.drawn])
    for level in tqdm([v for v in LEVELS if str(v) not in result["levels"]], unit="level", disable=None):
        figures = []
        for seed in range(seeds):
            y = examples(data, model.layout.names, seed * num, num)
            figures.append(carried(model, judges, y, args.given, args.drawn, level, seed, steps))
        result["levels"][str(level)] = figures
        result.save()
    (args.outdir / "kept.md").write_text(table(result))
    print(table(result))


def table(result) -> str:
    """Markdown, a row a level."""
    heads = ["noise to data", f"class kept with {result['given']}", "alone", "Fréchet distance with it", "alone"]
    lines = ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
    for level, figures in result["levels"].items():
        cells = [plus_minus([f[n] for f in figures]) for n in ("with", "alone", "with, Frechet", "alone, Frechet")]
        lines.append("| " + " | ".join([level, *cells]) + " |")
    return "\n".join([*lines, f"| 0 | {result['ceiling']:.3f} | {result['ceiling']:.3f} | 0 | 0 |"]) + "\n"


if __name__ == "__main__":
    main()
