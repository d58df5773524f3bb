"""The table and the pictures of the results."""

import math

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import torch
from problems import SDE, problem

from jointdiff.condition import CONDITIONS
from jointdiff.samplers import SAMPLERS, sample
from jointdiff.streams import stream


class Noise:
    """One stream for all samples: here only their distribution counts."""

    def __init__(self, shape, seed, dtype):
        self.shape, self.generator, self.dtype = shape, stream(seed, 77), dtype

    def __call__(self):
        return torch.randn(self.shape, generator=self.generator, dtype=self.dtype)


def table(result) -> str:
    """Markdown: a table a problem and network."""
    out = []
    for name in dict.fromkeys(r["problem"] for r in result["rows"]):
        for network in dict.fromkeys(r["network"] for r in result["rows"] if r["problem"] == name):
            rows = [r for r in result["rows"] if (r["problem"], r["network"]) == (name, network)]
            names = ("coherence",) if name == "mixture" else ("kl", "bures")
            figures = (*names, "variance ratio", "coverage")
            out.append(f"\n### {name}, {'exact score' if network == 'exact' else network}\n")
            out.append("| condition | sampler | evaluations | seconds | " + " | ".join(figures) + " |")
            out.append("|---|---|---|---|" + "---|" * len(figures))
            for r in rows:
                extra = "".join(f", {k} {v:g}" for k, v in r["options"].items())
                cells = [f"{r[f]:.3f}" if f in r else r.get("failed", "") for f in figures]
                if any(abs(r.get(f, 0)) > 1e3 for f in figures):
                    cells = [f"{r[f]:.1e}" for f in figures]
                out.append(
                    f"| {r['condition']}{extra} | {r['sampler']} | {r.get('evaluations', '')} | {r.get('seconds', '')} | "
                    + " | ".join(cells)
                    + " |"
                )
    return "\n".join(out).strip() + "\n"


COLORS = dict(
    zip(
        CONDITIONS,
        ("#1b9e77", "#d95f02", "#e6ab02", "#a6761d", "#7570b3", "#e7298a", "#66a61e", "#377eb8"),
        strict=True,
    )
)


def error_by_cost(result):
    """KL on the Gaussian of correlation .9 and coherence lost on the mixture, against evaluations, exact score."""
    figure, axes = plt.subplots(1, 2, figsize=(12.5, 5), layout="constrained")
    for axis, (name, value, title) in zip(
        axes,
        [
            ("gaussian .9", lambda r: r["kl"], "Two numbers of correlation .9:\nKL divergence to the true conditional"),
            ("mixture", lambda r: 1 - r["coherence"], "Ten classes:\nshare of samples of the wrong class"),
        ],
    ):
        floor = 1e-4
        rows = [
            r
            for r in result["rows"]
            if (r["problem"], r["network"]) == (name, "exact") and r["sampler"] and "coverage" in r
        ]
        for condition, color in COLORS.items():
            mine = [r for r in rows if r["condition"] == condition]
            if mine:
                cost, error = [r["evaluations"] for r in mine], [max(value(r), floor) for r in mine]
                ring = {"s": 150, "facecolor": "none", "edgecolor": color, "lw": 2} if condition == "clean" else {
                    "s": 60, "color": color, "edgecolor": "white"}  # fmt: skip
                axis.scatter(cost, error, label=condition, zorder=3, **ring)
        axis.set(xscale="log", yscale="log", xlabel="network evaluations of a sample", title=title)
        axis.set_ylim(floor / 1.5, 2)
        axis.axhspan(floor / 1.5, 0.005, color="#1b9e77", alpha=0.1, zorder=0)
        axis.text(
            0.98,
            0.004,
            "right to within .005",
            transform=axis.get_yaxis_transform(),
            ha="right",
            va="top",
            color="#1b9e77",
        )
        axis.grid(alpha=0.3, which="major")
    axes[0].legend(title="condition (a dot a sampler)", fontsize=9, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    figure.suptitle("The score is exact here: what is left is the error of the method itself", fontsize=13)
    return figure


def looks(seed, count):
    """Histograms of what each condition draws for y = 1.5, beside the true density."""
    rho, y = 0.9, 1.5
    figure, axes = plt.subplots(2, 4, figsize=(12.5, 5.4), sharex=True, sharey=True, layout="constrained")
    joint = problem("gaussian .9")[0]
    mask = torch.tensor([True, False]).view(1, 2, 1, 1)
    grid = torch.linspace(-1.2, 3.6, 200)
    std = math.sqrt(1 - rho**2)
    density = (-0.5 * ((grid - rho * y) / std) ** 2).exp() / std / math.sqrt(2 * math.pi)
    for axis, (condition, color) in zip(axes.flat, COLORS.items()):
        many = count // 10 if condition in ("repaint", "twisted") else count
        full = torch.tensor([y, 0.0], dtype=torch.float64).view(1, 2, 1, 1).expand(many, 2, 1, 1)
        method = SAMPLERS["ddim"](SDE, eta=1.0)
        times = method.grid(SDE, 30 if count < 10000 else 200)
        how = CONDITIONS[condition](SDE, full, mask)
        x = sample(joint.denoiser(SDE), method, times, Noise(full.shape, seed, torch.float64), how)[:, 1].flatten()
        axis.hist(x.numpy(), bins=80, range=(-1.2, 3.6), density=True, color=color, alpha=0.6)
        axis.plot(grid, density, color="black", lw=1.2)
        axis.set_title(condition)
        axis.set_yticks([])
    figure.suptitle(
        "The other of two numbers of correlation .9, given that one is 1.5: drawn (colour), true (line)", fontsize=13
    )
    return figure
