"""Samplers with exact denoisers: the distribution they end in is known."""

import math

import pytest
import torch

from jointdiff.analytic import gaussian, gaussian_kl
from jointdiff.samplers import SAMPLERS, Counted, sample
from jointdiff.samplers.grids import GRIDS, karras, log_snr, uniform
from jointdiff.samplers.ode import integrate
from jointdiff.sde import SDES, VP
from jointdiff.streams import SampleNoise

COV = torch.tensor([[1.0, 0.8], [0.8, 1.0]], dtype=torch.float64)
MEAN = torch.tensor([0.5, -0.3], dtype=torch.float64)
JOINT = gaussian(MEAN, COV)


class Noise:
    """Fast noise for large batches of a toy."""

    def __init__(self, count, seed=0):
        self.count, self.generator = count, torch.Generator().manual_seed(seed)

    def __call__(self):
        return torch.randn(self.count, 2, 1, 1, generator=self.generator, dtype=torch.float64)


def fitted_kl(x):
    x = x.flatten(1)
    return gaussian_kl(MEAN, COV, x.mean(0), torch.cov(x.T))


@pytest.mark.parametrize("sde", SDES)
@pytest.mark.parametrize(
    "name,steps,bound",
    [
        ("heun", 30, 0.002),
        ("stochastic_heun", 60, 0.003),
        ("dpm_solver", 50, 0.002),
        ("adaptive", 3, 0.001),
        ("ddim", 300, 0.002),
        ("euler_maruyama", 500, 0.005),
        ("predictor_corrector", 500, 0.03),
    ],
)
def test_final_mean_and_covariance(name, steps, bound, sde):
    sde = SDES[sde]()
    sampler = SAMPLERS[name](sde)
    x = sample(JOINT.denoiser(sde), sampler, sampler.grid(sde, steps), Noise(20000))
    assert fitted_kl(x) < bound


def test_ancestral_ddim_is_exact_too():
    sampler = SAMPLERS["ddim"](VP(), eta=1.0)
    x = sample(JOINT.denoiser(VP()), sampler, sampler.grid(VP(), 300), Noise(20000))
    assert fitted_kl(x) < 0.005


def test_one_ancestral_step_is_the_closed_form_posterior(generator):
    """Given x_0, `x_s | x_t` of DDIM with eta = 1 is Gaussian with Bayes' mean and variance."""
    sde, t, s = VP(), torch.tensor(0.6, dtype=torch.float64), torch.tensor(0.4, dtype=torch.float64)
    x_0 = torch.tensor([0.7, -1.2], dtype=torch.float64).view(1, 2, 1, 1).expand(50000, 2, 1, 1)
    x_t = torch.tensor([0.1, 0.9], dtype=torch.float64).view(1, 2, 1, 1).expand(50000, 2, 1, 1)
    a_t, a_s, v_t, v_s = sde.alpha(t), sde.alpha(s), sde.sigma(t) ** 2, sde.sigma(s) ** 2
    k = a_t / a_s  # x_t = k x_s + noise of variance v
    v = v_t - k**2 * v_s
    var = 1 / (1 / v_s + k**2 / v)
    mean = var * (a_s * x_0[0] / v_s + k * x_t[0] / v)
    noise = Noise(50000)
    x_s = SAMPLERS["ddim"](sde, eta=1.0).step(lambda x, t: x_0, x_t, t, s, noise)
    assert torch.allclose(x_s.mean(0), mean, atol=0.01) and torch.allclose(x_s.var(0), var.expand(2, 1, 1), rtol=0.03)


@pytest.mark.parametrize("name,order", [("heun", 2), ("dpm_solver", 2), ("ddim", 1)])
def test_order_of_convergence(name, order):
    """Error against the ODE's exact solution on a Gaussian, from time 0.8 to 0.2, with uniform steps."""
    sde = VP()
    sampler = SAMPLERS[name](sde)
    variance = 0.25
    toy = gaussian(torch.zeros(2), variance * torch.eye(2))
    x_t = torch.ones(1, 2, 1, 1, dtype=torch.float64)
    top, low = torch.tensor(0.8, dtype=torch.float64), torch.tensor(0.2, dtype=torch.float64)
    spread = lambda u: (sde.alpha(u) ** 2 * variance + sde.sigma(u) ** 2).sqrt()
    exact = spread(low) / spread(top)
    errors = []
    for steps in (40, 80):
        sampler.start()
        x, times = x_t, torch.linspace(0.8, 0.2, steps + 1, dtype=torch.float64)
        for t, s in zip(times[:-1], times[1:]):
            x = sampler.step(toy.denoiser(sde), x, t, s, None)
        errors.append(float((x - exact).abs().max()))
    assert math.log2(errors[0] / errors[1]) == pytest.approx(order, abs=0.3)


def test_karras_grid_of_the_paper():
    """Equation 5 with sigma 80 ... 0.002, rho = 7, 18 steps, on an SDE whose ratio is its time's exponential."""
    sde = SDES["ve"](0.002, 80.0)
    ratios = sde.ratio(karras(sde, 18))
    i = torch.arange(18, dtype=torch.float64)
    want = (80 ** (1 / 7) + i / 17 * (0.002 ** (1 / 7) - 80 ** (1 / 7))) ** 7
    assert torch.allclose(ratios, want)
    assert uniform(sde, 5)[0] == 1 and uniform(sde, 5).diff().allclose(torch.tensor(-0.24975, dtype=torch.float64))
    with pytest.raises(ValueError, match="0 steps"):
        karras(sde, 0)


