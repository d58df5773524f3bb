"""Conditions: how observed channels enter the sampling of the others.

`condition.wrap(sampler, denoise)` returns a denoiser and a step. A condition never contains a sampler's loop or step, so
each works with every sampler. The observed channels y come back bit for bit.
"""

from collections.abc import Callable
from typing import Protocol

from ..types import Denoise
from .clean import Clean, without_noise
from .guidance import Led, free_guidance, joint_guidance, leave_out, reading_guidance, weaker_guidance
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
    "Led",
    "free_guidance",
    "joint_guidance",
    "leave_out",
    "reading_guidance",
    "weaker_guidance",
    "without_noise",
]


class Condition(Protocol):
    """Made from an SDE, values `y` (B, C, H, W) and a `mask` (1, C, 1, 1) that is True on observed channels."""

    def wrap(self, sampler, denoise: Denoise) -> tuple[Callable, Callable]: ...
