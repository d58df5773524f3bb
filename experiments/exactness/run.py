"""Every condition with every sampler, where the true conditional is known: how wrong, at what cost.

    python experiments/exactness/run.py            # about 25 minutes on one core; goes on where it was stopped
    python experiments/exactness/run.py --quick    # under 2 minutes: few samples, few methods

Writes result.json after every row, then result.md, error_by_cost.png and what_samples_look_like.png, beside this file or
to --outdir.
"""

import argparse
import json
import math
import pathlib
import subprocess
import time

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import torch
from tqdm import tqdm

from jointdiff.analytic import Mixture, gaussian
from jointdiff.backbones import MLP
from jointdiff.condition import CONDITIONS
from jointdiff.denoiser import Denoiser
from jointdiff.files import write_atomically
from jointdiff.layout import Layout
from jointdiff.loss import TimePatterns, denoising_loss
from jointdiff.samplers import SAMPLERS, Counted, sample
from jointdiff.sde import VP
from jointdiff.streams import stream

HERE = pathlib.Path(__file__).parent
SDE = VP()
STEPS = {
    "ddim": 200,
    "dpm_solver": 50,
    "heun": 25,
    "stochastic_heun": 50,
    "euler_maruyama": 500,
    "predictor_corrector": 500,
    "adaptive": 2,
}
FEW = ("dpm_solver", "ddim", "euler_maruyama")  # for networks and the process, which cost more
OPTIONS = {"ddim": {"eta": 1.0}}
PAIRS = {"gaussian .5": 0.5, "gaussian .9": 0.9, "gaussian .99": 0.99}
REPEATS = 100  # samples of one observation, for intervals


def problem(name: str):
    """The joint and the mask (n,) of what is observed."""
    if name in PAIRS:
        rho = PAIRS[name]
        return gaussian(torch.zeros(2), [[1.0, rho], [rho, 1.0]]), torch.tensor([True, False])
    if name == "mixture":  # 10 classes in 16 dimensions, 8 of them observed, correlated .6 with the others in a class
        means = torch.randn(10, 16, generator=stream(1), dtype=torch.float64)
        half = torch.eye(8, dtype=torch.float64)
        cov = 0.04 * torch.cat([torch.cat([half, 0.6 * half], 1), torch.cat([0.6 * half, half], 1)])
        return Mixture(torch.ones(10), means, [cov] * 10), torch.arange(16) < 8
    if name == "process":  # a Gaussian process on 100 points, kernel exp(-|a - b|), every third observed
        place = torch.linspace(0, 5, 100, dtype=torch.float64)
        cov = (-(place[:, None] - place[None]).abs()).exp() + 1e-4 * torch.eye(100, dtype=torch.float64)
        return gaussian(torch.zeros(100), cov), torch.arange(100) % 3 == 0
    raise ValueError(name)


PROBLEMS = (*PAIRS, "mixture", "process")
NETWORKS = ("exact", "network", "joint-only network")


def train(joint, observed, joint_only: bool, steps: int, seed: int = 0) -> Denoiser:
    """A small network for the joint, by the package's own loss."""
    n = len(observed)
    order = torch.cat([observed.nonzero()[:, 0], (~observed).nonzero()[:, 0]])
    assert torch.equal(order, torch.arange(n)), "the observed channels come first"
    layout = Layout({"observed": int(observed.sum()), "rest": int((~observed).sum())}, (1, 1))
    torch.manual_seed(seed)
    std = joint.moments()[1].diagonal().mean().sqrt().float()
    denoiser = Denoiser(MLP(n, 2, (1, 1), 128, 3), SDE, layout, torch.zeros(2), torch.full((2,), float(std)))
    chances = {"joint": 1.0} if joint_only else {"joint": 0.3, "conditional": 0.5, "independent": 0.1, "absent": 0.1}
    patterns = TimePatterns(chances, dict.fromkeys(chances, (-0.3, 1.8)))
    optimizer = torch.optim.AdamW(denoiser.network.parameters(), lr=2e-3, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, steps)
    average = torch.optim.swa_utils.AveragedModel(
        denoiser.network, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.998)
    )
    for step in range(steps):
        g = stream(seed, step)
        x_0 = joint.sample(1024, g).float()
        times = patterns.draw(1024, 2, g)
        loss = denoising_loss(denoiser, x_0, times, torch.randn(x_0.shape, generator=g)).sum(1).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        average.update_parameters(denoiser.network)
    denoiser.network.load_state_dict(average.module.state_dict())
    return denoiser.eval()


class Noise:
    """One stream for all samples: here only their distribution counts."""

    def __init__(self, shape, seed, dtype):
        self.shape, self.generator, self.dtype = shape, stream(seed, 77), dtype

    def __call__(self):
        return torch.randn(self.shape, generator=self.generator, dtype=self.dtype)


