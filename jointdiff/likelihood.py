"""Densities that a denoiser implies: of data, of data given data, and of the noise in an observation.

With y = x_t / alpha, r = sigma / alpha and n dimensions, and J the Jacobian of x_0_hat in y:

* The probability-flow ODE `dy/dlog r = y - x_0_hat` carries the data's density to a Gaussian's, so
  `log p(x_0) = log N(y_1) + integral (n - tr J) dlog r`. Song et al. 2021, arXiv:2011.13456, appendix D.2.
* Densities of the same x under several conditions differ by what the estimate then costs:
  `log p(x_0) = const - integral E |x_0 - x_0_hat|^2 / r^2 dlog r`. Kingma et al. 2021, arXiv:2107.00630, equation 13;
  for classification, Li et al. 2023, arXiv:2303.16203.
* The density p_r(y) of data with noise of ratio r, as a function of r for one y, obeys the heat equation, so
  `dlog p_r(y) / dlog r = |y - x_0_hat|^2 / r^2 - (n - tr J)`: the likelihood of a noise level, up to a constant.

tr J is exact, one vector-Jacobian product a dimension, or Hutchinson's estimate with random signs (1990). All densities
are in nats, for channels in [-1, 1]; `bits` turns them into bits a dimension of 8-bit data.
"""

import math

import torch

from .condition.gradient import with_pullback
from .samplers.ode import integrate
from .sde import SDE
from .types import Denoise, Noise


def estimate_and_trace(denoise: Denoise, sde: SDE, y, mask, t, probes: list | None):
    """x_0_hat at `x_t = alpha y` and tr J over the channels of `mask`, `(B,)`; exact when `probes` is None."""
    alpha = sde.alpha(t).to(y)
    x_0, pullback = with_pullback(denoise, alpha * y, t)
    if probes is None:
        flat, trace = mask.expand(y[:1].shape).flatten(), 0.0
        for i in flat.nonzero()[:, 0].tolist():
            v = torch.zeros_like(y).flatten(1)
            v[:, i] = 1
            trace = trace + pullback(v.view_as(y)).flatten(1)[:, i]
    else:
        signs = [torch.where(mask, p, 0.0) for p in probes]
        trace = sum((v * pullback(v)).flatten(1).sum(1) for v in signs) / len(signs)
    return x_0, trace * alpha.flatten(1)[:, 0]


def signs(noise: Noise, count: int) -> list[torch.Tensor]:
    """`count` probes of random signs from a source of normal noise."""
    return [torch.where(noise() < 0, -1.0, 1.0) for _ in range(count)]


@torch.no_grad()
def log_prob(
    denoise: Denoise,
    sde: SDE,
    x: torch.Tensor,
    mask: torch.Tensor,
    noise: Noise | None = None,
    probes: int = 1,
    rtol: float = 1e-3,
    atol: float = 1e-3,
    lowest: float = 0.002,
) -> torch.Tensor:
    """log p of the channels of x `(B, C, H, W)` where `mask` `(1, C, 1, 1)` is True, in nats, `(B,)`.

    Args:
        denoise: it says what holds on the other channels, such as the denoiser that a condition or `leave_out` made.
        noise: source of the probes of Hutchinson's estimate; exact trace when None.
        lowest: the ratio at which the ODE starts; detail below it does not count.
    """
    many = int(mask.expand(x[:1].shape).sum())
    probe = signs(noise, probes) if noise else None
    low = max(lowest, float(sde.ratio(torch.tensor(0.0, dtype=torch.float64))))
    high = float(sde.ratio(torch.tensor(1.0, dtype=torch.float64)))
    length = math.log(high / low)

    def slope(state, u):  # in y / scale, so that the tolerance means the same at every noise
        ratio = (low * (u.double() * length).exp())[:, None, None, None]
        scale = (1 + ratio**2).sqrt().to(x)
        z = state[:, :-1].view(x.shape)
        x_0, trace = estimate_and_trace(denoise, sde, scale * z, mask, sde.time(ratio), probe)
        flow = torch.where(mask, z - x_0 / scale - (ratio**2 / (1 + ratio**2)).to(x) * z, 0.0)
        return length * torch.cat([flow.flatten(1), (many - trace)[:, None]], 1)

    start = torch.cat([x.flatten(1) / math.sqrt(1 + low**2), torch.zeros_like(x.flatten(1)[:, :1])], 1)
    end = integrate(slope, start, rtol, atol)
    y, change = end[:, :-1].view(x.shape) * math.sqrt(1 + high**2), end[:, -1]
    # there p(y) is a Gaussian around the data's mean, which is what the denoiser estimates from noise alone
    t = torch.ones(len(y), 1, 1, 1, dtype=torch.float64).to(y.device)
    gap = y - denoise(sde.alpha(t).to(y) * y, t)
    log = -0.5 * ((gap / high) ** 2 + math.log(2 * math.pi * high**2))
    return torch.where(mask, log, 0.0).flatten(1).sum(1) + change


