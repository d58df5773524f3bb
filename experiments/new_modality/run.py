"""A fourth modality for a network that has three: scikit-learn's 8 x 8 digits for `digits`, from few examples of each class.

    python experiments/new_modality/run.py --workdir=runs/new_modality     # 9 core-minutes an arm; goes on where it stopped
    python experiments/new_modality/run.py --workdir=runs/new_modality --only="5, teacher"
    python experiments/new_modality/run.py --quick --workdir=/tmp/new

Each arm trains a grown network on N items of every class and modality, paired by class, and nothing else of the old data. The arms:
nothing more; half of the rows drawn by the old model itself; and those with the old network as their teacher at every noise level.
Test rows that no training saw: the new directions, and the old ones beside what they were. Writes result.json after every arm, then
result.md and pairs.png, beside this file or to --outdir.
"""

import argparse
import pathlib
import shutil

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import torch

import jointdiff
from jointdiff import build
from jointdiff import config as cfg
from jointdiff.evaluate.coherence import Direction, coherence
from jointdiff.evaluate.judge import build_judges
from jointdiff.evaluate.record import Record
from jointdiff.trainer import Trainer
from jointdiff.training import fit

HERE = pathlib.Path(__file__).parent
NEW = "small"
KINDS = {
    "nothing": {"share": 0.0},
    "replay": {"share": 0.5, "teacher": False},
    "teacher": {"share": 0.5, "teacher": True},
}
ARMS = [(5, "teacher"), (5, "nothing"), (5, "replay"), (20, "teacher"), (1, "teacher"), (100, "teacher"),
        (20, "nothing"), (100, "nothing"), (1, "nothing")]  # fmt: skip


def arm_config(base: str, items: int, kind: str, quick: bool):
    """The old model's config with one modality more, trained on few items."""
    c = cfg.ConfigDict(jointdiff.load(base).config.to_dict())
    c = cfg.complete(c)
    c.modality[NEW] = cfg.modality("image", "handwritten")
    c.data.modalities = (*c.data.modalities, NEW)
    c.data.per_class = items
    c.data.root = ""
    fields = {
        "train.init": base, "train.steps": 4 if quick else 600, "train.stages": (), "train.evaluate_every": 0, "train.ema": 0.99,
        "optim.matrix_lr": 2e-3, "optim.lr": 1e-3, "optim.decay": 0.5, "optim.warmup": 50, "backbone.unet.dropout": 0.1,
        "loss.pattern": {"joint": 0.2, "conditional": 0.45, "independent": 0.1, "absent": 0.25}, "loss.given": {NEW: 3.0},
        "train.replay": {"rows": 8 if quick else 2000, "teacher": True, **KINDS[kind]},
    }  # fmt: skip
    fields |= {f"loss.log_ratio.{p}": (1.1, 1.7) for p in c.loss.pattern}
    fields |= {"train.batch": 8} if quick else {}
    return cfg.changed(c, fields)


