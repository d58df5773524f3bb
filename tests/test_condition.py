"""Conditions with exact denoisers against exact conditionals, for every subset of three modalities."""

import itertools
import math

import pytest
import torch

from jointdiff.analytic import Mixture, gaussian, gaussian_kl
from jointdiff.condition import (
    CONDITIONS,
    Led,
    free_guidance,
    joint_guidance,
    leave_out,
    reading_guidance,
    weaker_guidance,
    without_noise,
)
from jointdiff.condition.guidance import FLOOR
from jointdiff.condition.tweedie import solve
from jointdiff.samplers import SAMPLERS, sample
from jointdiff.sde import SDES, VP
from jointdiff.streams import SampleNoise

COV = torch.tensor([[1.0, 0.7, 0.4], [0.7, 1.0, 0.5], [0.4, 0.5, 1.0]], dtype=torch.float64)
JOINT = gaussian(torch.tensor([0.3, -0.2, 0.1]), COV)
Y = torch.tensor([1.0, -0.5, 0.8], dtype=torch.float64)
SUBSETS = [s for k in (1, 2) for s in itertools.combinations(range(3), k)]


class Noise:
    def __init__(self, count, n):
        self.shape, self.generator = (count, n, 1, 1), torch.Generator().manual_seed(0)

    def __call__(self):
        return torch.randn(self.shape, generator=self.generator, dtype=torch.float64)


def draw(joint, y, observed, condition, sampler="heun", steps=30, count=20000, sde=VP(), options=None, **more):
    n = len(y)
    mask = torch.zeros(1, n, 1, 1, dtype=torch.bool)
    mask[:, list(observed)] = True
    y = y.view(1, n, 1, 1).expand(count, n, 1, 1)
    method = SAMPLERS[sampler](sde, **(options or {}))
    how = CONDITIONS[condition](sde, y, mask, **more)
    x = sample(joint.denoiser(sde), method, method.grid(sde, steps), Noise(count, n), how)
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
    [
        ("heun", 30, 0.003),
        ("stochastic_heun", 60, 0.005),
        ("dpm_solver", 50, 0.003),
        ("adaptive", 3, 0.003),
        ("ddim", 300, 0.003),
        ("euler_maruyama", 500, 0.01),
        ("predictor_corrector", 500, 0.03),
    ],
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
    times = method.grid(sde, 400)
    x = sample(joint.denoiser(sde), method, times, Noise(count, 2), CONDITIONS["replace"](sde, full, mask)).flatten(1)
    slope = float((x[:, 0] * x[:, 1]).mean() / (x[:, 0] ** 2).mean())
    var = float((x[:, 1] - slope * x[:, 0]).var())
    want = replacement_by_recursion(rho, sde, times)
    assert (slope, var) == pytest.approx(want, abs=0.03)
    assert mean_kl(rho, slope, var) > biased  # where the clean condition stays below 0.003


@pytest.mark.parametrize("t", [0.05, 0.3, 0.9])
def test_replaced_channels_are_at_the_samplers_time(t):
    sde, count, t = VP(), 20000, torch.tensor(t, dtype=torch.float64)
    mask, x = torch.tensor([True, False]).view(1, 2, 1, 1), torch.full((count, 2, 1, 1), 7.0, dtype=torch.float64)
    how = CONDITIONS["replace"](sde, torch.full_like(x, 1.5), mask)
    got = how.noised(x, t, Noise(count, 2)).flatten(1)
    alpha, sigma = float(sde.alpha(t)), float(sde.sigma(t))
    assert float(got[:, 0].mean()) == pytest.approx(1.5 * alpha, abs=4 * sigma / count**0.5)
    assert float(got[:, 0].std()) == pytest.approx(sigma, rel=0.03) and (got[:, 1] == 7).all()


