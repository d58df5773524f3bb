"""Grids of times: decreasing float64 times from 1 to just above 0, where samplers stop and denoise."""

import torch

from ..sde import SDE

LOWEST = 0.002  # the noise-to-signal ratio at which grids end


def karras(sde: SDE, steps: int, lowest: float = LOWEST, rho: float = 7.0) -> torch.Tensor:
    """Times whose noise-to-signal ratios are even in `ratio^(1/rho)`, from the ratio at t = 1 down to `lowest`.

    Karras et al. 2022, arXiv:2206.00364, equation 5.
    """
    u, high, low = _range(sde, steps, lowest)
    return _times(sde, karras_ratios(high, low, u, rho))


def karras_ratios(high: torch.Tensor, low: float, u: torch.Tensor, rho: float = 7.0) -> torch.Tensor:
    """Ratios from `high`, at u = 0, to `low`, at u = 1, even in `ratio^(1/rho)`; u and high broadcast."""
    return (high ** (1 / rho) * (1 - u) + low ** (1 / rho) * u) ** rho


def log_snr(sde: SDE, steps: int, lowest: float = LOWEST) -> torch.Tensor:
    """Times even in the logarithm of the ratio, from the ratio at t = 1 down to `lowest`.

    Lu et al. 2022, arXiv:2206.00927, section 3.3.
    """
    u, high, low = _range(sde, steps, lowest)
    return _times(sde, high ** (1 - u) * low**u)


def uniform(sde: SDE, steps: int, lowest: float = LOWEST) -> torch.Tensor:
    """Evenly spaced times from 1 to 0.001, or to that of the ratio `lowest` where it is later. Song et al. 2021,
    arXiv:2011.13456, appendix C.
    """
    _, _, low = _range(sde, steps, lowest)
    last = max(1e-3, float(sde.time(torch.tensor(low, dtype=torch.float64))))
    return torch.linspace(1, last, steps, dtype=torch.float64)


def _range(sde, steps, lowest):
    _check(steps)
    high = sde.ratio(torch.tensor(1.0, dtype=torch.float64))
    low = max(lowest, float(sde.ratio(torch.tensor(0.0, dtype=torch.float64))))
    return torch.linspace(0, 1, steps, dtype=torch.float64), high, low


def _times(sde, ratio):
    times = sde.time(ratio)
    times[0] = 1.0
    return times


def _check(steps):
    if steps < 1:
        raise ValueError(f"{steps} steps; expected at least 1")


GRIDS = {"karras": karras, "log_snr": log_snr, "uniform": uniform}
