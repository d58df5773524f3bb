"""Joints whose conditionals are known, networks trained on them, and how wrong samples of a conditional are."""

import torch

from jointdiff.analytic import Mixture, gaussian
from jointdiff.backbones import MLP
from jointdiff.denoiser import Denoiser
from jointdiff.layout import Layout
from jointdiff.loss import TimePatterns, denoising_loss
from jointdiff.sde import VP
from jointdiff.streams import stream

SDE = VP()
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


def observations(name, count, seed):
    """`count` rows that repeat `count / REPEATS` draws of the joint, `(count, n)`, and the joint and mask."""
    joint, observed = problem(name)
    x = joint.sample(max(count // REPEATS, 2), stream(seed, 5)).flatten(1).repeat_interleave(REPEATS, 0)[:count]
    return joint, observed, x


def exact_rows(name, count, seed):
    """Draws from the true conditional: what the measures say of perfect samples."""
    joint, observed, true = observations(name, count, seed)
    x = true.clone()
    g = stream(seed, 6)
    for i in range(0, len(x), REPEATS):
        part = joint.conditional(observed, true[i, observed])
        x[i : i + REPEATS, ~observed] = part.sample(len(x[i : i + REPEATS]), g).flatten(1)
    return x, true


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
