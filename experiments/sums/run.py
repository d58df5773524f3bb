"""Addition in all directions: two handwritten digits, their sum as text, and a rationale ("3 and 5"), by one network.

    python experiments/sums/run.py                      # shipped weights, about 40 minutes on one core; goes on where it stopped
    python experiments/sums/run.py --model=runs/sums
    python experiments/sums/run.py --quick              # under a minute

Test digits that training never saw. Writes result.json after every question, then result.md, pairs.png and samples.png, beside
this file or to --outdir.
"""

import argparse
import math
import pathlib
import statistics

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import PIL.Image
import torch
from tqdm import tqdm

import jointdiff
from jointdiff import build
from jointdiff.data import shown
from jointdiff.evaluate.coherence import fitting
from jointdiff.evaluate.judge import build_judges, ceiling
from jointdiff.evaluate.record import Record
from jointdiff.report import beside, grid_picture, titled

HERE = pathlib.Path(__file__).parent
DIGITS, THINK = ("first", "second"), ["rationale", "answer"]
# question: (given, asked, what else `Model.sample` or `Model.best` is told)
QUESTIONS = {
    "both digits → sum": (DIGITS, ("answer",), {"leave_out": ["rationale"]}),
    "both digits → rationale, then sum": (DIGITS, ("answer",), {"order": THINK}),
    "the same, best of 5 by vote": (DIGITS, ("answer",), {"order": THINK, "of": 5, "by": "vote"}),
    "the same, best of 5 by likelihood": (
        DIGITS,
        ("answer",),
        {"order": THINK, "of": 5, "by": "likelihood", "target": "rationale"},
    ),
    "both digits → rationale": (DIGITS, ("rationale",), {"leave_out": ["answer"]}),
    "rationale → sum": (("rationale",), ("answer",), {"leave_out": list(DIGITS)}),
    "sum and first digit → second": (("answer", "first"), ("second",), {"leave_out": ["rationale"]}),
    "sum and first digit → rationale, then second": (
        ("answer", "first"),
        ("second",),
        {"order": ["rationale", "second"]},
    ),
    "sum → both digits": (("answer",), DIGITS, {"leave_out": ["rationale"]}),
    "sum → rationale, then both digits": (("answer",), DIGITS, {"order": ["rationale", DIGITS]}),
    "nothing → all four agree": ((), (*DIGITS, *THINK), {}),
}
SPREAD = {"at once": {"leave_out": ["rationale"]}, "rationale first": {"order": ["rationale", DIGITS]}}


def fits(model, judges, data, given, asked, how: dict, num, seed) -> torch.Tensor:
    """Which of `num` test rows are answered right, as arithmetic wants with what was given, `(num,)` bool."""
    values, _, labels, _ = data.rows(seed * num, num)
    ask = model.best if "of" in how else model.sample
    drawn = ask({n: values[n] for n in given}, num, seed=seed, **how)
    read = {n: shown(data, n, labels) for n in given} | {n: judges[n].judge(drawn[n]) for n in asked}
    return fitting(read, data.shows)


def right(model, judges, data, question, num, seed) -> float:
    """The share of `num` test rows whose answer to one of the questions is right."""
    return float(fits(model, judges, data, *QUESTIONS[question], num, seed).double().mean())


def counts(model, judges, how, num, seed) -> np.ndarray:
    """How often each pair of digits is drawn, of `num` for every sum from 0 to 18, `(19, 10, 10)`."""
    out = np.zeros((19, 10, 10), int)
    for total in range(19):
        drawn = model.sample({"answer": str(total)}, num, seed=seed + 100 * total, **how)
        a, b = (judges[n].judge(drawn[n]).numpy() for n in DIGITS)
        np.add.at(out[total], (a, b), 1)
    return out


def divergence(count: np.ndarray) -> float:
    """The mean over sums of KL(pairs drawn that add up || uniform over those), in nats."""
    out = []
    for total, table in enumerate(count):
        fits = np.array([table[a, total - a] for a in range(10) if 0 <= total - a <= 9])
        share = fits / max(fits.sum(), 1)
        out.append(sum(p * math.log(p * len(fits)) for p in share if p))
    return statistics.fmean(out)