def test_corrections_see_a_fresh_observation_at_their_time():
    sde, count = VP(), 20000
    t, s = torch.tensor([0.6, 0.3], dtype=torch.float64)
    mask, x = torch.tensor([True, False]).view(1, 2, 1, 1), torch.zeros(count, 2, 1, 1, dtype=torch.float64)
    seen = []

    def denoise(x, t):  # knows nothing of y
        seen.append(x)
        return torch.zeros_like(x)

    method = SAMPLERS["ddim"](sde, eta=1.0)
    how = CONDITIONS["langevin"](sde, torch.full_like(x, 1.5), mask, corrections=2)
    _, step = how.wrap(method, denoise)
    step(denoise, x, t, s, Noise(count, 2))
    assert len(seen) == 3
    for got, u in zip(seen, (t, s, s)):
        assert float(got[:, 0].mean()) == pytest.approx(1.5 * float(sde.alpha(u)), abs=0.03)
        assert float(got[:, 0].std()) == pytest.approx(float(sde.sigma(u)), rel=0.03)


@pytest.mark.parametrize("sde", SDES)
def test_going_back_in_time_is_the_forward_process(sde):
    sde, count = SDES[sde](), 20000
    s, t = torch.tensor([0.2, 0.35], dtype=torch.float64)
    noise = Noise(count, 1)
    x_s = 1.5 * sde.alpha(s) + sde.sigma(s) * noise()
    how = CONDITIONS["repaint"](sde, torch.zeros_like(x_s), torch.zeros(1, 1, 1, 1, dtype=torch.bool))
    x_t = how.back(x_s, s, t, noise)
    assert float(x_t.std()) == pytest.approx(float(sde.sigma(t)), rel=0.03)
    assert float(x_t.mean()) == pytest.approx(1.5 * float(sde.alpha(t)), abs=4 * float(sde.sigma(t)) / count**0.5)


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
        method.grid(sde, 30),
        noise,
        CONDITIONS["clean"](sde, Y.view(1, 3, 1, 1).expand(count, 3, 1, 1), mask),
    )
    pair = gaussian(JOINT.means[0][:2], COV[:2, :2]).conditional(torch.tensor([True, False]), Y[:1])
    x = x[:, 1].flatten()
    assert gaussian_kl(pair.means[0], pair.covariances[0], x.mean()[None], x.var()[None, None]) < 0.003


ANCESTRAL = {"eta": 1.0}
PAIR = lambda rho: gaussian(torch.zeros(2), torch.tensor([[1.0, rho], [rho, 1.0]], dtype=torch.float64))
ONE = torch.tensor([1.0, 0.0], dtype=torch.float64)


@pytest.mark.parametrize("observed", SUBSETS, ids=str)
def test_tweedie_is_exact_for_every_subset_of_a_gaussian(observed):
    assert kl(draw(JOINT, Y, observed, "tweedie"), observed) < 0.003


@pytest.mark.parametrize("observed", SUBSETS, ids=str)
def test_corrected_replacement_is_nearly_exact_for_every_subset(observed):
    x = draw(JOINT, Y, observed, "langevin", "ddim", 300, 5000, options=ANCESTRAL)
    assert kl(x, observed) < 0.03
    x = draw(JOINT, Y, observed, "repaint", "ddim", 60, 5000, options=ANCESTRAL, jump=2)
    assert kl(x, observed) < 0.03


@pytest.mark.parametrize("condition,low,high", [("guide", 0.002, 0.03), ("pigdm", 0.003, 0.06), ("replace", 0.1, 1.0)])
def test_the_biased_have_their_bias(condition, low, high):
    """On two channels of correlation .99; the exact ones stay below .003."""
    x = draw(PAIR(0.99), ONE, (0,), condition, "ddim", 300, options=ANCESTRAL)
    assert low < kl(x, (0,), PAIR(0.99), ONE) < high


