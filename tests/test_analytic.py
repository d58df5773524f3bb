import math

import pytest
import torch
from scipy.stats import multivariate_normal

from jointdiff.analytic import Mixture, gaussian, gaussian_kl
from jointdiff.denoiser import noise, score
from jointdiff.sde import SDES

TWO = Mixture(
    [0.3, 0.7],
    [[0.0, 1.0, -1.0], [2.0, -1.0, 0.5]],
    [[[1.0, 0.6, 0.2], [0.6, 0.8, 0.1], [0.2, 0.1, 0.5]], [[0.3, 0.0, 0.1], [0.0, 0.4, -0.1], [0.1, -0.1, 0.6]]],
)


def test_log_prob_agrees_with_scipy(generator):
    x = TWO.sample(5, generator)
    want = sum(
        float(w) * multivariate_normal(m, c).pdf(x.flatten(1).numpy())
        for w, m, c in zip(TWO.weights, TWO.means.numpy(), TWO.covariances.numpy())
    )
    assert torch.allclose(TWO.log_prob(x).exp(), torch.as_tensor(want))


@pytest.mark.parametrize("name", SDES)
def test_score_is_the_gradient_of_the_log_density(name, generator):
    """With a time of its own for every channel."""
    sde = SDES[name]()
    t = torch.rand(6, 3, 1, 1, generator=generator, dtype=torch.float64) * 0.9 + 0.05
    x = TWO.sample(6, generator).requires_grad_()
    exact = torch.autograd.grad(TWO.log_prob(x, sde, t).sum(), x)[0]
    x = x.detach()
    x_0 = TWO.denoiser(sde)(x, t)
    assert torch.allclose(score(sde, x_0, x, t), exact, rtol=1e-6, atol=1e-8)
    assert torch.allclose(-noise(sde, x_0, x, t) / sde.sigma(t), exact, rtol=1e-6, atol=1e-8)


def test_conditional_is_joint_over_marginal(generator):
    observed = torch.tensor([False, True, False])
    y = torch.tensor([0.4], dtype=torch.float64)
    rest = torch.randn(7, 2, generator=generator, dtype=torch.float64)
    whole = torch.stack([rest[:, 0], y.expand(7), rest[:, 1]], 1)
    marginal = Mixture(TWO.weights, TWO.means[:, 1:2], TWO.covariances[:, 1:2, 1:2])
    want = TWO.log_prob(whole) - marginal.log_prob(y[None])
    assert torch.allclose(TWO.conditional(observed, y).log_prob(rest), want)


def test_clean_channels_make_the_denoiser_conditional(generator):
    """E[x_0 | x_t, y] of the joint at times (t, 0) is the conditional's own denoiser at t."""
    sde, y = SDES["vp"](), torch.tensor([0.4], dtype=torch.float64)
    t = torch.tensor([0.5, 0.0, 0.5], dtype=torch.float64)[None, :, None, None]
    x = torch.randn(4, 3, 1, 1, generator=generator, dtype=torch.float64)
    x[:, 1] = y
    joint = TWO.denoiser(sde)(x, t)
    alone = TWO.conditional(torch.tensor([False, True, False]), y).denoiser(sde)(x[:, [0, 2]], torch.tensor(0.5))
    assert torch.allclose(joint[:, [0, 2]], alone, atol=1e-8)


def test_sample_has_the_moments():
    x = TWO.sample(200000, torch.Generator().manual_seed(1)).flatten(1)
    mean, cov = TWO.moments()
    assert torch.allclose(x.mean(0), mean, atol=0.02) and torch.allclose(torch.cov(x.T), cov, atol=0.03)


def test_gaussian_kl_against_monte_carlo():
    p, q = gaussian([0.0, 1.0], [[1.0, 0.5], [0.5, 2.0]]), gaussian([0.5, 0.0], [[1.5, -0.2], [-0.2, 1.0]])
    x = p.sample(400000, torch.Generator().manual_seed(2))
    estimate = float((p.log_prob(x) - q.log_prob(x)).mean())
    assert gaussian_kl(p.means[0], p.covariances[0], q.means[0], q.covariances[0]) == pytest.approx(estimate, abs=0.01)


def test_wrong_shapes_are_refused():
    with pytest.raises(ValueError, match="do not go with"):
        Mixture([1.0], [[0.0, 0.0]], [[[1.0]]])


def test_kl_of_gaussians_in_closed_form_and_infinite_for_a_flat_one():
    one = torch.eye(2)
    assert gaussian_kl([0, 0], one, [1, 0], one) == pytest.approx(0.5)
    assert gaussian_kl([0, 0], one, [0, 0], 4 * one) == pytest.approx(2 * (math.log(2) + 0.125 - 0.5))
    flat = torch.tensor([[1.0, 1.0], [1.0, 1.0 - 1e-16]]).double()
    assert gaussian_kl([0, 0], one, [0, 0], flat) == math.inf
    assert gaussian_kl([0, 0], one, [0, 0], torch.diag(torch.tensor([1e-16, 1.0]))) == math.inf
