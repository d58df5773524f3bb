"""Do modalities meet inside the network? Retrieval and linear probes at every depth and noise level, beside contrastive towers.

    python experiments/alignment/run.py           # the shipped model, about 15 minutes on one core; goes on where it stopped
    python experiments/alignment/run.py --quick   # under a minute

Test items of one modality look for those of another among as many, by the means over the grid of the network's maps
(`Model.maps`), and a linear layer reads the class there; towers have learned to meet on the same training pairs, and nothing else.
Then a graph of what goes with what, by pointwise mutual information, and two questions that it answers. Writes result.json after
every figure, then result.md, depths.png, meeting.png, graph.graphml and graph.png, beside this file or to --outdir.
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
from jointdiff.evaluate.inside import probe, recall
from jointdiff.evaluate.record import Record
from jointdiff.evaluate.towers import train_towers
from jointdiff.graph import Graph

HERE = pathlib.Path(__file__).parent
LEVELS = (0.0, 0.5, 1.0)
MARKS = "os^Dv"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="digits", help="shipped weights, a workdir, or a safetensors file")
    parser.add_argument("--num", type=int, default=300, help="test rows of a seed")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--outdir", type=pathlib.Path, default=HERE)
    parser.add_argument("--quick", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(1)
    num, seeds, levels, updates = (40, 1, LEVELS[:2], 20) if args.quick else (args.num, args.seeds, LEVELS, 600)
    model = jointdiff.load(args.model)
    names = model.layout.names
    train, test = (build.data(model.config, model.modalities, split) for split in ("train", "test"))
    setting = {"model": args.model, "num": num, "seeds": seeds, "quick": args.quick}
    result = Record(args.outdir / "result.json", setting, rows=[], answers=[])
    done = {(r["seed"], r["noise"]) for r in result["rows"]}
    work = [(s, n) for s in range(seeds) for n in (*levels, None)]  # None: the towers
    for seed, noise in tqdm([w for w in work if w not in done], unit="level", disable=None):
        known, _, known_labels, _ = train.rows(seed * 2 * num, 2 * num)
        seen, _, labels, _ = test.rows(seed * num, num)
        if noise is None:
            towers = train_towers(train, seed, updates)
            inside = {n: {"towers": towers.embed(n, seen[n])} for n in names}
            before = {n: {"towers": towers.embed(n, known[n])} for n in names}
        else:
            inside = {n: model.maps({n: seen[n]}, noise, seed) for n in names}
            before = {n: model.maps({n: known[n]}, noise, seed) for n in names}
        depths = list(inside[names[0]])
        result["rows"].append({
            "seed": seed, "noise": noise,
            "recall": {d: {f"{a} → {b}": recall(inside[a][d], inside[b][d], labels, labels)
                           for a, b in itertools.permutations(names, 2)} for d in depths},
            "probe": {d: {n: probe(before[n][d], known_labels, inside[n][d], labels) for n in names} for d in depths},
        })  # fmt: skip
        result.save()
    values, _, labels, _ = test.rows(0, num)
    firsts = [int((labels == k).nonzero()[0]) for k in range(len(DIGITS)) if (labels == k).any()]
    items = {n: values[n][firsts] for n in names}
    graph = Graph.of(model, items, {n: [f"{n} of {DIGITS[int(labels[i])]}" for i in firsts] for n in names})
    graph.write(args.outdir / "graph.graphml")
    graph.picture().save(args.outdir / "graph.png")
    result["answers"] = [graph.follow(f"{names[0]} of {DIGITS[int(labels[i])]}", names[1:]) for i in firsts]
    result["graph"] = {f"{a} → {b}": graph.right(a, b) for a, b in itertools.permutations(names, 2)}
    result.save()
    (args.outdir / "result.md").write_text(table(result, num))
    depths_picture(result).savefig(args.outdir / "depths.png", dpi=110)
    meeting(model, values, labels).savefig(args.outdir / "meeting.png", dpi=110)
    print(table(result, num))


def figure(result, noise, *path) -> tuple[float, float]:
    """A figure at one noise level by its names, such as "recall", "up 1", "image → text", "class at 1": mean and spread."""
    values = []
    for row in result["rows"]:
        if row["noise"] == noise:
            for name in path:
                row = row[name]
            values.append(row)
    return statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else 0.0


def table(result, num: int) -> str:
    """Markdown: recall by class of every pair at every depth and noise level, and of the towers; by class and item; the graph."""
    shapes = {r["noise"]: r for r in result["rows"]}
    ways, names = list(shapes[0.0]["recall"]["up 0"]), list(shapes[0.0]["probe"]["up 0"])
    lines = [
        f"| noise | depth | {' | '.join(ways)} | probes: {', '.join(names)} |",
        "|---|---|" + "---|" * (len(ways) + 1),
    ]
    for noise, row in shapes.items():
        for depth in row["recall"]:
            cells = [
                "{:.3f} ± {:.3f}".format(*figure(result, noise, "recall", depth, way, "class at 1")) for way in ways
            ]
            cells.append(", ".join(f"{figure(result, noise, 'probe', depth, n)[0]:.3f}" for n in names))
            lines.append(f"| {'–' if noise is None else f'{noise:g}'} | {depth} | {' | '.join(cells)} |")
    lines += ["", f"Recall at 1 by class, among {num}; chance .1.", ""]
    lines += [f"| recall at 1, 5, 10 | {' | '.join(ways)} |", "|---|" + "---|" * len(ways)]
    for noise, depth in ((0.0, "up 1"), (None, "towers")):
        for what in ("class", "item"):
            three = [
                [figure(result, noise, "recall", depth, way, f"{what} at {k}")[0] for k in (1, 5, 10)] for way in ways
            ]
            cells = [", ".join(f"{v:.3f}" for v in values) for values in three]
            lines.append(f"| {depth}, by {what} | {' | '.join(cells)} |")
    lines += ["", "| the heaviest edge leads to the same class | right |", "|---|---|"]
    lines += [f"| {way} | {share:.3f} |" for way, share in result["graph"].items()]
    return "\n".join(lines) + "\n"


def depths_picture(result):
    """Recall at 1 by class against depth, a line a pair, a panel a noise level; the towers' mean as a line."""
    shapes = {r["noise"]: r["recall"] for r in result["rows"] if r["noise"] is not None}
    ways = list(shapes[0.0]["up 0"])
    met = statistics.fmean(figure(result, None, "recall", "towers", way, "class at 1")[0] for way in ways)
    picture, axes = plt.subplots(1, len(shapes), figsize=(4.6 * len(shapes), 3.8), layout="constrained", sharey=True)
    for axis, (noise, depths) in zip(axes, shapes.items()):
        for way in ways:
            means = [figure(result, noise, "recall", depth, way, "class at 1")[0] for depth in depths]
            axis.plot(range(len(depths)), means, "o-", label=way, alpha=0.8)
        axis.axhline(met, color="black", ls=":", lw=1, label="towers, mean")
        axis.set_xticks(range(len(depths)), list(depths))
        axis.set(title=f"recall at 1 by class, noise {noise:g}", ylim=(0, 1.03))
        axis.grid(alpha=0.3)
    axes[0].legend(fontsize=8)
    return picture


def meeting(model, values, labels):
    """Test items of all modalities at four depths, on the two directions in which the classes differ most."""
    seen = {n: model.maps({n: v}) for n, v in values.items()}
    depths = [d for d in seen[model.layout.names[0]] if d != "down 1" and d != "up 0"]
    picture, axes = plt.subplots(1, len(depths), figsize=(4 * len(depths), 4), layout="constrained")
    for axis, depth in zip(axes, depths):
        every = torch.cat([v[depth] - v[depth].mean(0) for v in seen.values()])
        every = torch.nn.functional.normalize(every, dim=1)
        both = labels.repeat(len(seen))
        means = torch.stack([every[both == k].mean(0) for k in range(int(labels.max()) + 1)])
        place = every @ torch.linalg.svd(means - means.mean(0), full_matrices=False).Vh[:2].T
        for i, name in enumerate(seen):
            part = place[i * len(labels) : (i + 1) * len(labels)]
            axis.scatter(*part.T, c=labels, cmap="tab10", marker=MARKS[i], s=14, alpha=0.6, label=name)
        axis.set(title=depth, xticks=[], yticks=[])
    axes[0].legend(fontsize=8)
    return picture


if __name__ == "__main__":
    main()