def estimates(condition, t, **more):
    """x_0_hat of a condition at `t`, and what Bayes' rule says it is, for its guess of the covariance of y given x_t."""
    sde = VP()
    mask = torch.tensor([True, False, True]).view(1, 3, 1, 1)
    x_t = torch.tensor([0.4, -1.1, 0.2], dtype=torch.float64).view(1, 3, 1, 1)
    how = CONDITIONS[condition](sde, Y.view(1, 3, 1, 1), mask, **more)
    denoise, _ = how.wrap(SAMPLERS["ddim"](sde, eta=1.0), JOINT.denoiser(sde))
    t = torch.tensor(t, dtype=torch.float64)
    alpha, var = float(sde.alpha(t)), float(sde.sigma(t) ** 2)
    total = alpha**2 * COV + var * torch.eye(3)
    mean = JOINT.means[0] + alpha * COV @ torch.linalg.solve(total, x_t.flatten() - alpha * JOINT.means[0])
    cov = COV - alpha**2 * COV @ torch.linalg.solve(total, COV)
    return denoise(x_t, t).flatten(), mean, cov, mask.flatten(), alpha, var


@pytest.mark.parametrize("t", [0.2, 0.5, 0.9])
def test_guided_estimates_are_bayes_rule_for_their_guess(t):
    for condition, guess in {
        "guide": lambda alpha, var: var / alpha**2 / 2.0,
        "pigdm": lambda alpha, var: 4 * var / (4 * alpha**2 + var),
        "tweedie": None,
    }.items():
        more = {"pigdm": {"data_std": 2.0}, "tweedie": {"tolerance": 1e-9}}.get(condition, {})
        got, mean, cov, seen, alpha, var = estimates(condition, t, **more)
        c = cov[seen][:, seen] if guess is None else guess(alpha, var) * torch.eye(2, dtype=torch.float64)
        want = mean + cov[:, seen] @ torch.linalg.solve(c, Y[seen] - mean[seen])
        want[seen] = Y[seen]
        assert torch.allclose(got, want, atol=1e-6), condition


def test_conjugate_gradients_row_by_row():
    g = torch.Generator().manual_seed(0)
    a = torch.randn(3, 5, 5, generator=g, dtype=torch.float64)
    a = a @ a.transpose(1, 2) + 0.5 * torch.eye(5)
    b = torch.randn(3, 5, generator=g, dtype=torch.float64)
    apply = lambda v, a=a: (a @ v[..., None])[..., 0]
    assert torch.allclose(solve(apply, b, 6, 1e-12), torch.linalg.solve(a, b), atol=1e-8)
    assert torch.equal(solve(apply, b, 3, 1e-9)[:1], solve(lambda v: apply(v, a[:1]), b[:1], 3, 1e-9))
    assert torch.equal(solve(lambda v: -v, b, 3, 1e-9), torch.zeros_like(b))  # indefinite: no step is better


@pytest.mark.parametrize("rho", [0.5, 0.9])
def test_twisted_is_exact_and_knows_the_evidence(rho):
    count, sde, joint = 2000, VP(), PAIR(rho)
    mask = torch.tensor([True, False]).view(1, 2, 1, 1)
    how = CONDITIONS["twisted"](sde, ONE.view(1, 2, 1, 1), mask, particles=16)
    method = SAMPLERS["ddim"](sde, eta=1.0)
    x = sample(joint.denoiser(sde), method, method.grid(sde, 200), Noise(count, 2), how).flatten(1)
    assert kl(x, (0,), joint, ONE) < 0.01
    exact = float(gaussian([0.0], [[1.0]]).log_prob(torch.ones(1, 1, 1, 1)))
    ratio = (how.log_evidence - exact).exp()  # unbiased: mean 1
    assert how.log_evidence.shape == (count,) and how.ess.min() >= 1 and how.ess.max() <= 16 + 1e-9
    assert abs(float(ratio.mean()) - 1) < 3 * float(ratio.std()) / count**0.5 + 0.01
    assert ratio.std() < 0.5  # 1.04 with particles that are not guided, whose weights make them right as well


