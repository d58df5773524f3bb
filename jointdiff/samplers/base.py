"""What a sampler is."""

import abc

import torch

from ..sde import SDE
from ..types import Denoise, Noise
from .grids import karras


class Sampler(abc.ABC):
    """One step of a reverse process of an SDE."""

    grid = staticmethod(karras)  # the grid of times it is usually run on

    def __init__(self, sde: SDE):
        self.sde = sde

    def start(self) -> None:  # noqa: B027
        """Called before the first step of a run; a multistep method forgets here what it remembers."""

    @abc.abstractmethod
    def step(self, denoise: Denoise, x_t: torch.Tensor, t: torch.Tensor, s: torch.Tensor, noise: Noise) -> torch.Tensor:
        """`x_s` from `x_t`, s <= t, float64 times that broadcast to `(B, C, 1, 1)`."""

    def kernel(self, x_0: torch.Tensor, x_t: torch.Tensor, t: torch.Tensor, s: torch.Tensor):
        """Mean and standard deviation of the Gaussian step from `x_t` to `x_s`, given the estimate `x_0` of the data.

        ValueError when the step is no Gaussian, or has no width.
        """
        raise ValueError(
            f"{type(self).__name__} has no transition density, which this condition needs; "
            "choose the sampler ddim with eta > 0, or euler_maruyama"
        )
