"""What a sampler is, and grids of times."""

import abc
from collections.abc import Callable

import torch

from ..sde import SDE


class Sampler(abc.ABC):
    """One step of a reverse process of an SDE.

    `evaluations` is the number of network evaluations a step takes.
    """

    evaluations = 1

    def __init__(self, sde: SDE):
        self.sde = sde

    @abc.abstractmethod
    def step(
        self, denoise: Callable, x_t: torch.Tensor, t: torch.Tensor, s: torch.Tensor, noise: Callable
    ) -> torch.Tensor:
        """`x_s` from `x_t`, s < t; both times are float64 and 0-dimensional."""

    def times(self, steps: int) -> torch.Tensor:
        """The usual grid for `steps` steps, the last denoising one included: `steps` times from 1 to nearly 0."""
        return karras(self.sde, steps)

    def cost(self, steps: int) -> int:
        """Network evaluations of `steps` steps; the last one takes one."""
        return (steps - 1) * self.evaluations + 1


def karras(sde: SDE, steps: int, lowest: float = 0.002, rho: float = 7.0) -> torch.Tensor:
    """Times whose noise-to-signal ratios are even in `ratio^(1/rho)`, from the ratio at t = 1 down to `lowest`.

    Karras et al. 2022, arXiv:2206.00364, equation 5.
    """
    _check(steps)
    high = sde.ratio(torch.tensor(1.0, dtype=torch.float64))
    low = max(lowest, float(sde.ratio(torch.tensor(0.0, dtype=torch.float64))))
    u = torch.linspace(0, 1, steps, dtype=torch.float64)
    times = sde.time((high ** (1 / rho) * (1 - u) + low ** (1 / rho) * u) ** rho)
    times[0] = 1.0
    return times


def uniform(steps: int, lowest: float = 1e-3) -> torch.Tensor:
    """Evenly spaced times from 1 to `lowest`. Song et al. 2021, arXiv:2011.13456, appendix C."""
    _check(steps)
    return torch.linspace(1, lowest, steps, dtype=torch.float64)


def _check(steps):
    if steps < 1:
        raise ValueError(f"{steps} steps; expected at least 1")
