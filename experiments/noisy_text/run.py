"""A condition that is noisy, blurred, misspelt or partly missing: who notices, and who is honest about it?

    python experiments/noisy_text/run.py           # the shipped model, about 40 minutes on one core; goes on where it stopped
    python experiments/noisy_text/run.py --quick   # under 2 minutes
    python experiments/noisy_text/run.py --given=text --name=fresh_text --spoilt=noise --methods=clean,matched --seeds=3 --num=40 \\
        --start=1000         # and --given=audio --name=fresh_audio --num=160: conditions that no choice was made on

Words and speech are spoilt, pictures are drawn from them, several of each, and their class histogram is scored against
the true class. Every seed has conditions of its own, from test row --start on. Writes result.json after every row, then result.md
and calibration.png, or by another --name, beside this file or to --outdir.
"""

import argparse
import itertools
import pathlib
import statistics

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import torch
from torchvision.transforms.functional import gaussian_blur
from tqdm import tqdm

import jointdiff
from jointdiff import build
from jointdiff.data.sources import DIGITS
from jointdiff.evaluate.calibration import repeated, scores
from jointdiff.evaluate.judge import build_judges
from jointdiff.evaluate.record import Record, plus_minus
from jointdiff.streams import stream

HERE = pathlib.Path(__file__).parent
FIGURES = ("coherence", "nll", "brier", "ece", "level")
METHODS = ("clean", "matched", "held", "auto", "replace")
LABELS = {
    "clean": "taken as clean",
    "matched": "noise matched: drawn first",
    "held": "noise matched: held",
    "auto": "noise estimated",
    "replace": "replacement",
}
SPOILS = {  # strengths; noise and blur in channels' units and pixels, letters, and the share of the grid
    "noise": (0.0, 0.25, 0.5, 0.75, 1.0, 2.0),
    "blur": (0.5, 1.0, 2.0),
    "misspelt": (1, 2),
    "missing": (0.25, 0.5),
}


