"""Densities against exact ones."""

import math

import pytest
import torch

from jointdiff.analytic import Mixture, gaussian
from jointdiff.condition import leave_out
from jointdiff.likelihood import (
    bits,
    dequantize,
    levels,
    log_prob,
    noise_log_likelihood,
    relative_log_prob,
)
from jointdiff.sde import SDES, VP

COV = torch.tensor([[1.0, 0.7, 0.4], [0.7, 1.0, 0.5], [0.4, 0.5, 1.0]], dtype=torch.float64)
JOINTS = {
    "gaussian": gaussian([0.3, -0.2, 0.1], COV),
    "mixture": Mixture([0.3, 0.7], [[0.5, -0.3, 1.0], [-2.0, 1.0, 0.0]], [COV, 0.3 * COV]),
}
ALL = torch.ones(1, 3, 1, 1, dtype=torch.bool)
FIRST = torch.tensor([True, False, False]).view(1, 3, 1, 1)


def density(joint, x, mask=ALL, denoise=None, sde=VP(), **more):
    return log_prob(denoise or joint.denoiser(sde), sde, x, mask, rtol=1e-4, atol=1e-4, **more)


@pytest.mark.parametrize("sde", SDES)
@pytest.mark.parametrize("name", JOINTS)
def test_log_prob_of_a_joint(name, sde):
    joint = JOINTS[name]
    x = joint.sample(40, torch.Generator().manual_seed(0))
    assert (density(joint, x, sde=SDES[sde]()) - joint.log_prob(x)).abs().max() / 3 < 0.01


def clean(joint, x):
    """The denoiser with the first channel given."""
    denoise = joint.denoiser(VP())
    return lambda x_t, t: denoise(torch.where(FIRST, x, x_t), torch.where(FIRST, 0.0, t))


@pytest.mark.parametrize("name", JOINTS)
def test_marginal_and_conditional_two_ways(name):
    joint = JOINTS[name]
    x = joint.sample(20, torch.Generator().manual_seed(1))
    exact = torch.stack([joint.conditional(FIRST.flatten(), v.flatten()[:1]).log_prob(v[None, 1:])[0] for v in x])
    direct = density(joint, x, ~FIRST, clean(joint, x))
    assert (direct - exact).abs().max() / 2 < 0.01
    eps = torch.randn(20, 3, 1, 1, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    alone = density(joint, x, FIRST, leave_out(joint.denoiser(VP()), VP(), ~FIRST, eps))
    difference = density(joint, x) - alone
    assert (difference - exact).abs().max() / 2 < 0.03  # absent is a signal of .0066, not of 0


def test_hutchinson_is_unbiased_and_the_same_in_any_batch():
    joint, draws = JOINTS["gaussian"], torch.Generator().manual_seed(3)
    x = joint.sample(1, draws).expand(4000, 3, 1, 1)
    noise = lambda: torch.randn(x.shape, generator=draws, dtype=torch.float64)
    estimate = density(joint, x, noise=noise, probes=1)
    exact = joint.log_prob(x[:1])
    assert float(estimate.mean() - exact) == pytest.approx(0, abs=4 * float(estimate.std()) / 4000**0.5 + 0.003)
    assert float(estimate.std()) > 0.1


def test_bits_of_a_uniform_variable():
    """Uniform over the 256 values of [-1, 1] is 8 bits; a density of 1 / 2 has them after dequantizing."""
    assert float(bits(torch.tensor(-10 * math.log(256 / 127.5)), 10)) == pytest.approx(8)
    noise = lambda: torch.randn(20000, generator=torch.Generator().manual_seed(0))
    x = dequantize(torch.zeros(20000), noise)
    assert x.abs().max() <= 0.5 / 127.5 and float(x.std()) == pytest.approx(1 / 127.5 / 12**0.5, rel=0.02)


@pytest.mark.parametrize("name", JOINTS)
def test_relative_log_prob_has_the_right_differences(name):
    """log p(x_1, x_2 | x_0) between values of x_0, the mean of many estimates."""
    joint, count = JOINTS[name], 20000
    x = torch.tensor([0.0, 0.9, -0.4], dtype=torch.float64).view(1, 3, 1, 1)
    found, exact = [], []
    for a in (1.0, -0.5, 2.5):
        given = x.clone()
        given[:, 0] = a
        draws = torch.Generator().manual_seed(4)
        noise = lambda: torch.randn(count, 3, 1, 1, generator=draws, dtype=torch.float64)
        rows = given.expand(count, 3, 1, 1)
        value = relative_log_prob(clean(joint, rows), VP(), rows, ~FIRST, noise, 60, 0.01, 100.0)
        found.append(float(value.mean()))
        exact.append(float(joint.conditional(FIRST.flatten(), torch.tensor([a])).log_prob(x[:, 1:])))
    for i in (1, 2):
        assert found[i] - found[0] == pytest.approx(exact[i] - exact[0], abs=0.03)


@pytest.mark.parametrize("level", [0.1, 0.5, 2.0])
def test_the_likelihood_of_a_noise_level(level):
    n, g = 64, torch.Generator().manual_seed(0)
    cov = 0.3 * torch.eye(n, dtype=torch.float64) + 0.2
    joint, sde = gaussian(torch.zeros(n), cov), VP()
    y = joint.sample(100, g) + level * torch.randn(100, n, 1, 1, generator=g, dtype=torch.float64)
    ratios = levels(sde, 40, 0.02, 10.0)
    noise = lambda: torch.randn(y.shape, generator=g, dtype=torch.float64)
    log = noise_log_likelihood(
        joint.denoiser(sde), sde, y, torch.ones(1, n, 1, 1, dtype=torch.bool), ratios, noise, probes=8
    )
    exact = torch.stack([gaussian(torch.zeros(n), cov + r**2 * torch.eye(n)).log_prob(y) for r in ratios], 1)
    middle = (ratios > level / 2) & (ratios < 2 * level)
    relative = lambda v: v[:, middle] - v[:, middle].mean(1, keepdim=True)
    assert (relative(log) - relative(exact)).abs().mean() < 0.5
    best, truth = ratios[log.argmax(1)].log(), ratios[exact.argmax(1)].log()
    assert (best - truth).abs().median() < 0.17  # a step of the grid
