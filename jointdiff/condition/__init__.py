"""Conditions: how observed channels enter the sampling of the others.

`condition.wrap(sampler, denoise)` returns a denoiser and a step. A condition never contains a sampler's loop or step, so
each works with every sampler. The observed channels y come back bit for bit.
"""

from collections.abc import Callable
from typing import Protocol

import torch

from ..sde import SDE
from ..types import Denoise
from .clean import Clean, without_noise
from .guide import Guide, PiGDM
from .langevin import Langevin
from .repaint import RePaint
from .replace import Replace
from .tweedie import Tweedie
from .twisted import Twisted

CONDITIONS = {
    "clean": Clean,
    "replace": Replace,
    "langevin": Langevin,
    "repaint": RePaint,
    "guide": Guide,
    "pigdm": PiGDM,
    "tweedie": Tweedie,
    "twisted": Twisted,
}

__all__ = [
    "CONDITIONS",
    "Condition",
    "free_guidance",
    "joint_guidance",
    "leave_out",
    "weaker_guidance",
    "without_noise",
]


class Condition(Protocol):
    """Made from an SDE, values `y` (B, C, H, W) and a `mask` (1, C, 1, 1) that is True on observed channels."""

    def wrap(self, sampler, denoise: Denoise) -> tuple[Callable, Callable]: ...


def leave_out(denoise: Denoise, sde: SDE, mask: torch.Tensor, eps: torch.Tensor) -> Callable:
    """A denoiser that does not see the channels where `mask` is True: they are noise alone, at t = 1, at every step."""

    def without(x, t):
        return denoise(torch.where(mask, sde.sigma(torch.ones_like(t)).to(x) * eps, x), torch.where(mask, 1.0, t))

    return without


def free_guidance(
    denoise: Denoise, sde: SDE, mask: torch.Tensor, eps: torch.Tensor, weight: float, between=(0.0, 1.0)
) -> Callable:
    """x_0_hat + weight (x_0_hat - x_0_hat without the observed channels), at times t in `between`; weight 0 changes nothing.

    The second estimate leaves out the channels where `mask` is True, which the `absent` pattern of training teaches.
    **Biased** on purpose: it sharpens the conditional and narrows its variety. Ho and Salimans 2022, arXiv:2207.12598,
    equation 6; an interval of times, Kynkaanniemi et al. 2024, arXiv:2404.07724.
    """
    without = leave_out(denoise, sde, mask, eps)

    def guided(x, t):
        x_0 = denoise(x, t)
        inside = (t >= between[0]) & (t <= between[1]) & ~mask
        if not inside.any():
            return x_0
        return torch.where(inside, x_0 + weight * (x_0 - without(x, t)), x_0)

    return guided


def weaker_guidance(denoise: Denoise, weaker: Denoise, weight: float, between=(0.0, 1.0)) -> Callable:
    """x_0_hat + weight (x_0_hat - that of a weaker model), at times t in `between`: away from the errors that both make.

    The weaker one is smaller or was trained for less time, on the same data. It takes less variety than leaving conditions out.
    Karras et al. 2024, arXiv:2406.02507, equation 3.
    """

    def guided(x, t):
        x_0 = denoise(x, t)
        inside = (t >= between[0]) & (t <= between[1])
        if not inside.any():
            return x_0
        return torch.where(inside, x_0 + weight * (x_0 - weaker(x, t)), x_0)

    return guided


def joint_guidance(
    denoise: Denoise, sde: SDE, masks: list[torch.Tensor], eps: torch.Tensor, weight: float, between=(0.0, 1.0)
) -> Callable:
    """The same when nothing is given: every modality is moved away from its estimate without all the others.

    x_0_hat + weight (x_0_hat - x_0_hat alone), `masks` `(1, C, 1, 1)` one a modality; an evaluation more for each. So the
    modalities agree more, and vary less. Bao et al. 2023, arXiv:2303.06555, section 3.3.
    """
    alone = [leave_out(denoise, sde, ~mask, eps) for mask in masks]

    def guided(x, t):
        x_0 = denoise(x, t)
        inside = (t >= between[0]) & (t <= between[1])
        if not inside.any():
            return x_0
        apart = x_0
        for mask, one in zip(masks, alone):
            apart = torch.where(mask, one(x, t), apart)
        return torch.where(inside, x_0 + weight * (x_0 - apart), x_0)

    return guided