def perfect(num: int) -> float:
    """What `divergence` is for samples that are uniform: more than 0, because they are few."""
    rng, out = np.random.default_rng(0), []
    for _ in range(50):
        count = np.zeros((19, 10, 10), int)
        for total in range(19):
            a = [a for a in range(10) if 0 <= total - a <= 9]
            for k, n in zip(a, rng.multinomial(num, [1 / len(a)] * len(a))):
                count[total, k, total - k] = n
        out.append(divergence(count))
    return statistics.fmean(out)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="sums", help="shipped weights, a workdir, or a safetensors file")
    parser.add_argument("--num", type=int, default=500, help="test rows a question and seed")
    parser.add_argument("--pairs", type=int, default=200, help="draws for every sum")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--outdir", type=pathlib.Path, default=HERE)
    parser.add_argument("--quick", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(1)
    num, pairs, seeds = (8, 2, 2) if args.quick else (args.num, args.pairs, args.seeds)
    model = jointdiff.load(args.model)
    judges = build_judges(model.config, model.modalities)
    data = build.data(model.config, model.modalities, "test")
    setting = {"model": args.model, "num": num, "pairs": pairs, "seeds": seeds}
    result = Record(args.outdir / "result.json", setting, questions={}, spread={})
    result.setdefault("ceilings", {n: ceiling(judges[n], model.config, n, m) for n, m in model.modalities.items()})
    questions, spread = result["questions"], result["spread"]
    work = [("right", q) for q in QUESTIONS if q not in questions] + [("spread", s) for s in SPREAD if s not in spread]
    for kind, name in tqdm(work, disable=None, unit="question"):
        if kind == "right":
            figures = [right(model, judges, data, name, num, seed) for seed in range(seeds)]
            questions[name] = {"mean": statistics.fmean(figures), "std": statistics.stdev(figures), "figures": figures}
        else:
            count = counts(model, judges, SPREAD[name], pairs, 0)
            adds = sum(count[s, a, s - a] for s in range(19) for a in range(10) if 0 <= s - a <= 9) / count.sum()
            found = {"add up": float(adds), "divergence": divergence(count), "uniform draws": perfect(pairs)}
            spread[name] = {**found, "counts": [" ".join(map(str, table.ravel())) for table in count]}
        result.save()
    (args.outdir / "result.md").write_text(table(result))
    picture(result).savefig(args.outdir / "pairs.png", dpi=110)
    samples(model, data).save(args.outdir / "samples.png")
    print(table(result))


def table(result) -> str:
    lines = ["| question | right |", "|---|---|"]
    lines += [f"| {q} | {f['mean']:.3f} ± {f['std']:.3f} |" for q, f in result["questions"].items()]
    lines += ["", "| sum alone → both digits | add up | KL to uniform, nats | of uniform draws |", "|---|---|---|---|"]
    for name, f in result["spread"].items():
        lines.append(f"| {name} | {f['add up']:.3f} | {f['divergence']:.3f} | {f['uniform draws']:.3f} |")
    lines += [
        "",
        "Judges on real test items: " + ", ".join(f"{n} {c:.3f}" for n, c in result["ceilings"].items()) + ".",
    ]
    return "\n".join(lines) + "\n"


def picture(result):
    """How often each pair was drawn for the sum that it has, over how often it should be."""
    figure, axes = plt.subplots(1, len(result["spread"]), figsize=(11, 4.6), layout="constrained")
    for axis, (name, found) in zip(axes, result["spread"].items()):
        count = np.array([line.split() for line in found["counts"]], int).reshape(19, 10, 10)
        ratio = np.full((10, 10), np.nan)
        for a in range(10):
            for b in range(10):
                fits = 10 - abs(a + b - 9)
                ratio[a, b] = count[a + b, a, b] / count[a + b].sum() * fits
        shown = axis.imshow(ratio, cmap="RdBu", vmin=0, vmax=2)
        axis.set(
            title=f"sum → both digits, {name}",
            xlabel="second digit",
            ylabel="first digit",
            xticks=range(10),
            yticks=range(10),
        )
        for a in range(10):
            for b in range(10):
                axis.text(b, a, f"{ratio[a, b]:.1f}", ha="center", va="center", fontsize=7)
    figure.colorbar(shown, ax=axes, label="drawn / expected")
    return figure


def samples(model, data, rows=6) -> PIL.Image.Image:
    """A panel for some of the questions."""
    values, panels = data.rows(0, rows).values, []
    for question in (
        "both digits → rationale, then sum",
        "sum and first digit → second",
        "sum → both digits",
        "nothing → all four agree",
    ):
        given, _, how = QUESTIONS[question]
        drawn = model.sample({n: values[n] for n in given}, rows, **{k: v for k, v in how.items() if k != "leave_out"})
        panels.append(titled(grid_picture(model.modalities, drawn, given), question.replace("→", "->")))
    return PIL.Image.fromarray(beside(panels))


if __name__ == "__main__":
    main()