def spoil(model, kind, strength, name, values, labels, seed):
    """The channels after the damage."""
    g = stream(seed, 91)
    if kind == "noise":
        return values + strength * torch.randn(values.shape, generator=g)
    if kind == "blur":
        return gaussian_blur(values, 2 * int(3 * strength + 1) + 1, strength)
    if kind == "missing":  # a bar of the grid is blank
        wide = int(strength * values.shape[3])
        out = values.clone()
        for row, start in zip(out, torch.randint(values.shape[3] - wide + 1, (len(values),), generator=g).tolist()):
            row[..., start : start + wide] = -1
        return out
    words = []
    for label in labels.tolist():
        word = list(DIGITS[label])
        for place in torch.randperm(len(word), generator=g)[:strength].tolist():
            word[place] = "abcdefghijklmnopqrstuvwxyz"[int(torch.randint(26, (1,), generator=g))]
        words.append("".join(word))
    return model.modalities[name].encode(words)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="digits", help="shipped weights, a workdir, or a safetensors file")
    parser.add_argument("--num", type=int, default=64, help="conditions")
    parser.add_argument("--repeats", type=int, default=10, help="samples a condition")
    parser.add_argument("--steps", type=int, default=16)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--start", type=int, default=0, help="test row of the first condition")
    parser.add_argument("--given", default="text,audio")
    parser.add_argument("--spoilt", default=",".join(SPOILS))
    parser.add_argument("--methods", default=",".join(METHODS))
    parser.add_argument("--name", default="result")
    parser.add_argument("--outdir", type=pathlib.Path, default=HERE)
    parser.add_argument("--quick", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(1)
    num, repeats, steps = (6, 3, 4) if args.quick else (args.num, args.repeats, args.steps)
    model = jointdiff.load(args.model)
    judges = build_judges(model.config, model.modalities)
    pairs = build.data(model.config, model.modalities, "test")
    setting = {"model": args.model, "num": num, "repeats": repeats, "steps": steps, "start": args.start}
    result = Record(args.outdir / f"{args.name}.json", setting, rows=[])
    done = {(r["given"], r["spoilt"], r["strength"], r["method"], r["seed"]) for r in result["rows"]}
    work = []
    for seed, name in itertools.product(range(args.seeds), args.given.split(",")):
        for kind in args.spoilt.split(","):
            if kind == "misspelt" and name != "text":
                continue
            for strength in SPOILS[kind][1:2] if args.quick else SPOILS[kind]:
                # only noise has a level to match; what else is wrong is for the network to tell
                some = METHODS if kind == "noise" and strength else ("clean", "auto", "replace")
                work += [(name, kind, strength, m, seed) for m in some if m in args.methods.split(",")]
    for name, kind, strength, method, seed in tqdm([w for w in work if w not in done], disable=None, unit="row"):
        values, _, labels, _ = pairs.rows(args.start + seed * num, num)
        seen = spoil(model, kind, strength, name, values[name], labels, seed)
        level = {"matched": strength, "held": strength, "auto": "auto"}.get(method, 0.0)
        if level == "auto":
            level = model.noise_level(name, seen, seed)
        found = level if isinstance(level, torch.Tensor) else torch.full((num,), float(level))
        model.config.sample.given_noise = "held" if method == "held" else "drawn"
        classes = repeated(
            model,
            judges["image"],
            {name: seen},
            "image",
            repeats,
            seed,
            {name: found} if found.any() else None,
            condition="replace" if method == "replace" else "clean",
            steps=steps,
            guidance=0.0,
        )
        row = {"given": name, "spoilt": kind, "strength": strength, "method": method, "seed": seed}
        row |= scores(classes, labels, len(DIGITS))
        row["level"], row["level spread"] = float(found.mean()), float(found.std())
        result["rows"].append(row)
        result.save()
    (args.outdir / f"{args.name}.md").write_text(table(result))
    picture(result).savefig(args.outdir / ("calibration.png" if args.name == "result" else f"{args.name}.png"), dpi=110)
    print(table(result))


def grouped(result) -> dict[tuple, dict[str, list[float]]]:
    """The figures of every damage and method, one a seed."""
    out = {}
    for r in result["rows"]:
        here = out.setdefault((r["given"], r["spoilt"], r["strength"], r["method"]), {f: [] for f in FIGURES})
        for f in FIGURES:
            here[f].append(r[f])
    return out


def table(result) -> str:
    """Markdown: a row a damage and method."""
    out = [
        "| given | damage | strength | method | " + " | ".join(FIGURES) + " |",
        "|---|---|---|---|" + "---|" * len(FIGURES),
    ]
    for (given, kind, strength, method), found in grouped(result).items():
        cells = " | ".join(plus_minus(found[f]) for f in FIGURES)
        out.append(f"| {given} | {kind} | {strength:g} | {method} | {cells} |")
    return "\n".join(out) + "\n"


def picture(result):
    """NLL and coherence against the noise in the condition."""
    found = grouped(result)
    names = list(dict.fromkeys(given for given, *_ in found))
    size = {"figsize": (5.5 * len(names), 7), "layout": "constrained"}
    figure, axes = plt.subplots(2, len(names), sharex=True, squeeze=False, **size)
    for column, name in enumerate(names):
        for line, (figure_name, title) in enumerate(
            (("nll", "NLL of the class histogram"), ("coherence", "coherence"))
        ):
            axis = axes[line, column]
            for i, method in enumerate(METHODS):
                strengths = [s for s in SPOILS["noise"] if (name, "noise", s, method) in found]
                values = [found[name, "noise", s, method][figure_name] for s in strengths]
                spread = [statistics.stdev(v) if len(v) > 1 else 0 for v in values]
                if values:
                    mean = [statistics.fmean(v) for v in values]
                    axis.errorbar(strengths, mean, spread, fmt="o-", color=f"C{i}", label=LABELS[method])
            axis.set(
                title=f"{'words' if name == 'text' else 'speech'} to pictures: {title}", xlabel="noise in the condition"
            )
            axis.grid(alpha=0.3)
    axes[0, 0].legend()
    return figure


if __name__ == "__main__":
    main()