@pytest.mark.slow
def test_particles_repair_what_one_guided_path_gets_wrong():
    """Two modes: PiGDM alone gives them the wrong weights, 16 particles do not."""
    joint = Mixture([0.5, 0.5], [[-1.0, -1.0], [1.0, 1.0]], [0.1 * torch.eye(2), 0.1 * torch.eye(2)])
    y = torch.tensor([0.15, 0.0], dtype=torch.float64)
    exact = float(joint.conditional(torch.tensor([True, False]), y[:1]).weights[1])
    share = lambda *a, **k: float((draw(joint, y, (0,), *a, options=ANCESTRAL, **k)[:, 1] > 0).double().mean())
    alone = share("twisted", "ddim", 100, 4000, particles=1)
    many = share("twisted", "ddim", 100, 4000, particles=32, resample_below=0.9)
    assert abs(alone - exact) > 0.06 and abs(many - exact) < 0.035


def test_twisted_needs_a_gaussian_step():
    for sampler in ("heun", "dpm_solver", "adaptive"):
        with pytest.raises(ValueError, match="choose the sampler ddim with eta > 0"):
            draw(JOINT, Y, (0,), "twisted", sampler, 5, 2)
    with pytest.raises(ValueError, match="choose the sampler"):
        draw(JOINT, Y, (0,), "twisted", "ddim", 5, 2)


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("condition", CONDITIONS)
def test_a_sample_is_the_same_in_any_batch_and_what_is_observed_stays(condition, sampler):
    if condition == "twisted" and sampler not in ("ddim", "euler_maruyama"):
        pytest.skip("has no transition density; see the test above")
    sde, options = VP(), ANCESTRAL if sampler == "ddim" else {}
    mask = torch.tensor([True, False, False]).view(1, 3, 1, 1)
    more = {"repaint": {"times": 2}, "twisted": {"particles": 3}}.get(condition, {})

    def run(batch, first):
        y = Y.float().view(1, 3, 1, 1).expand(batch, 3, 1, 1)
        how, method = CONDITIONS[condition](sde, y, mask, **more), SAMPLERS[sampler](sde, **options)
        noise = SampleNoise(7, batch, (3, 1, 1), first)
        return sample(JOINT.denoiser(sde), method, method.grid(sde, 6), noise, how)

    alone, together = run(1, 3), run(8, 0)
    assert torch.allclose(alone[0], together[3], atol=1e-5) and not torch.equal(together[3], together[4])
    assert torch.equal(together[:, :1], Y[:1].float().view(1, 1, 1, 1).expand(8, 1, 1, 1))


@pytest.mark.parametrize(
    "sampler,steps,options",
    [
        ("heun", 30, {}),
        ("dpm_solver", 60, {}),
        ("adaptive", 3, {}),
        ("ddim", 300, {"eta": 1.0}),
        ("euler_maruyama", 500, {}),
        ("predictor_corrector", 500, {"snr": 0.05}),
    ],
)
def test_a_noisy_observation_enters_at_its_time(sampler, steps, options):
    """p(x_1, x_2 | y_0) with y_0 = x_0 + 0.8 z, against Gaussian conditioning."""
    mean, cov, y, mask, level = given_with_noise(20000)
    sde, noise = VP(), Noise(20000, 3)
    method = SAMPLERS[sampler](sde, **options)
    x = sample(
        JOINT.denoiser(sde), method, method.grid(sde, steps), noise, CONDITIONS["clean"](sde, y, mask, level)
    ).flatten(1)
    assert gaussian_kl(mean[1:], cov[1:, 1:], x[:, 1:].mean(0), torch.cov(x[:, 1:].T)) < 0.005
    assert torch.equal(x[:, 0], y[:, 0, 0, 0])


