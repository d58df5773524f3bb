"""Conditions with exact denoisers against exact conditionals, for every subset of three modalities."""

import itertools
import math

import pytest
import torch

from jointdiff.analytic import Mixture, gaussian, gaussian_kl
from jointdiff.condition import CONDITIONS, leave_out
from jointdiff.samplers import SAMPLERS, sample
from jointdiff.sde import SDES, VP

COV = torch.tensor([[1.0, 0.7, 0.4], [0.7, 1.0, 0.5], [0.4, 0.5, 1.0]], dtype=torch.float64)
JOINT = gaussian(torch.tensor([0.3, -0.2, 0.1]), COV)
Y = torch.tensor([1.0, -0.5, 0.8], dtype=torch.float64)
SUBSETS = [s for k in (1, 2) for s in itertools.combinations(range(3), k)]


class Noise:
    def __init__(self, count, n):
        self.shape, self.generator = (count, n, 1, 1), torch.Generator().manual_seed(0)

    def __call__(self):
        return torch.randn(self.shape, generator=self.generator, dtype=torch.float64)


def draw(joint, y, observed, condition, sampler="heun", steps=30, count=20000, sde=VP()):
    n = len(y)
    mask = torch.zeros(1, n, 1, 1, dtype=torch.bool)
    mask[:, list(observed)] = True
    y = y.view(1, n, 1, 1).expand(count, n, 1, 1)
    method = SAMPLERS[sampler](sde)
    how = CONDITIONS[condition](sde, y, mask)
    x = sample(joint.denoiser(sde), method, method.times(steps), Noise(count, n), how)
    assert torch.equal(x[mask.expand_as(x)], y[mask.expand_as(x)])  # bit for bit
    return x.flatten(1)


def kl(x, observed, joint=JOINT, y=Y):
    keep = torch.ones(len(y), dtype=torch.bool)
    keep[list(observed)] = False
    exact = joint.conditional(~keep, y[~keep])
    x = x[:, keep]
    cov = torch.cov(x.T).reshape(int(keep.sum()), -1)
    return gaussian_kl(exact.means[0], exact.covariances[0], x.mean(0), cov)


@pytest.mark.parametrize("observed", SUBSETS, ids=str)
def test_clean_is_exact_for_every_subset(observed):
    assert kl(draw(JOINT, Y, observed, "clean"), observed) < 0.003


@pytest.mark.parametrize("sde", SDES)
@pytest.mark.parametrize(
    "sampler,steps,bound",
    [("heun", 30, 0.003), ("ddim", 300, 0.003), ("euler_maruyama", 500, 0.01), ("predictor_corrector", 500, 0.03)],
)
def test_clean_is_exact_with_every_sampler(sampler, steps, bound, sde):
    x = draw(JOINT, Y, (0,), "clean", sampler, steps, sde=SDES[sde]())
    assert kl(x, (0,)) < bound


def replacement_by_recursion(rho, sde, times):
    """Slope and variance of `x_1 = slope y + noise` that replacement ends in: every step is linear in (x_1, y, noise)."""
    slope, var = 0.0, 1.0
    for t, s in zip(times[:-1], times[1:]):
        f, g2 = (float(v) for v in sde.drift_diffusion(t))
        alpha, sigma, dt = float(sde.alpha(t)), float(sde.sigma(t)), float(s - t)
        cov = alpha**2 * torch.tensor([[1.0, rho], [rho, 1.0]], dtype=torch.float64) + sigma**2 * torch.eye(2)
        p = torch.linalg.inv(cov)  # the score of x_1 is -p_10 x_0 - p_11 x_1
        a, b = 1 + dt * (f + g2 * float(p[1, 1])), dt * g2 * float(p[1, 0])
        slope = a * slope + b * alpha
        var = a**2 * var + (b * sigma) ** 2 - g2 * dt
    return slope, var


def mean_kl(rho, slope, var):
    """KL(true || N(slope y, var)) averaged over y, in nats."""
    true = 1 - rho**2
    return 0.5 * (true / var + (slope - rho) ** 2 / var - 1 + math.log(var / true))


@pytest.mark.parametrize("rho,biased", [(0.5, 0.02), (0.9, 0.1)])
def test_replacement_has_its_known_bias(rho, biased):
    joint = gaussian(torch.zeros(2), [[1.0, rho], [rho, 1.0]])
    count, sde = 20000, VP()
    y = torch.randn(count, 1, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    mask = torch.tensor([True, False]).view(1, 2, 1, 1)
    full = torch.cat([y, torch.zeros_like(y)], 1)[:, :, None, None]
    method = SAMPLERS["euler_maruyama"](sde)
    times = method.times(400)
    x = sample(joint.denoiser(sde), method, times, Noise(count, 2), CONDITIONS["replace"](sde, full, mask)).flatten(1)
    slope = float((x[:, 0] * x[:, 1]).mean() / (x[:, 0] ** 2).mean())
    var = float((x[:, 1] - slope * x[:, 0]).var())
    want = replacement_by_recursion(rho, sde, times)
    assert (slope, var) == pytest.approx(want, abs=0.03)
    assert mean_kl(rho, slope, var) > biased  # where the clean condition stays below 0.003


def test_clean_keeps_the_weights_of_a_mixture():
    joint = Mixture([0.5, 0.5], [[-1.0, -1.0], [1.0, 1.0]], [0.1 * torch.eye(2), 0.1 * torch.eye(2)])
    y = torch.tensor([0.15, 0.0], dtype=torch.float64)
    exact = joint.conditional(torch.tensor([True, False]), y[:1])
    x = draw(joint, y, (0,), "clean", steps=40)[:, 1]
    assert float((x > 0).double().mean()) == pytest.approx(float(exact.weights[1]), abs=0.012)


def test_left_out_channels_are_as_if_they_did_not_exist():
    """Sampling b from a with c left out gives p(b | a), whatever c would have said."""
    sde, count = VP(), 20000
    noise = Noise(count, 3)
    hidden = torch.tensor([False, False, True]).view(1, 3, 1, 1)
    denoise = leave_out(JOINT.denoiser(sde), sde, hidden, noise())
    mask = torch.tensor([True, False, False]).view(1, 3, 1, 1)
    method = SAMPLERS["heun"](sde)
    x = sample(
        denoise,
        method,
        method.times(30),
        noise,
        CONDITIONS["clean"](sde, Y.view(1, 3, 1, 1).expand(count, 3, 1, 1), mask),
    )
    pair = gaussian(JOINT.means[0][:2], COV[:2, :2]).conditional(torch.tensor([True, False]), Y[:1])
    x = x[:, 1].flatten()
    assert gaussian_kl(pair.means[0], pair.covariances[0], x.mean()[None], x.var()[None, None]) < 0.003