def observations(name, count, seed):
    """`count` rows that repeat `count / REPEATS` draws of the joint, `(count, n)`, and the joint and mask."""
    joint, observed = problem(name)
    x = joint.sample(max(count // REPEATS, 2), stream(seed, 5)).flatten(1).repeat_interleave(REPEATS, 0)[:count]
    return joint, observed, x


def draw(name, denoise, condition, sampler, count, seed, dtype, options):
    joint, observed, x = observations(name, count, seed)
    mask, y = observed.view(1, -1, 1, 1), x[:, :, None, None].to(dtype)
    method = SAMPLERS[sampler](SDE, **OPTIONS.get(sampler, {}))
    how = CONDITIONS[condition](SDE, y, mask, **options)
    counted = Counted(denoise)
    steps = STEPS[sampler] if condition in ("clean", "guide", "pigdm", "tweedie") else max(STEPS[sampler], 50)
    began = time.perf_counter()
    out = sample(counted, method, method.grid(SDE, steps), Noise(y.shape, seed, dtype), how)
    return out.flatten(1).double(), counted.rows / count, time.perf_counter() - began, how


def measure(name, x, true) -> dict:
    """Figures of samples x `(N, n)` beside the rows `true` whose observed part they were given."""
    joint, observed = problem(name)
    y, rest, fact = true[:, observed], x[:, ~observed], true[:, ~observed]
    groups = rest.view(-1, REPEATS, rest.shape[1])
    low, high = groups.quantile(0.05, 1), groups.quantile(0.95, 1)
    fact = fact[::REPEATS]
    out = {"coverage": float(((fact >= low) & (fact <= high)).double().mean())}
    if name == "mixture":
        _, s_oo, s_ro, s_rr = blocks(joint.covariances[0], observed)
        gain = s_ro @ torch.linalg.inv(s_oo)
        spread = (s_rr - gain @ s_ro.T).diagonal()
        kind = joint_part(joint, observed).responsibilities(y[:, :, None, None]).argmax(1)
        found = joint_part(joint, ~observed).responsibilities(rest[:, :, None, None]).argmax(1)
        ok = kind == found
        mean = joint.means[kind][:, ~observed] + (y - joint.means[kind][:, observed]) @ gain.T
        out["coherence"] = float(ok.double().mean())
        # an interquartile spread: samples between classes do not count as variety
        gap = ((rest - mean) / spread.sqrt())[ok]
        out["variance ratio"] = float((gap.quantile(0.75, 0) - gap.quantile(0.25, 0)).mean() / 1.34898) ** 2
        return out
    mean, s_oo, s_ro, s_rr = blocks(joint.covariances[0], observed)
    gain = s_ro @ torch.linalg.inv(s_oo)
    cov = s_rr - gain @ s_ro.T
    # every method is linear in y for a Gaussian: fit its mean A y + b and its covariance
    design = torch.cat([y, torch.ones(len(y), 1, dtype=y.dtype)], 1)
    fit = torch.linalg.lstsq(design, rest).solution
    residual = rest - design @ fit
    spread = residual.T @ residual / (len(rest) - design.shape[1])
    gap = (design @ fit - y @ gain.T)[::REPEATS]
    inverse = torch.linalg.inv(spread)
    trace = torch.trace(inverse @ cov) + ((gap @ inverse) * gap).sum(1).mean()
    out["kl"] = float(0.5 * (trace - len(cov) + torch.linalg.slogdet(spread)[1] - torch.linalg.slogdet(cov)[1]))
    root = matrix_root(cov)
    bures = torch.trace(cov + spread - 2 * matrix_root(root @ spread @ root)).clamp(min=0) + gap.square().sum(1).mean()
    out["bures"] = float(bures.sqrt())
    out["variance ratio"] = float((spread.diagonal() / cov.diagonal()).mean())
    return out


def blocks(cov, observed):
    o, r = observed, ~observed
    return None, cov[o][:, o], cov[r][:, o], cov[r][:, r]


def joint_part(joint, keep):
    return Mixture(joint.weights, joint.means[:, keep], joint.covariances[:, keep][:, :, keep])


def matrix_root(a):
    values, vectors = torch.linalg.eigh(a)
    return vectors @ torch.diag(values.clamp(min=0).sqrt()) @ vectors.T


def exact_rows(name, count, seed):
    """Draws from the true conditional: what the measures say of perfect samples."""
    joint, observed, true = observations(name, count, seed)
    x = true.clone()
    g = stream(seed, 6)
    for i in range(0, len(x), REPEATS):
        part = joint.conditional(observed, true[i, observed])
        x[i : i + REPEATS, ~observed] = part.sample(len(x[i : i + REPEATS]), g).flatten(1)
    return x, true


def work(quick: bool):
    """Rows to do: (problem, network, condition, sampler, options)."""
    problems = ("gaussian .9", "mixture") if quick else PROBLEMS
    samplers = ("dpm_solver", "ddim") if quick else tuple(STEPS)
    for name in problems:
        yield name, "exact", "exact draws", "", {}
        for network in NETWORKS if name in ("gaussian .9", "mixture") else NETWORKS[:1]:
            if quick and network == "joint-only network":
                continue
            for condition in CONDITIONS:
                for sampler in samplers if network == "exact" and name != "process" else FEW:
                    if condition == "twisted" and sampler not in ("ddim", "euler_maruyama"):
                        continue
                    if sampler == "adaptive" and condition in ("replace", "langevin", "repaint") and name not in PAIRS:
                        continue  # it starts anew after every step, thousands of evaluations
                    if quick and (condition, sampler) not in {(c, "ddim") for c in ("clean", "replace", "pigdm")} | {
                        ("clean", "dpm_solver"),
                        ("tweedie", "dpm_solver"),
                    }:
                        continue
                    yield name, network, condition, sampler, {}
            if not quick:
                yield name, network, "guide", "ddim", {"weight": 1.0}
                yield name, network, "langevin", "ddim", {"corrections": 3}


def budget(name, network, condition, sampler, quick):
    """Number of samples: fewer where a sample costs much."""
    count = 20000 if name in PAIRS else 5000
    if condition in ("repaint", "twisted") or sampler in ("euler_maruyama", "predictor_corrector"):
        count = 4000 if name in PAIRS else 1000
    if name == "process":
        count = 4000  # 66 dimensions want many samples
    if sampler == "adaptive" and name not in PAIRS:
        count = 500  # times of its own for every sample are slow in the exact score of a mixture
    if network != "exact":
        count = max(count // 5, 1000)
    return 1000 if quick else count


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--outdir", type=pathlib.Path, default=HERE)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=math.inf, help="stop after them; the same command goes on")
    parser.add_argument("--quick", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(1)
    args.outdir.mkdir(parents=True, exist_ok=True)
    path = args.outdir / "result.json"
    result = json.loads(path.read_text()) if path.exists() else {"rows": []}
    if result["rows"] and (result["seed"], result["quick"]) != (args.seed, args.quick):
        raise SystemExit(f"{path} was made with other arguments; name another --outdir")
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, cwd=HERE)
    result.update(
        seed=args.seed, quick=args.quick, torch=torch.__version__, commit=commit.stdout.strip(), device="cpu, 1 thread"
    )
    key = lambda r: (r["problem"], r["network"], r["condition"], r["sampler"], json.dumps(r["options"]))
    done = {key(r) for r in result["rows"]}
    networks, began = {}, time.monotonic()
    for name, network, condition, sampler, options in tqdm(list(work(args.quick)), disable=None, unit="row"):
        row = {"problem": name, "network": network, "condition": condition, "sampler": sampler, "options": options}
        if key(row) in done or time.monotonic() - began > 60 * args.minutes:
            continue
        count, seed = budget(name, network, condition, sampler, args.quick), args.seed
        if condition == "exact draws":
            x, true = exact_rows(name, count, seed)
            row.update(evaluations=0, seconds=0.0, samples=len(x), **measure(name, x, true))
        else:
            joint, observed, true = observations(name, count, seed)
            if network == "exact":
                denoise, dtype = joint.denoiser(SDE), torch.float64
            else:
                if (name, network) not in networks:
                    steps = 300 if args.quick else 6000
                    networks[name, network] = train(joint, observed, network != "network", steps)
                denoise, dtype = networks[name, network], torch.float32
            std = (
                {"data_std": float(joint.moments()[1].diagonal().mean().sqrt())}
                if condition in ("pigdm", "twisted")
                else {}
            )
            try:
                x, evaluations, seconds, how = draw(
                    name, denoise, condition, sampler, count, seed, dtype, {**options, **std}
                )
            except RuntimeError as error:  # a solver that gives up is a result too
                row.update(failed=str(error))
            else:
                row.update(evaluations=round(evaluations), seconds=round(seconds, 2), samples=count)
                bad = ~x.isfinite().all(1)
                row["failed"] = f"{float(bad.double().mean()):.0%} of the samples are not finite" if bad.any() else ""
                if not bad.any():
                    row.update(measure(name, x, true))
                if condition == "twisted" and network == "exact":
                    exact = joint_part(joint, observed).log_prob(true[:, observed][:, :, None, None])
                    ratio = (how.log_evidence - exact).exp()
                    row["evidence"] = float(ratio.mean().log())  # 0: the mean of the estimates is right
                    row["evidence error"] = float(ratio.std() / ratio.mean() / math.sqrt(len(ratio)))
                    row["ess"] = float(how.ess.mean())
        result["rows"].append(row)
        write_atomically(path, lambda p: p.write_text(json.dumps(result, indent=1) + "\n"))
    (args.outdir / "result.md").write_text(table(result))
    error_by_cost(result).savefig(args.outdir / "error_by_cost.png", dpi=110)
    looks(args.seed, 2000 if args.quick else 40000).savefig(args.outdir / "what_samples_look_like.png", dpi=110)
    print(table(result))


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


if __name__ == "__main__":
    main()
