"""What does a network know of photographs, and what does it draw of their words by itself, without being led by what it reads?

    python experiments/photographs/run.py --model=joint --model=runs/photographs --model=runs/longer
    python experiments/photographs/run.py --quick --model=runs/keypad --given=text --drawn=image --outdir=runs/quick

The error of its estimate at several levels of noise, beside what is given and alone, as a share of that of the best linear estimate
(the Wiener filter of the training items' covariance): at 1 nothing is known that colours and smoothness do not say. Then how often
what is drawn beside what is given shows the class, and the Fréchet distance to real test items, with few steps, with more, and with
guidance. All other modalities are absent. Each model is added to result.json; writes result.md and samples.png, beside this file or
to --outdir.
"""

import argparse
import pathlib
import sys

import PIL.Image
import torch
from tqdm import tqdm

import jointdiff
from jointdiff import build
from jointdiff.data import restored, shown
from jointdiff.evaluate.frechet import frechet
from jointdiff.evaluate.judge import build_judges, ceiling
from jointdiff.evaluate.record import Record, plus_minus
from jointdiff.report import beside, titled

HERE = pathlib.Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "any_direction"))
from heard import errors, rows  # noqa: E402
from led import of_each_class, share  # noqa: E402

LEVELS = (0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0)  # standard deviations of noise to one of the data
WAYS = {  # how it is drawn, by the name that the table has for it
    "18 steps": {"steps": 18, "guidance": 0.0},
    "72 steps": {"steps": 72, "guidance": 0.0},
    "36 steps, guidance 5": {"steps": 36, "guidance": 5.0},
}
QUICK = {"2 steps": {"steps": 2, "guidance": 0.0}, "3 steps, guidance 2": {"steps": 3, "guidance": 2.0}}
MOST, REAL = 20000, 2000  # training items of the covariance, test items of the distance


def spectrum(items: torch.Tensor) -> torch.Tensor:
    """The eigenvalues of the covariance of items `(N, ...)`: the variances of their principal components, `(D,)`."""
    x = items.flatten(1)
    x = x - x.mean(0)
    return torch.linalg.eigvalsh(x.T @ x / len(x)).clamp(min=0)


def linear_error(variances: torch.Tensor, noise: float) -> float:
    """The mean squared error of the best linear estimate of what has normal noise of a standard deviation."""
    return float((variances * noise**2 / (variances + noise**2)).mean())


def known(model, data, given: str, drawn: str, variances, num: int, seed: int) -> dict[str, dict[str, float]]:
    """The errors at every level, as shares of the linear estimate's."""
    right, wrong = rows(data, (given, drawn), num, seed)
    std = float(model.denoiser.data_std[model.layout.names.index(drawn)]) / model.layout.scale[drawn]
    out = {}
    for level in LEVELS:
        linear = linear_error(variances, level * std)
        found = errors(model, right, wrong, given, drawn, level, seed)
        out[str(level)] = {name: found[name] / linear for name in ("right", "none")}
    return out


def drawn_of(model, judges, data, given: str, drawn: str, num: int, seed: int, way: dict):
    """How often what is drawn shows the class of what is given, and the judge's features of it."""
    values, _, labels, _ = data.rows(seed * num, num)
    out = model.sample({given: values[given]}, num, seed, **unled(model, given, drawn), **way)[drawn]
    return share(judges[drawn].judge(out) == shown(data, given, labels)), judges[drawn].features(out)


def unled(model, given: str, drawn: str) -> dict:
    """How it is drawn: beside what is given alone, and not led by what is read in it."""
    return {"leave_out": [n for n in model.layout.names if n not in (given, drawn)], "reading": {}}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--model", action="append", help="shipped weights, a workdir, or a safetensors file; repeatable"
    )
    parser.add_argument("--given", default="text")
    parser.add_argument("--drawn", default="picture")
    parser.add_argument("--num", type=int, default=100, help="test rows a figure and seed")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--outdir", type=pathlib.Path, default=HERE)
    parser.add_argument("--quick", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(1)
    num, seeds, ways = (8, 2, QUICK) if args.quick else (args.num, args.seeds, WAYS)
    setting = {"given": args.given, "drawn": args.drawn, "num": num, "seeds": seeds, "ways": ways}
    result = Record(args.outdir / "result.json", setting, models={})
    panels = []
    for path in args.model or []:
        model, name = jointdiff.load(path), pathlib.Path(path).stem
        model.layout.check([args.given, args.drawn])
        judges = build_judges(model.config, model.modalities)
        data = build.data(model.config, model.modalities, "test")
        for way in list(ways)[1:]:
            how = {**unled(model, args.given, args.drawn), **ways[way]}
            rows_of = of_each_class(model, data, args.given, args.drawn, 2 if args.quick else 8, **how)
            panels.append(titled(rows_of, f"{name}, {way}"))
        if name in result["models"]:
            continue
        real = judges[args.drawn].features(restored(data.values[args.drawn][-REAL:]))
        result["ceiling"] = ceiling(judges[args.drawn], model.config, args.drawn, model.modalities[args.drawn])
        training = build.data(model.config, model.modalities, "train").values[args.drawn]
        variances = spectrum(restored(training[:: -(-len(training) // MOST)]))
        found = {"known": [], "drawn": {way: [] for way in ways}, "distance": {}}
        found["rows"] = model.config.train.batch * model.config.train.steps  # of its last run
        with tqdm(total=seeds * (1 + len(ways)), desc=name, unit="figure", disable=None) as bar:
            for seed in range(seeds):
                found["known"].append(known(model, data, args.given, args.drawn, variances, num, seed))
                bar.update()
            for way, how in ways.items():
                seen = []
                for seed in range(seeds):
                    right, features = drawn_of(model, judges, data, args.given, args.drawn, num, seed, how)
                    found["drawn"][way].append(right)
                    seen.append(features)
                    bar.update()
                found["distance"][way] = frechet(torch.cat(seen), real)
        result["models"][name] = found
        result.save()
    (args.outdir / "result.md").write_text(table(result))
    if panels:
        PIL.Image.fromarray(beside(panels)).save(args.outdir / "samples.png")
    print(table(result))


def table(result) -> str:
    """Markdown: what is known, a row a level of noise; then what is drawn, a row a model."""
    models, given = result["models"], result["given"]
    heads = [f"{name}, {how}" for name in models for how in (f"{given} given", "alone")]
    lines = ["| " + " | ".join(["noise to data", *heads]) + " |", "|---" * (len(heads) + 1) + "|"]
    for level in LEVELS:
        cells = [plus_minus([k[str(level)][w] for k in m["known"]]) for m in models.values() for w in ("right", "none")]
        lines.append("| " + " | ".join([f"{level:g}", *cells]) + " |")
    heads = ["model", "rows of its last run"]
    heads += [h for way in result["ways"] for h in (f"{given} → {result['drawn']}, {way}", "Fréchet distance")]
    lines += ["", "| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
    for name, m in models.items():
        cells = [c for way in m["drawn"] for c in (plus_minus(m["drawn"][way]), f"{m['distance'][way]:.1f}")]
        lines.append("| " + " | ".join([name, str(m["rows"]), *cells]) + " |")
    return "\n".join(lines) + f"\n\nCeiling {result.get('ceiling', 0):.3f}.\n"


if __name__ == "__main__":
    main()