def given_with_noise(count, level=0.8):
    """Mean and covariance of p(x | y_0), and y_0 with its mask and level."""
    noisy = COV.clone()
    noisy[0, 0] += level**2
    gain = COV[:, :1] / noisy[0, 0]
    mean = JOINT.means[0] + (gain * (Y[0] - JOINT.means[0][0])).flatten()
    y, mask = Y.view(1, 3, 1, 1).expand(count, 3, 1, 1), torch.tensor([True, False, False]).view(1, 3, 1, 1)
    return mean, COV - gain @ COV[:1], y, mask, level * mask


def test_a_noisy_observation_is_drawn_without_its_noise_first():
    """p(x | y_0) in two parts: x_0 given y_0, and the rest given x_0."""
    mean, cov, y, mask, level = given_with_noise(20000)
    sde, noise = VP(), Noise(20000, 3)
    method, denoise = SAMPLERS["heun"](sde), JOINT.denoiser(sde)
    drawn = without_noise(leave_out(denoise, sde, ~mask, noise()), sde, y, level, noise, 200)
    assert torch.equal(drawn[:, 1:], y[:, 1:])
    x = sample(denoise, method, method.grid(sde, 30), noise, CONDITIONS["clean"](sde, drawn, mask)).flatten(1)
    assert gaussian_kl(mean, cov, x.mean(0), torch.cov(x.T)) < 0.005


def test_noise_is_drawn_away_beside_what_is_clean():
    """p(x_0, x_1 | y_0, y_1, x_2) with noise of a level each on two of three, sample by sample."""
    sde, count, levels = VP(), 40000, torch.tensor([0.5, 1.2, 0.0], dtype=torch.float64)
    precision = torch.linalg.inv(COV) + torch.diag(torch.where(levels > 0, levels, torch.inf) ** -2)
    cov = torch.linalg.inv(precision[:2, :2])
    pull = torch.linalg.inv(COV) @ JOINT.means[0] + torch.where(levels > 0, Y / levels**2, 0.0)
    mean = cov @ (pull[:2] - precision[:2, 2] * Y[2])
    y, noise = Y.view(1, 3, 1, 1).expand(count, 3, 1, 1), Noise(count, 3)
    mixed = levels.view(1, 3, 1, 1) * (torch.arange(count) % 2).view(-1, 1, 1, 1)  # every other row is clean
    x = without_noise(JOINT.denoiser(sde), sde, y, mixed, noise, 200).flatten(1)
    assert torch.equal(x[::2], y[::2].flatten(1)) and torch.equal(x[:, 2], y[:, 2, 0, 0])
    assert gaussian_kl(mean, cov, x[1::2, :2].mean(0), torch.cov(x[1::2, :2].T)) < 0.005


def test_free_guidance_is_the_stated_combination():
    sde, eps = VP(), torch.full((2, 3, 1, 1), 0.3, dtype=torch.float64)
    mask = torch.tensor([True, False, False]).view(1, 3, 1, 1)
    x, t = torch.randn(2, 3, 1, 1, dtype=torch.float64), torch.tensor([0.0, 0.5, 0.5]).view(1, 3, 1, 1)
    denoise = JOINT.denoiser(sde)
    with_, without = denoise(x, t), leave_out(denoise, sde, mask, eps)(x, t)
    guided = free_guidance(denoise, sde, mask, eps, 1.5)(x, t)
    assert torch.allclose(guided[:, 1:], (with_ + 1.5 * (with_ - without))[:, 1:])
    assert torch.equal(free_guidance(denoise, sde, mask, eps, 1.5, (0.6, 1.0))(x, t), with_)
    marginal = gaussian(JOINT.means[0][1:], COV[1:, 1:])
    assert torch.allclose(without[:, 1:], marginal.denoiser(sde)(x[:, 1:], t[:, 1:]), atol=0.02)


