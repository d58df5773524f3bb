"""Where the modalities meet: early (channels of one tensor), late (a stream each), or everywhere (tokens of one transformer).

    python experiments/fusion/run.py --workdir=runs/fusion           # two hours on one core
    python experiments/fusion/run.py --workdir=runs/fusion --quick   # seconds

Three backbones of 4.7 to 4.9 M parameters are trained on the data of `digits` for the same core-minutes, with the same loss,
batches and optimizer, and judged alike. Then their cost against the number of modalities: floating-point operations and
processor time of one evaluation, of each as it is configured here for 1, 2, 4 and 8 modalities of one channel at 32 x 32.

Writes result.json after every figure, result.md, cost.md, curves.png and cost.png beside this file, or to --outdir.
"""

import pathlib
import statistics
import sys
import time

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import torch
from torch.utils.flop_counter import FlopCounterMode

from jointdiff.backbones import BACKBONES

HERE = pathlib.Path(__file__).parent
sys.path.insert(0, str(HERE.parent))
from contenders import Contender, arguments, compare, on_digits, table  # noqa: E402

MINUTES = (8, 16, 24)
LATE = {"backbone.late.widths": (32, 64, 112), "backbone.late.blocks": (1, 1, 2)}
SMALL_LATE = {"backbone.late.widths": (8, 16, 16), "backbone.late.blocks": (1, 1, 1)}
SMALL_TOKENS = {"backbone.tokens.width": 16, "backbone.tokens.depth": 2}
CONTENDERS = {
    "early": Contender(MINUTES),
    "late": Contender(MINUTES, on_digits({"backbone.name": "late", **LATE}, SMALL_LATE)),
    "tokens": Contender(MINUTES, on_digits({"backbone.name": "tokens", "backbone.tokens.depth": 7}, SMALL_TOKENS)),
}
COUNTS = (1, 2, 4, 8)


@torch.no_grad()
def cost(quick: bool) -> list[dict]:
    """GFLOP and milliseconds of one evaluation a row; the contenders take turns, so that all see the same machine."""
    rows, batch, grid = [], 2 if quick else 16, (32, 32)
    for count in COUNTS[:2] if quick else COUNTS:
        networks, spent = {}, {}
        x, levels = torch.randn(batch, count, *grid), torch.rand(batch, count)
        streams = [(slice(i, i + 1), slice(i, i + 1)) for i in range(count)]
        for name, contender in CONTENDERS.items():
            config = contender.config(quick)
            cls = BACKBONES[config.backbone.name]
            options = {n: v for n, v in (("grid", grid), ("streams", streams)) if n in cls.needs}
            networks[name] = cls(count, count, **config.backbone[config.backbone.name], **options).eval()
        for _ in range(2 if quick else 11):
            for name, network in networks.items():
                began = time.process_time()
                network(x, levels)
                spent.setdefault(name, []).append(1000 * (time.process_time() - began) / batch)
        for name, network in networks.items():
            with FlopCounterMode(display=False) as counter:
                network(x, levels)
            work = {"gflop": counter.get_total_flops() / batch / 1e9, "ms": statistics.median(spent[name][1:])}
            parameters = sum(p.numel() for p in network.parameters())
            rows.append({"contender": name, "modalities": count, "parameters": parameters, **work})
    return rows


def cost_table(rows: list[dict]) -> str:
    lines = ["| modalities | " + " | ".join(f"{n}: parameters, GFLOP, ms" for n in CONTENDERS) + " |", "|---" * 4 + "|"]
    for count in dict.fromkeys(r["modalities"] for r in rows):
        of = {r["contender"]: r for r in rows if r["modalities"] == count}
        cells = [f"{r['parameters'] / 1e6:.1f} M, {r['gflop']:.2f}, {r['ms']:.1f}" for r in (of[n] for n in CONTENDERS)]
        lines.append(f"| {count} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def cost_figure(rows: list[dict]):
    figure, axes = plt.subplots(1, 2, figsize=(8, 3.4), layout="constrained")
    for axis, key, title in zip(axes, ("gflop", "ms"), ("GFLOP a row", "ms a row, one thread")):
        for name in CONTENDERS:
            mine = [r for r in rows if r["contender"] == name]
            axis.plot([r["modalities"] for r in mine], [r[key] for r in mine], marker="o", label=name)
        axis.set(title=f"one evaluation: {title}", xlabel="modalities", ylim=(0, None), xticks=COUNTS)
        axis.grid(alpha=0.3)
    axes[0].legend()
    return figure


def main():
    args = arguments(__doc__, "fusion", HERE, CONTENDERS)
    if result := compare(args, CONTENDERS):
        result["cost"] = result.get("cost") or cost(args.quick)
        result.save()
        (args.outdir / "cost.md").write_text(cost_table(result["cost"]))
        cost_figure(result["cost"]).savefig(args.outdir / "cost.png", dpi=110)
        print(table(result), cost_table(result["cost"]), sep="\n")


if __name__ == "__main__":
    main()