def bits(log_prob: torch.Tensor, dimensions: int) -> torch.Tensor:
    """Bits a dimension of 8-bit values, whose bins are 1 / 127.5 wide, from nats of their dequantized form."""
    return (-log_prob / dimensions + math.log(127.5)) / math.log(2)


def dequantize(x: torch.Tensor, noise: Noise) -> torch.Tensor:
    """x with uniform noise as wide as a bin. Theis et al. 2016, arXiv:1511.01844, section 3.1."""
    return x + (torch.special.ndtr(noise()) - 0.5) / 127.5


def levels(sde: SDE, count: int, low: float, high: float) -> torch.Tensor:
    """`count` ratios, even in their logarithm; an SDE without noise that low starts at its lowest."""
    floor = float(sde.ratio(torch.tensor(0.0, dtype=torch.float64)))
    return torch.logspace(math.log10(max(low, floor)), math.log10(high), count, dtype=torch.float64)


@torch.no_grad()
def relative_log_prob(
    denoise: Denoise,
    sde: SDE,
    x: torch.Tensor,
    mask: torch.Tensor,
    noise: Noise,
    count: int = 32,
    low=0.05,
    high=50.0,
) -> torch.Tensor:
    """log p(x) where `mask` is True up to a constant of x, `(B,)`, by `count` denoising errors between two ratios.

    Its noise is drawn from `noise`: compare conditions under equal draws.
    """
    total, ratios = 0.0, levels(sde, count, low, high)
    for ratio in ratios:
        t = sde.time(ratio)
        x_t = sde.alpha(t).to(x) * x + sde.sigma(t).to(x) * noise()
        error = torch.where(mask, denoise(x_t, t) - x, 0.0).square().flatten(1).sum(1)
        total = total - error / float(ratio) ** 2
    return total * math.log(high / float(ratios[0])) / (count - 1)


def noise_log_likelihood(
    denoise: Denoise, sde: SDE, y: torch.Tensor, mask: torch.Tensor, ratios: torch.Tensor, noise: Noise, probes=1
) -> torch.Tensor:
    """log p_r(y) of every ratio r in `ratios` `(R,)`, rising, up to a constant of y, `(B, R)`; y is data plus noise."""
    probe, many = signs(noise, probes), int(mask.expand(y[:1].shape).sum())
    slopes = []
    for ratio in ratios:
        x_0, trace = estimate_and_trace(denoise, sde, y, mask, sde.time(ratio)[None, None, None, None], probe)
        gap = torch.where(mask, y - x_0, 0.0).square().flatten(1).sum(1)
        slopes.append(gap / float(ratio) ** 2 - (many - trace))
    slopes = torch.stack(slopes, 1)
    widths = ratios.log().diff().to(slopes)
    steps = (slopes[:, 1:] + slopes[:, :-1]) / 2 * widths
    return torch.cat([torch.zeros_like(slopes[:, :1]), steps.cumsum(1)], 1)