def test_joint_guidance_moves_every_modality_away_from_itself_alone():
    sde, eps = VP(), torch.full((2, 3, 1, 1), 0.3, dtype=torch.float64)
    masks = [torch.arange(3).view(1, 3, 1, 1) == i for i in range(3)]
    x, t = torch.randn(2, 3, 1, 1, dtype=torch.float64), torch.tensor(0.5, dtype=torch.float64)
    denoise = JOINT.denoiser(sde)
    guided = joint_guidance(denoise, sde, masks, eps, 0.7)(x, t)
    for i in range(3):
        alone = gaussian(JOINT.means[0][i : i + 1], COV[i : i + 1, i : i + 1]).denoiser(sde)(x[:, i : i + 1], t)
        want = denoise(x, t)[:, i : i + 1]
        assert torch.allclose(guided[:, i : i + 1], want + 0.7 * (want - alone), atol=0.02)
    assert torch.equal(joint_guidance(denoise, sde, masks, eps, 0.7, (0.6, 1.0))(x, t), denoise(x, t))


def test_guidance_by_a_weaker_model_is_the_stated_combination():
    """Exact for two Gaussians: and where both make the same error, the wider spread, it is taken off."""
    sde = SDES["vp"]()
    strong = gaussian(torch.zeros(2), 1.2 * torch.eye(2).double()).denoiser(sde)
    weak = gaussian(torch.zeros(2), 1.8 * torch.eye(2).double()).denoiser(sde)
    x, t = torch.randn(50, 2, 1, 1, generator=torch.Generator().manual_seed(0)), torch.tensor(0.4, dtype=torch.float64)
    guided = weaker_guidance(strong, weak, 0.7)(x, t)
    assert torch.allclose(guided, 1.7 * strong(x, t) - 0.7 * weak(x, t), atol=1e-6)
    assert torch.equal(weaker_guidance(strong, weak, 0.7, (0.5, 1.0))(x, t), strong(x, t))
    sampler = SAMPLERS["dpm_solver"](sde)
    noise = lambda: torch.randn(4000, 2, 1, 1)
    spread = [
        float(sample(d, sampler, sampler.grid(sde, 30), noise).var())
        for d in (strong, weaker_guidance(strong, weak, 0.5))
    ]
    assert spread[0] == pytest.approx(1.2, rel=0.06) and spread[1] < spread[0] - 0.08


def test_guidance_by_reading_is_the_gradient_of_what_is_read():
    """Against differences of log |y - E[y | x_t of one alone]|^2, the expectation a Gaussian's own; nothing else moves."""
    sde, eps = VP(), torch.full((2, 3, 1, 1), 0.3, dtype=torch.float64)
    given, *drawn = [torch.arange(3).view(1, 3, 1, 1) == i for i in range(3)]
    x, t = (
        torch.randn(2, 3, 1, 1, dtype=torch.float64),
        torch.tensor([0.0, 0.5, 0.5], dtype=torch.float64).view(1, 3, 1, 1),
    )
    denoise, led = JOINT.denoiser(sde), [Led(drawn[0], 0.7), Led(drawn[1], 0.4)]
    guided = reading_guidance(denoise, denoise, sde, [given], led, eps)(x, t)
    assert torch.equal(guided[:, 0], denoise(x, t)[:, 0])
    for i, (mask, weight, *_) in enumerate(led, 1):
        reads = leave_out(denoise, sde, ~mask, eps)
        log = lambda x: -((x[:, 0] - reads(x, t)[:, 0]).square() + FLOOR).log()
        step = 1e-5 * mask
        slope = (log(x + step) - log(x - step)) / 2e-5
        want = denoise(x, t)[:, i] + weight * sde.sigma(t[:, i]) ** 2 / sde.alpha(t[:, i]) * slope
        assert torch.allclose(guided[:, i], want, rtol=1e-5)
    assert torch.equal(reading_guidance(denoise, denoise, sde, [given], led, eps, (0.6, 1.0))(x, t), denoise(x, t))
    cut = reading_guidance(denoise, denoise, sde, [given], [each._replace(limit=0.1) for each in led], eps)(x, t)
    assert torch.equal(cut[:, 0], guided[:, 0]) and torch.equal(cut[:, 1:], guided[:, 1:].clamp(-0.1, 0.1))
    assert (guided[:, 1:].abs() > 0.1).any()


