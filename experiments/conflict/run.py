"""Two modalities that are given say different classes: whom does the third believe? And whom does a network serve less well?

    python experiments/conflict/run.py           # the shipped model, about 30 minutes on one core; goes on where it stopped
    python experiments/conflict/run.py --quick   # under 2 minutes

Every pair of modalities against each other at every pair of noise levels that the sampler knows (jointdiff.evaluate.conflict);
then coherence by class and, of speech, by speaker. Writes result.json after every figure, then result.md, winners.png and
gaps.png, beside this file or to --outdir.
"""

import argparse
import itertools
import pathlib
import statistics

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import torch
from tqdm import tqdm

import jointdiff
from jointdiff import build
from jointdiff.data.sources import DIGITS
from jointdiff.data.speech import SPEAKERS
from jointdiff.evaluate.conflict import conflict
from jointdiff.evaluate.judge import build_judges
from jointdiff.evaluate.record import Record

HERE = pathlib.Path(__file__).parent
LEVELS = (0.0, 0.5, 1.0, 2.0)
TAKES = 5  # of each speaker and digit in the test split, one after the other


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="digits", help="shipped weights, a workdir, or a safetensors file")
    parser.add_argument("--num", type=int, default=100, help="rows of a figure and seed")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--outdir", type=pathlib.Path, default=HERE)
    parser.add_argument("--quick", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(1)
    num, seeds, how = (12, 1, {"steps": 3}) if args.quick else (args.num, args.seeds, {})
    levels = (0.0, 1.0) if args.quick else LEVELS
    model = jointdiff.load(args.model)
    names = model.layout.names
    judges, data = build_judges(model.config, model.modalities), build.data(model.config, model.modalities, "test")
    setting = {"model": args.model, "num": num, "seeds": seeds, "quick": args.quick}
    result = Record(args.outdir / "result.json", setting, conflicts=[], gaps=[])
    done = {(*r["given"], r["target"], *r["noise"], r["seed"]) for r in result["conflicts"]}
    done |= {(r["given"], r["target"], r["seed"]) for r in result["gaps"]}
    pairs = [(*p, t) for p in itertools.combinations(names, 2) for t in names if t not in p]
    grid = [(*p, *noise, s) for p in pairs for noise in itertools.product(levels, levels) for s in range(seeds)]
    gaps = [(*p, s) for p in itertools.permutations(names, 2) for s in range(seeds)]
    for work in tqdm([w for w in grid + gaps if w not in done], unit="figure", disable=None):
        *given, seed = work
        if len(given) == 2:
            row = by_class(model, judges, data, *given, 3 * num, seed, **how)
            result["gaps"].append({"given": given[0], "target": given[1], "seed": seed, **row})
        else:
            first, second, target, *noise = given
            shares = conflict(
                model, judges[target], data, (first, second), target, num, seed, seed * num, tuple(noise), **how
            )
            row = {"given": [first, second], "target": target, "noise": noise, "seed": seed}
            result["conflicts"].append({**row, "shares": list(shares.values())})
        result.save()
    (args.outdir / "result.md").write_text(table(result))
    winners(result, pairs, levels).savefig(args.outdir / "winners.png", dpi=110)
    unequal(result).savefig(args.outdir / "gaps.png", dpi=110)
    print(table(result))


def by_class(model, judges, data, given: str, target: str, num: int, seed: int, **how) -> dict:
    """How many rows of every class, and of every speaker where speech is given, there are, and are right."""
    values, _, labels, index = data.rows(seed * num, num)
    others = [n for n in model.layout.names if n not in (given, target)]
    right = judges[target].judge(model.sample({given: values[given]}, num, seed, others, **how)[target]) == labels
    count = lambda of, most: [[int((of == k).sum()), int(right[of == k].sum())] for k in range(most)]
    out = {"classes": count(labels, len(DIGITS))}
    if model.config.modality[given].source == "spoken_digits":
        out["speakers"] = count(index[given] // TAKES % len(SPEAKERS), len(SPEAKERS))
    return out


def mean(result, given, target, noise) -> tuple[list, float]:
    """The shares over seeds, and the spread of the first."""
    rows = [
        r["shares"]
        for r in result["conflicts"]
        if (*r["given"], r["target"]) == (*given, target) and r["noise"] == list(noise)
    ]
    spread = statistics.stdev(r[0] for r in rows) if len(rows) > 1 else 0.0
    return [statistics.fmean(column) for column in zip(*rows)], spread


def summed(result, what: str) -> dict[tuple, list[float]]:
    """Coherence by class or speaker of every direction, over seeds."""
    out = {}
    for row in result["gaps"]:
        if what in row:
            kept = out.setdefault((row["given"], row["target"]), [[0, 0] for _ in row[what]])
            for total, (count, right) in zip(kept, row[what]):
                total[0], total[1] = total[0] + count, total[1] + right
    return {way: [right / max(count, 1) for count, right in rows] for way, rows in out.items()}


def table(result) -> str:
    """Markdown: who wins at each pair of noise levels, and the worst and best class and speaker of each direction."""
    lines = ["| given | noise of each | drawn | the first | the second | neither |", "|---|---|---|---|---|---|"]
    for given, target, noise in dict.fromkeys(
        (tuple(r["given"]), r["target"], tuple(r["noise"])) for r in result["conflicts"]
    ):
        (a, b, c), spread = mean(result, given, target, noise)
        cells = [
            " and ".join(given),
            f"{noise[0]:g}, {noise[1]:g}",
            target,
            f"{a:.3f} ± {spread:.3f}",
            f"{b:.3f}",
            f"{c:.3f}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    lines += ["", "| direction | by | all | worst | best |", "|---|---|---|---|---|"]
    for what, names in (("classes", DIGITS), ("speakers", SPEAKERS)):
        for (given, target), shares in summed(result, what).items():
            ends = [f"{names[shares.index(v)]} {v:.3f}" for v in (min(shares), max(shares))]
            lines.append(f"| {given} → {target} | {what} | {statistics.fmean(shares):.3f} | {' | '.join(ends)} |")
    return "\n".join(lines) + "\n"


def winners(result, pairs, levels):
    """A panel a pair: the share that believes the first, less that of the second, at every pair of noise levels."""
    figure, axes = plt.subplots(1, len(pairs), figsize=(4.2 * len(pairs), 4), layout="constrained", squeeze=False)
    for axis, (first, second, target) in zip(axes[0], pairs):
        shares = [[mean(result, (first, second), target, (a, b))[0] for b in levels] for a in levels]
        image = axis.imshow([[s[0] - s[1] for s in line] for line in shares], cmap="RdBu", vmin=-1, vmax=1)
        for i, line in enumerate(shares):
            for j, (a, b, _) in enumerate(line):
                color = "white" if abs(a - b) > 0.6 else "black"
                axis.text(j, i, f"{a:.2f}\n{b:.2f}", ha="center", va="center", fontsize=9, color=color)
        ticks = [f"{level:g}" for level in levels]
        axis.set_xticks(range(len(levels)), ticks), axis.set_yticks(range(len(levels)), ticks)
        axis.set(
            title=f"{first} (above) against {second} (below) → {target}",
            xlabel=f"noise of {second}",
            ylabel=f"noise of {first}",
        )
        axis.title.set_fontsize(10)
    figure.colorbar(image, ax=axes[0, -1], label="first less second")
    return figure


def unequal(result):
    """Coherence by class, a line a direction, and by speaker."""
    figure, axes = plt.subplots(1, 2, figsize=(12, 3.8), layout="constrained", sharey=True)
    for axis, what, names in zip(axes, ("classes", "speakers"), (DIGITS, SPEAKERS)):
        for (given, target), shares in summed(result, what).items():
            axis.plot(range(len(names)), shares, "o-", label=f"{given} → {target}", alpha=0.8)
        axis.set_xticks(range(len(names)), names)
        axis.set(title=f"coherence by {what}")
        axis.grid(alpha=0.3)
        if axis.lines:
            axis.legend(fontsize=8)
    return figure


if __name__ == "__main__":
    main()
