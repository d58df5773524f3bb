"""Few evaluations: what the choice of times is worth. Coherence and Frechet distance with 1 to 16 ancestral steps.

    python experiments/solvers/few.py              # the shipped model, about 20 minutes on one core; goes on where it stopped
    python experiments/solvers/few.py --quick      # under a minute

The usual grid, the usual one that ends early, and the grid that loses least (`Model.grid`: from the errors of the network's
estimates on 64 training rows, nothing given, the same grid for all directions). Every single modality is given to draw the
others, and nothing, on rows of the test split. Writes few.json after every row, then few.md, few.png and few_samples.png, beside
this file or to --outdir.
"""

import argparse
import pathlib
import statistics

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import PIL.Image
import torch
from tqdm import tqdm

import jointdiff
from jointdiff import build
from jointdiff.data import restored, shown
from jointdiff.evaluate import frechet
from jointdiff.evaluate.coherence import fitting
from jointdiff.evaluate.judge import build_judges
from jointdiff.evaluate.record import Record
from jointdiff.report import beside, grid_picture, titled

HERE = pathlib.Path(__file__).parent
STEPS = (1, 2, 3, 4, 8, 16)
ENDS = (0.2, 0.5, 1.0)  # noise-to-signal ratios below which detail does not count
GRIDS = ("usual", *(f"usual, to {e:g}" for e in ENDS), *(f"least loss, to {e:g}" for e in ENDS))
FIGURES = {
    "given one": "coherence, one given",
    "nothing": "coherence, nothing given",
    "frechet": "Frechet distance of pictures",
}


def measure(model, judges, real, pairs, grid: str, steps: int, num: int, seed: int, rows) -> dict[str, float]:
    """The figures of one grid: the mean over what is drawn from one modality, from nothing, and of pictures from words."""
    kind, _, end = grid.partition(", to ")
    model.config.sample.lowest = float(end or 0.002)
    how = {"steps": steps, "guidance": 0.0}
    if kind == "least loss" and steps > 1:
        how["grid"] = model.grid(rows, steps, lowest=float(end))
    values, _, labels, _ = pairs.rows(seed * num, num)
    right, out = [], {"grid": how.get("grid", "karras")}
    for given in [(n,) for n in model.layout.names] + [()]:
        drawn = model.sample({n: values[n] for n in given}, num, seed, **how)
        seen = {n: judges[n].judge(drawn[n]) for n in drawn if n not in given}
        known = {n: shown(pairs, n, labels) for n in given}
        if not given:
            out["nothing"] = float(fitting(seen, pairs.shows).double().mean())
        right += [float(fitting({**known, n: s}, pairs.shows).double().mean()) for n, s in seen.items() if given]
        if given == ("text",):
            out["frechet"] = frechet(judges["image"].features(drawn["image"]), real)
    return out | {"given one": statistics.fmean(right)}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="digits", help="shipped weights, a workdir, or a safetensors file")
    parser.add_argument("--num", type=int, default=64, help="test rows a direction and seed")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--outdir", type=pathlib.Path, default=HERE)
    parser.add_argument("--quick", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(1)
    num, seeds, most = (8, 2, 2) if args.quick else (args.num, args.seeds, 16)
    model = jointdiff.load(args.model)
    judges = build_judges(model.config, model.modalities)
    train, pairs = (build.data(model.config, model.modalities, split) for split in ("train", "test"))
    rows = train.rows(0, num).values
    pictures = pairs.values["image"]
    real = judges["image"].features(restored(pictures[:: max(1, len(pictures) // 2000)]))
    setting = {"model": args.model, "num": num, "seeds": seeds, "quick": args.quick}
    result = Record(args.outdir / "few.json", setting, rows=[])
    done = {(r["grid"], r["steps"]) for r in result["rows"]}
    wanted = {1: GRIDS[:1], 16: [g for g in GRIDS if g == "usual" or g.endswith("to 0.5")]}
    work = [(g, s) for s in STEPS for g in wanted.get(s, GRIDS) if s <= most and (g, s) not in done]
    with tqdm(total=sum(s for _, s in work), disable=None, unit="evaluation") as bar:
        for grid, steps in work:
            found = [measure(model, judges, real, pairs, grid, steps, num, seed, rows) for seed in range(seeds)]
            row = {"grid": grid, "steps": steps, "ratios": found[0]["grid"]}
            for name in FIGURES:
                values = [f[name] for f in found]
                row[name] = {"mean": statistics.fmean(values), "std": statistics.stdev(values)}
            result["rows"].append(row)
            result.save()
            bar.update(steps)
    (args.outdir / "few.md").write_text(table(result))
    picture(result).savefig(args.outdir / "few.png", dpi=110)
    samples(model, rows).save(args.outdir / "few_samples.png")
    print(table(result))


def table(result) -> str:
    lines = [f"| evaluations | grid | {' | '.join(FIGURES.values())} | noise-to-signal ratios after the beginning |"]
    lines.append("|---" * (len(FIGURES) + 3) + "|")
    for r in result["rows"]:
        cells = " | ".join(f"{r[f]['mean']:.3f} ± {r[f]['std']:.3f}" for f in FIGURES)
        ratios = "" if r["ratios"] == "karras" else ", ".join(f"{v:g}" for v in r["ratios"])
        lines.append(f"| {r['steps']} | {r['grid']} | {cells} | {ratios} |")
    return "\n".join(lines) + "\n"


def picture(result):
    figure, axes = plt.subplots(1, 3, figsize=(13, 4.2), layout="constrained")
    for axis, (name, title) in zip(axes, FIGURES.items()):
        for grid in GRIDS:
            rows = [r for r in result["rows"] if r["grid"] == grid or r["steps"] == 1]
            style = {"marker": "o", "ms": 4, "ls": ":" if grid.startswith("usual") else "-"}
            style["color"] = f"C{3 if grid == 'usual' else ENDS.index(float(grid.split()[-1]))}"
            axis.errorbar(
                [r["steps"] for r in rows],
                [r[name]["mean"] for r in rows],
                [r[name]["std"] for r in rows],
                label=grid,
                **style,
            )
        axis.set(title=title, xlabel="network evaluations of a sample", xscale="log", xticks=STEPS, xticklabels=STEPS)
        axis.minorticks_off()
        axis.grid(alpha=0.3)
    axes[2].set_yscale("log")
    axes[2].legend(fontsize=8)
    return figure


def samples(model, rows, num: int = 6) -> PIL.Image.Image:
    """Samples from nothing, on the usual grid and on that which loses least, and with the usual 18 steps."""
    model.config.sample.lowest = 0.002
    panels = []
    for steps in (2, 4, 18):
        ways = {"usual": {"steps": steps}}
        if steps < 18:
            ways["Model.grid"] = {"grid": model.grid(rows, steps)}
        for name, how in ways.items():
            drawn = model.sample({}, num, seed=1, guidance=0.0, **how)
            panels.append(titled(grid_picture(model.modalities, drawn, ()), f"{steps} evaluations, {name}"))
    return PIL.Image.fromarray(beside(panels))


if __name__ == "__main__":
    main()