def test_reading_moved_views_moves_what_all_of_them_show():
    """A reader that sees a brightness everywhere, ten times as much in one pixel: over the steps that pixel has no part more."""
    sde, shape = VP(), (1, 2, 12, 12)
    given, drawn = (torch.arange(2).view(1, 2, 1, 1) == i for i in range(2))
    x, t = torch.zeros(shape, dtype=torch.float64), torch.tensor([0.0, 0.5], dtype=torch.float64).view(1, 2, 1, 1)
    x[:, 0] = 1.0
    weight = torch.ones(12, 12, dtype=torch.float64)
    weight[6, 3] = 10.0
    read = lambda x, t: torch.cat([(x[:, 1:] * weight).mean((2, 3), keepdim=True).expand(1, 1, 12, 12), x[:, 1:]], 1)
    moved = {}
    for shift, mirror in ((0, False), (3, False), (3, True)):
        guided = reading_guidance(read, read, sde, [given], [Led(drawn, 1.0, shift, mirror)], torch.zeros_like(x))
        moved[shift, mirror] = sum(guided(x, t)[0, 1] for _ in range(98))
        assert torch.equal(guided(x, t)[0, 0], read(x, t)[0, 0])
    assert moved[0, False].max() / moved[0, False].mean() > 9
    for how in ((3, False), (3, True)):
        assert moved[how].max() / moved[how].mean() < 1.6
        assert float(moved[how].sum()) == pytest.approx(float(moved[0, False].sum()), rel=1e-6)
    lit = lambda how: {tuple(p) for p in (moved[how] > 1.01 * moved[how].min()).nonzero().tolist()}
    places = {(i, j) for i in range(3, 10) for j in range(7)}  # by up to 3 pixels each way
    mirrored = {(i, 11 - j) for i, j in places}
    assert lit((3, False)) <= places and len(lit((3, False))) > 44
    assert lit((3, True)) <= places | mirrored and min(len(lit((3, True)) & p) for p in (places, mirrored)) > 30


@pytest.mark.parametrize("sampler", ["ddim", "dpm_solver"])
def test_a_network_that_reads_what_it_cannot_draw_is_led_by_reading(sampler):
    """Two classes; what draws does not hear the class and hits it half of the time, what reads is exact."""
    joint = Mixture([0.5, 0.5], [[-2.0, -2.0], [2.0, 2.0]], [0.05 * torch.eye(2)] * 2)
    sde, count = VP(), 2000
    exact, marginal = joint.denoiser(sde), Mixture([0.5, 0.5], [[-2.0], [2.0]], [[[0.05]]] * 2).denoiser(sde)
    deaf = lambda x, t: torch.cat([x[:, :1], marginal(x[:, 1:], t.expand(1, 2, 1, 1)[:, 1:])], 1)
    given, drawn = (torch.arange(2).view(1, 2, 1, 1) == i for i in range(2))
    y = torch.full((count, 2, 1, 1), 2.0, dtype=torch.float64)
    method, eps = SAMPLERS[sampler](sde), Noise(count, 2)()
    hits = {}
    for weight in (0.0, 1.0, 4.0):
        denoise = reading_guidance(deaf, exact, sde, [given], [Led(drawn, weight)], eps) if weight else deaf
        x = sample(denoise, method, method.grid(sde, 40), Noise(count, 2), CONDITIONS["clean"](sde, y, given))
        hits[weight] = float((x[:, 1] > 0).double().mean())
    assert hits[0.0] == pytest.approx(0.5, abs=0.04) and hits[1.0] > 0.8 and hits[4.0] > 0.95
