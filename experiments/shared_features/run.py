"""Do a digit and the photograph that it is paired with share features? Kernel alignment of inner maps, against chance.

    python experiments/shared_features/run.py           # about 6 minutes on one core; goes on where it stopped
    python experiments/shared_features/run.py --quick   # under a minute

Test items of two modalities, paired by class, enter the network one after the other, all else absent, and the maps of each depth
(`Model.maps`) are compared by linear centred kernel alignment; chance is what classes have that are paired at random. Writes
result.json after every figure, then result.md and depths.png, beside this file or to --outdir.
"""

import argparse
import itertools
import pathlib

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import torch
from tqdm import tqdm

import jointdiff
from jointdiff import build
from jointdiff.evaluate.inside import alike, alike_by_chance
from jointdiff.evaluate.record import Record

HERE = pathlib.Path(__file__).parent
MODELS = {
    "joint": ("joint", ("digit", "picture"), ("text", "picture")),
    "digits": ("digits", ("image", "audio"), ("image", "text")),
}
LEVELS = (0.0, 0.5, 1.0, 2.0)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--model", help="shipped weights, a workdir, or a safetensors file, all of its pairs; those named above without"
    )
    parser.add_argument("--num", type=int, default=1000, help="test rows")
    parser.add_argument("--draws", type=int, default=199, help="random pairings of the classes")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--outdir", type=pathlib.Path, default=HERE)
    parser.add_argument("--quick", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(1)
    num, draws, levels = (60, 9, LEVELS[:2]) if args.quick else (args.num, args.draws, LEVELS)
    models = {k: v for k, v in MODELS.items() if k == "digits" or not args.quick}
    if args.model:
        names = jointdiff.load(args.model).layout.names
        models = {pathlib.Path(args.model).stem: (args.model, *itertools.combinations(names, 2))}
    setting = {"models": list(models), "num": num, "draws": draws, "seed": args.seed}
    result = Record(args.outdir / "result.json", setting, rows=[])
    work = [(m, *p, n) for m in models for p in models[m][1:] for n in levels]
    compared(result, work, lambda name: jointdiff.load(models[name][0]), num, draws, args.seed)
    (args.outdir / "result.md").write_text(table(result))
    picture(result).savefig(args.outdir / "depths.png", dpi=110)
    print(table(result))


def compared(result, work, load, num: int, draws: int, seed: int) -> None:
    """Into `result` what is missing of the work: (model, modality, other, noise), the model by `load(name)`."""
    done = {(r["model"], *r["pair"], r["noise"]) for r in result["rows"]}
    for name, a, b, noise in tqdm([w for w in work if w not in done], unit="level", disable=None):
        model = load(name)
        values, _, labels, _ = build.data(model.config, model.modalities, "test").rows(seed * num, num)
        first, second = (model.maps({n: values[n]}, noise, seed) for n in (a, b))
        for depth in first:
            p, chance = alike_by_chance(first[depth], second[depth], labels, draws, seed)
            row = {
                "model": name,
                "pair": [a, b],
                "noise": noise,
                "depth": depth,
                "alike": alike(first[depth], second[depth]),
            }
            result["rows"].append({**row, "chance": float(chance.mean()), "spread": float(chance.std()), "p": p})
        result.save()


def table(result) -> str:
    """Markdown: a row a depth, a column a noise level."""
    levels = list(dict.fromkeys(r["noise"] for r in result["rows"]))
    lines = [
        f"| network | pair | depth | {' | '.join(f'noise {n:g}' for n in levels)} |",
        "|---|---|---|" + "---|" * len(levels),
    ]
    for model, a, b, depth in dict.fromkeys((r["model"], *r["pair"], r["depth"]) for r in result["rows"]):
        rows = [r for r in result["rows"] if (r["model"], *r["pair"], r["depth"]) == (model, a, b, depth)]
        cells = [f"{r['alike']:.3f} (chance {r['chance']:.3f} ± {r['spread']:.3f}, p {r['p']:.3f})" for r in rows]
        lines.append(f"| {model} | {a}, {b} | {depth} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def picture(result):
    """Alignment against depth, a line a noise level, a panel a pair; what chance gives as a band of two standard deviations."""
    pairs = list(dict.fromkeys((r["model"], *r["pair"]) for r in result["rows"]))
    down = -(-len(pairs) // 4)
    across = -(-len(pairs) // down)
    figure, axes = plt.subplots(
        *(down, across), figsize=(4.4 * across, 3.8 * down), layout="constrained", squeeze=False, sharey=True
    )
    for axis, (model, a, b) in zip(axes.flat, pairs):
        rows = [r for r in result["rows"] if (r["model"], *r["pair"]) == (model, a, b)]
        for i, noise in enumerate(dict.fromkeys(r["noise"] for r in rows)):
            part = [r for r in rows if r["noise"] == noise]
            depths, mean, spread = (
                range(len(part)),
                *(torch.tensor([r[k] for r in part]) for k in ("chance", "spread")),
            )
            axis.plot(depths, [r["alike"] for r in part], "o-", color=f"C{i}", label=f"noise {noise:g}")
            axis.fill_between(depths, mean - 2 * spread, mean + 2 * spread, color=f"C{i}", alpha=0.15)
            axis.set_xticks(depths, [r["depth"] for r in part])
        axis.set(title=f"{model}: {a} and {b}")
        axis.grid(alpha=0.3)
    axes[0, 0].legend(fontsize=8)
    return figure


if __name__ == "__main__":
    main()
