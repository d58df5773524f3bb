"""Grids of times: decreasing float64 times from 1 to just above 0, where samplers stop and denoise."""

import itertools

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


def least_loss(ratios: torch.Tensor, errors: torch.Tensor, steps: int) -> torch.Tensor:
    """Of decreasing noise-to-signal ratios `(K,)` the `steps` at which ancestral steps lose least, the first too, `(steps,)`.

    A step from r to r' loses `E |x_0 - x_0_hat(r)|^2 (1 / r'^2 - 1 / r^2) / 2` nats of the likelihood's bound (Kingma et al.
    2021, arXiv:2107.00630, equation 13), `errors` `(K,)` being that mean: where the estimate gets better soon, short steps pay.
    The last step goes to the last ratio, below which nothing counts. The best of all choices, by dynamic programming (Watson et
    al. 2021, arXiv:2106.03802).
    """
    ratios, errors = ratios.double(), errors.double()
    if not 1 <= steps < len(ratios):
        raise ValueError(f"{steps} steps; expected 1 to {len(ratios) - 1}, the number of ratios less one")
    if not (ratios.diff() < 0).all() or ratios[-1] <= 0:
        raise ValueError("ratios have to decrease, and to stay above 0")
    snr = ratios**-2
    loss = errors[:, None] * (snr[None] - snr[:, None])
    loss = torch.where(torch.ones_like(loss).triu(1).bool(), loss, torch.inf)  # from row to column
    best, ways = loss[:, -1], []  # the least loss from here to the end, in one step so far
    for _ in range(steps - 1):
        best, way = (loss + best[None]).min(1)
        ways.append(way)
    chosen = [0]
    for way in reversed(ways):
        chosen.append(int(way[chosen[-1]]))
    return ratios[chosen]


def at_ratios(sde: SDE, ratios) -> torch.Tensor:
    """The times from 1 on to those of the noise-to-signal ratios, decreasing numbers, or a text of such with commas between."""
    low, high = sde.ratio(torch.tensor([0.0, 1.0], dtype=torch.float64)).tolist()
    try:
        numbers = [float(r) for r in (ratios.split(",") if isinstance(ratios, str) else ratios)]
    except (ValueError, TypeError):
        numbers = []
    if not numbers or not all(a > b for a, b in itertools.pairwise([high, *numbers, low])):
        raise ValueError(
            f"a grid of noise-to-signal ratios decreases, between {high:.3g} and {low:.3g}, such as 4,2,1; got {ratios}"
        )
    ratios = torch.tensor(numbers, dtype=torch.float64)
    return torch.cat([torch.ones(1, dtype=torch.float64), sde.time(ratios)])


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
