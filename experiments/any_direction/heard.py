"""Does the network hear what it is given? How far its estimate of a modality is off with a right condition, a wrong one, none.

    python experiments/any_direction/heard.py --model=joint                                   # 3 minutes
    python experiments/any_direction/heard.py --quick --model=runs/keypad --given=text --drawn=image --outdir=runs/quick

Test rows get noise of several levels in what is to be drawn. It is estimated beside what belongs to it, beside what belongs to a
row of another class, and alone, from the same noise; all others are absent. Where the right condition is no better than a wrong one
it is not heard, whatever it is better than nothing by. Writes heard.json after every level, then heard.md, beside this file or
to --outdir.
"""

import argparse
import pathlib

import torch
from tqdm import tqdm

import jointdiff
from jointdiff import build
from jointdiff.data import shown
from jointdiff.evaluate.record import Record, plus_minus
from jointdiff.streams import stream

HERE = pathlib.Path(__file__).parent
LEVELS = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0)  # standard deviations of noise to one of the data


def rows(data, names: tuple[str, ...], num: int, seed: int) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """`num` rows with all of these modalities, and for each a row of another class."""
    values, present, labels, _ = data.rows(seed * 2 * num, 2 * num)
    whole = present[:, [list(values).index(n) for n in names]].all(1).nonzero()[:num, 0]
    said = shown(data, names[0], labels)
    other = torch.stack([(said != said[row]).nonzero()[row % (said != said[row]).sum(), 0] for row in whole])
    return ({n: values[n][rows] for n in names} for rows in (whole, other))


@torch.inference_mode()
def errors(model, right: dict, wrong: dict, given: str, drawn: str, level: float, seed: int) -> dict[str, float]:
    """The mean squared error of the estimate of `drawn`, in its own units."""
    layout, denoiser, num = model.layout, model.denoiser, len(right[given])
    place, told, scale = layout.slices[drawn], layout.slices[given], layout.scale[drawn]
    column = layout.names.index(drawn)
    t = denoiser.sde.time((level * denoiser.data_std[column]).double()[None])
    eps = torch.randn(num, *layout.shape, generator=stream(seed, 41))
    x, times = eps.clone(), torch.ones(1, layout.shape[0], 1, 1, dtype=torch.float64)
    x[:, place] = denoiser.sde.alpha(t).float() * right[drawn] * scale + denoiser.sde.sigma(t).float() * eps[:, place]
    times[:, place] = t
    out = {"none": denoiser(x, times)}
    times[:, told] = 0.0
    for name, values in {"right": right, "wrong": wrong}.items():
        x[:, told] = values[given] * layout.scale[given]
        out[name] = denoiser(x, times)
    return {n: float((v[:, place] / scale - right[drawn]).square().mean()) for n, v in out.items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="joint", help="shipped weights, a workdir, or a safetensors file")
    parser.add_argument("--given", default="text")
    parser.add_argument("--drawn", default="picture")
    parser.add_argument("--num", type=int, default=200, help="test rows a level and seed")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--outdir", type=pathlib.Path, default=HERE)
    parser.add_argument("--quick", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(1)
    num, seeds = (8, 2) if args.quick else (args.num, args.seeds)
    model = jointdiff.load(args.model)
    model.layout.check([args.given, args.drawn])
    data = build.data(model.config, model.modalities, "test")
    setting = {"model": args.model, "given": args.given, "drawn": args.drawn, "num": num, "seeds": seeds}
    result = Record(args.outdir / "heard.json", setting, levels={})
    for level in tqdm([v for v in LEVELS if str(v) not in result["levels"]], unit="level", disable=None):
        figures = []
        for seed in range(seeds):
            right, wrong = rows(data, (args.given, args.drawn), num, seed)
            figures.append(errors(model, right, wrong, args.given, args.drawn, level, seed))
        result["levels"][str(level)] = figures
        result.save()
    (args.outdir / "heard.md").write_text(table(result))
    print(table(result))


def table(result) -> str:
    """Markdown, a row a level: the errors, and which share of the others' the right condition takes away."""
    given, drawn = result["given"], result["drawn"]
    heads = ["noise to data", f"error of {drawn}, {given} right", f"{given} wrong", f"no {given}"]
    heads += ["right below wrong by", "right below none by"]
    lines = ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
    for level, figures in result["levels"].items():
        cells = [plus_minus([f[n] for f in figures]) for n in ("right", "wrong", "none")]
        for than in ("wrong", "none"):
            cells.append(plus_minus([1 - f["right"] / f[than] for f in figures]))
        lines.append("| " + " | ".join([level, *cells]) + " |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
