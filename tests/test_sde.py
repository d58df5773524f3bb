import math

import pytest
import torch

from jointdiff.sde import SDES, VE, VP, SubVP

T = torch.linspace(0, 1, 101, dtype=torch.float64)


def test_vp_follows_its_integral_of_beta():
    # Song et al. 2021, eq. 33: alpha = exp(-1/2 int_0^t beta)
    for t in (0.0, 0.3, 1.0):
        beta = torch.linspace(0, t, 100001, dtype=torch.float64) * (20 - 0.1) + 0.1
        integral = float(torch.trapezoid(beta, dx=t / 100000))
        assert float(VP().alpha(torch.tensor(t, dtype=torch.float64))) == pytest.approx(
            math.exp(-integral / 2), rel=1e-9
        )
    assert torch.allclose(VP().alpha(T) ** 2 + VP().sigma(T) ** 2, torch.ones_like(T), atol=1e-12)


def test_subvp_variance_is_the_square_of_vps():
    assert torch.allclose(SubVP().sigma(T), VP().sigma(T) ** 2, atol=1e-12)
    assert torch.allclose(SubVP().alpha(T), VP().alpha(T))


def test_ve_is_geometric():
    sigma = VE(0.01, 50.0).sigma(T)
    assert sigma[0] == pytest.approx(0.01) and sigma[-1] == pytest.approx(50.0)
    assert torch.allclose(sigma[1:] / sigma[:-1], (sigma[1] / sigma[0]).expand(100))


@pytest.mark.parametrize("name", SDES)
def test_time_inverts_ratio(name):
    sde = SDES[name]()
    t = torch.linspace(0.001, 1, 1000, dtype=torch.float64)
    assert torch.allclose(sde.time(sde.ratio(t)), t, atol=1e-9)
    assert (sde.ratio(t).diff() > 0).all()
    assert float(sde.time(torch.tensor(1e9))) == 1.0 and float(sde.time(torch.tensor(0.0))) == 0.0


@pytest.mark.parametrize("name", SDES)
def test_drift_and_diffusion_carry_mean_and_variance(name):
    """Integrating dm = f m dt and dv = (2 f v + g^2) dt from 0 gives alpha and sigma^2 again."""
    sde, steps = SDES[name](), 20000
    t = torch.linspace(0, 1, steps + 1, dtype=torch.float64)
    middle = (t[1:] + t[:-1]) / 2
    f, g2 = sde.drift_diffusion(middle)
    m, v = torch.ones((), dtype=torch.float64), sde.sigma(t[0]) ** 2
    for i in range(steps):
        dt = 1 / steps
        m = m * torch.exp(f[i] * dt)
        v = v * torch.exp(2 * f[i] * dt) + g2[i] * dt
    assert float(m) == pytest.approx(float(sde.alpha(t[-1])), rel=1e-4)
    assert float(v) == pytest.approx(float(sde.sigma(t[-1]) ** 2), rel=1e-3)


@pytest.mark.parametrize(
    "name,f,g2",
    [
        ("vp", lambda b, t: -b / 2, lambda b, t: b),
        ("subvp", lambda b, t: -b / 2, lambda b, t: b * (1 - torch.exp(-2 * (0.1 * t + 19.9 * t**2 / 2)))),
    ],
)
def test_drift_and_diffusion_of_the_paper(name, f, g2):
    """Song et al. 2021, equations 11 and 28."""
    t = torch.linspace(0.01, 1, 50, dtype=torch.float64)
    b = 0.1 + 19.9 * t
    got = SDES[name]().drift_diffusion(t)
    assert torch.allclose(got[0], f(b, t), rtol=1e-8) and torch.allclose(got[1], g2(b, t), rtol=1e-6)
