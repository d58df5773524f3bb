"""Conditions: how observed channels enter the sampling of the others.

`condition.wrap(sampler, denoise)` returns a denoiser and a step. A condition never contains a sampler's loop or step, so
each works with every sampler. The observed channels y come back bit for bit.
"""

from collections.abc import Callable
from typing import Protocol

import torch

from ..sde import SDE
from .clean import Clean
from .replace import Replace

CONDITIONS = {"clean": Clean, "replace": Replace}

__all__ = ["CONDITIONS", "Condition", "leave_out"]


class Condition(Protocol):
    """Made from an SDE, values `y` (B, C, H, W) and a `mask` (1, C, 1, 1) that is True on observed channels."""

    def wrap(self, sampler, denoise: Callable) -> tuple[Callable, Callable]: ...


def leave_out(denoise: Callable, sde: SDE, mask: torch.Tensor, eps: torch.Tensor) -> Callable:
    """A denoiser that does not see the channels where `mask` is True: they are noise alone, at t = 1, at every step."""

    def without(x, t):
        return denoise(torch.where(mask, sde.sigma(torch.ones_like(t)).to(x) * eps, x), torch.where(mask, 1.0, t))

    return without