def test_other_grids():
    for name, grid in GRIDS.items():
        times = grid(VP(), 9)
        assert times[0] == 1 and (times.diff() < 0).all() and times[-1] > 0, name
        with pytest.raises(ValueError, match="0 steps"):
            grid(VP(), 0)
        assert torch.allclose(VP().ratio(grid(VP(), 9, 0.3)[-1:]), torch.tensor([0.3], dtype=torch.float64)), name
    logs = VP().ratio(log_snr(VP(), 9)).log()
    assert torch.allclose(logs.diff(), logs.diff()[:1], rtol=1e-6)


@pytest.mark.parametrize(
    "name,evaluations",
    {
        "ddim": 7,
        "dpm_solver": 7,
        "heun": 13,
        "stochastic_heun": 13,
        "euler_maruyama": 7,
        "predictor_corrector": 13,
    }.items(),
)
def test_evaluations_of_seven_times(name, evaluations):
    sampler, counted = SAMPLERS[name](VP()), Counted(JOINT.denoiser(VP()))
    sample(counted, sampler, sampler.grid(VP(), 7), Noise(3))
    assert counted.rows == 3 * evaluations


def test_channels_may_have_times_of_their_own():
    """A step of every sampler from times (t, u) to (s, u) moves the first channel as a step from t to s does."""
    joint = gaussian(MEAN, torch.eye(2))  # independent, so the second channel's time does not matter to the first
    t, s, u = (torch.tensor(v, dtype=torch.float64) for v in (0.6, 0.5, 0.3))
    for name, cls in SAMPLERS.items():
        sampler = cls(VP())
        x = torch.randn(4, 2, 1, 1, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
        own = [torch.stack([v, u]).view(1, 2, 1, 1) for v in (t, s)]
        sampler.start()
        alone = sampler.step(joint.denoiser(VP()), x, t, s, Noise(4))
        sampler.start()
        apart = sampler.step(joint.denoiser(VP()), x, *own, Noise(4))
        assert torch.allclose(alone[:, 0], apart[:, 0], atol=2e-3 if name == "adaptive" else 1e-10), name


def test_the_adaptive_solver_keeps_its_tolerance_row_by_row():
    """dx/du = -k x: two rows of very different speed, alone and together."""
    k = torch.tensor([[0.1], [40.0]], dtype=torch.float64)
    x = torch.ones(2, 1, dtype=torch.float64)
    for tolerance in (1e-3, 1e-6):
        both = integrate(lambda x, u: -k * x, x, tolerance, tolerance)
        assert (both - (-k).exp()).abs().max() < 5 * tolerance
        alone = integrate(lambda x, u: -k[1:] * x, x[1:], tolerance, tolerance)
        assert torch.equal(both[1:], alone)
    fast = 200.0  # an integral: what a first step too long gets wrong stays wrong
    found = integrate(lambda x, u: fast * (fast * u + 1)[:, None].cos(), torch.zeros(1, 1).double(), 1e-5, 1e-5)
    assert float(found) == pytest.approx(math.sin(fast + 1) - math.sin(1), abs=1e-3)
    with pytest.raises(RuntimeError, match="did not reach its tolerance"):
        integrate(lambda x, u: -1e4 * k * x, x, 1e-9, 1e-9, most=20)


def test_churn_adds_the_noise_that_it_says():
    """With a denoiser that returns x / alpha (nothing is taken away), a step leaves x_t / alpha plus the added noise."""
    sde, t, s = VP(), torch.tensor(0.5, dtype=torch.float64), torch.tensor(0.45, dtype=torch.float64)
    sampler = SAMPLERS["stochastic_heun"](sde, churn=0.3)
    x_s = sampler.step(lambda x, u: x / sde.alpha(u), torch.zeros(40000, 2, 1, 1).double(), t, s, Noise(40000))
    r = float(sde.ratio(t))
    assert float(x_s.std() / sde.alpha(s)) == pytest.approx(r * math.sqrt(1.3**2 - 1), rel=0.02)
    elsewhere = SAMPLERS["stochastic_heun"](sde, churn=0.3, between=(1e3, 1e4))
    x_t, denoise = torch.ones(3, 2, 1, 1).double(), JOINT.denoiser(sde)
    plain = SAMPLERS["heun"](sde).step(denoise, x_t, t, s, Noise(3))
    assert torch.allclose(elsewhere.step(denoise, x_t, t, s, Noise(3)), plain, atol=1e-9)
    with pytest.raises(ValueError, match="churn = 0.5"):
        SAMPLERS["stochastic_heun"](sde, churn=0.5)


def test_a_multistep_method_starts_anew():
    sampler, denoise = SAMPLERS["dpm_solver"](VP()), JOINT.denoiser(VP())
    times = sampler.grid(VP(), 8)
    first = sample(denoise, sampler, times, Noise(3))
    assert torch.equal(first, sample(denoise, sampler, times, Noise(3)))


@pytest.mark.parametrize("name", SAMPLERS)
def test_a_sample_is_the_same_in_any_batch(name):
    sde = VP()
    sampler = SAMPLERS[name](sde)
    run = lambda batch, first: sample(
        JOINT.denoiser(sde), sampler, sampler.grid(sde, 9), SampleNoise(7, batch, (2, 1, 1), first)
    )
    alone, together = run(1, 3), run(8, 0)
    assert torch.equal(alone[0], together[3]) and not torch.equal(together[3], together[4])


def test_eta_is_checked():
    with pytest.raises(ValueError, match="eta = 2"):
        SAMPLERS["ddim"](VP(), eta=2)