def measure(model, judges, data, num: int, seeds: int, new: bool) -> dict:
    """Coherence of every single direction, all else left out, over seeds: the old ones, and with `new` the new ones."""
    names, out = model.layout.names, {}
    for given in names:
        for target in names:
            if given == target or (NEW in (given, target)) != new:
                continue
            left = tuple(n for n in names if n not in (given, target))
            way = Direction((given,), (target,), left)
            out[f"{given} → {target}"] = [
                coherence(model, judges, data, way, num, seed, start=seed * num)[target] for seed in range(seeds)
            ]
    return out


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workdir", type=pathlib.Path, required=True)
    parser.add_argument("--base", default="digits", help="shipped weights, a workdir, or a safetensors file")
    parser.add_argument("--only", help='one arm alone, such as "5, teacher"')
    parser.add_argument("--num", type=int, default=100)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--outdir", type=pathlib.Path, default=HERE)
    parser.add_argument("--quick", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(1)
    num, seeds = (4, 1) if args.quick else (args.num, args.seeds)
    arms = [a for a in ARMS[: 3 if args.quick else None] if args.only in (None, f"{a[0]}, {a[1]}")]
    setting = {"base": args.base, "num": num, "seeds": seeds, "quick": args.quick}
    result = Record(args.outdir / "result.json", setting, arms={})
    c = arm_config(args.base, 5, "teacher", args.quick)
    modalities = build.modalities(c)
    judges, data = build_judges(c, modalities), build.data(c, modalities, "test")
    if "before" not in result:
        print("the old model's own directions")
        result["before"] = measure(jointdiff.load(args.base), judges, data, num, seeds, new=False)
        result.save()
    for items, kind in arms:
        name = f"{items}, {kind}"
        if name in result["arms"]:
            continue
        print(f"{items} items a class, {kind}")
        folder = args.workdir / f"{items}_{kind}"
        shared = args.workdir / "replay.pt"  # the old model draws the same rows for all arms
        if shared.is_file() and not (folder / "replay.pt").is_file():
            folder.mkdir(parents=True, exist_ok=True)
            shutil.copy(shared, folder / "replay.pt")
        trainer = Trainer(arm_config(args.base, items, kind, args.quick), folder)
        if (folder / "replay.pt").is_file():
            shutil.copy(folder / "replay.pt", shared)
        if not fit(trainer):
            raise SystemExit("stopped; the same command goes on from here")
        model = trainer.model()
        result["arms"][name] = {"items": items, "kind": kind} | {
            which: measure(model, judges, data, num, seeds, new=which == "new") for which in ("new", "old")
        }
        result.save()
    (args.outdir / "result.md").write_text(table(result))
    picture(result).savefig(args.outdir / "pairs.png", dpi=110)
    print(table(result))


def over(figures: dict) -> tuple[float, float]:
    """The mean over directions, and the standard deviation of that mean over seeds."""
    rows = torch.tensor(list(figures.values()), dtype=torch.float64).mean(0)
    return float(rows.mean()), float(rows.std()) if len(rows) > 1 else 0.0


def table(result) -> str:
    before, arms = result["before"], result["arms"]
    new = list(next(iter(arms.values()))["new"])
    head = ["items a class", "replay", "new directions", "old directions", "lost", *new]
    lines = [
        head,
        ["---"] * len(head),
        ["before", "", "", "{:.3f} ± {:.3f}".format(*over(before)), "", *[""] * len(new)],
    ]
    for arm in sorted(arms.values(), key=lambda a: (a["items"], a["kind"])):
        (fresh, a), (old, b) = over(arm["new"]), over(arm["old"])
        cells = [f"{torch.tensor(arm['new'][n]).mean():.3f}" for n in new]
        kind = {"nothing": "none", "replay": "samples", "teacher": "samples, taught by the old network"}[arm["kind"]]
        lines.append(
            [
                str(arm["items"]),
                kind,
                f"{fresh:.3f} ± {a:.3f}",
                f"{old:.3f} ± {b:.3f}",
                f"{over(before)[0] - old:.3f}",
                *cells,
            ]
        )
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def picture(result):
    """New and old directions against the number of items."""
    figure, axes = plt.subplots(1, 2, figsize=(10, 3.8), layout="constrained")
    for axis, which in zip(axes, ("new", "old")):
        for kind in KINDS:
            rows = sorted((a["items"], *over(a[which])) for a in result["arms"].values() if a["kind"] == kind)
            if rows:
                axis.errorbar(*zip(*rows), marker="o", capsize=3, label=kind)
        axis.set(xscale="log", xlabel="items of each class and modality", title=f"Coherence of the {which} directions")
        axis.set_xticks([1, 5, 20, 100], ["1", "5", "20", "100"])
        axis.grid(alpha=0.3)
    axes[1].axhline(over(result["before"])[0], color="black", lw=1, ls=":", label="before")
    axes[1].legend(fontsize=8)
    return figure


if __name__ == "__main__":
    main()
