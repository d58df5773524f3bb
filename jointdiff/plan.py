"""How to sample: a choice of sampler, times, condition and guidance, checked before anything runs."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from . import build
from .condition import (
    CONDITIONS,
    Led,
    free_guidance,
    joint_guidance,
    leave_out,
    reading_guidance,
    weaker_guidance,
    without_noise,
)
from .samplers import sample


@dataclasses.dataclass(frozen=True)
class Sampling:
    """How to sample, where it differs from what the model's config says.

    sampler, grid, condition: names in `SAMPLERS`, `GRIDS`, `CONDITIONS`; the grid may be noise-to-signal ratios instead, such as
    `Model.grid` finds. steps: of the sampler; with an order also a sequence, one number a turn. guidance: how far beyond the
    estimate, 0 for none. guide: a weaker `Model` to guide away from, instead of from the estimate without what is given. reading:
    by the name of what is drawn, how strongly it moves to where the network reads in it what is given.
    """

    sampler: str | None = None
    steps: int | Sequence[int] | None = None
    grid: str | tuple[float, ...] | None = None
    condition: str | None = None
    guidance: float | None = None
    guide: Any = None
    reading: Mapping[str, float] | None = None


class Plan:
    """A checked choice of sampler, grid of times, condition and guidance; calling it runs one batch."""

    def __init__(self, model, how: Sampling, given: bool, left_out=()):
        c, self.model, self.left_out = model.config.sample, model, left_out
        if isinstance(how.steps, Sequence):
            raise ValueError(f"steps = {how.steps}: one number a turn needs an order")
        self.condition = (how.condition or c.condition) if given else None
        if how.condition:
            build.lookup(CONDITIONS, how.condition, "condition")
        self.guidance = float(c.guidance if how.guidance is None else how.guidance)
        clean = self.condition == "clean"
        if how.reading and given and not clean:
            raise ValueError(f"to be led by reading needs the condition 'clean', not {self.condition!r}")
        reading = {n: float(w) for n, w in (c.reading if how.reading is None else how.reading).items() if w}
        model.layout.check(reading)
        self.reading = {n: w for n, w in reading.items() if clean and n not in left_out}
        model.layout.check(c.reading_shift)
        self.shift = {n: c.reading_shift.get(n, 0) for n in self.reading}
        self.method = build.sampler(model.config, model.denoiser.sde, how.sampler)
        self.times = build.grid(model.config, self.method, how.steps, how.grid)
        self.steps = len(self.times)
        self.weaker = None
        if how.guide is not None:
            if repr(how.guide.layout) != repr(model.layout):
                raise ValueError(f"the guide has {how.guide.layout!r}; expected {model.layout!r}")
            self.weaker = how.guide.denoiser
        self.settings = {
            "sampler": how.sampler or c.sampler,
            "steps": self.steps,
            **({"grid": how.grid} if how.grid else {}),
            "condition": self.condition,
            "guidance": self.guidance,
            **({"reading": self.reading, "reading_shift": self.shift} if self.reading else {}),
        }

    def check_noise(self, denoise_given: bool) -> None:
        """ValueError when what is given cannot have noise, or cannot come back without."""
        way = self.model.config.sample.given_noise
        if way not in ("drawn", "held"):
            raise ValueError(f"config.sample.given_noise = {way!r}; there are drawn, held")
        if self.condition != "clean":
            raise ValueError("known noise in what is given needs the condition 'clean'")
        if denoise_given and way == "held":
            raise ValueError("what is given comes back without noise with config.sample.given_noise = 'drawn' only")

    def begin(self, strength: float) -> None:
        """Keep the times below `strength` alone."""
        if not 0 < strength <= 1:
            raise ValueError(
                f"strength = {strength}; expected above 0, where nothing changes, up to 1, where nothing stays"
            )
        if self.condition == "twisted":
            raise ValueError("the twisted condition starts from noise alone; choose another, such as clean")
        self.settings["strength"] = strength
        later = self.times[self.times < strength]
        self.times = torch.cat([torch.tensor([strength], dtype=self.times.dtype), later])

    def __call__(self, denoise, y, mask, draw, on_step=None, noisy=None, start=None):
        """Samples `(B, C, H, W)`, with what was given as it was found to be, and the condition that made them.

        noisy: the level of the noise in y, `(B, C, 1, 1)`, and a source of noise to draw it away; None when y is clean.
        """
        model, sde = self.model, self.model.denoiser.sde
        more = {}
        if noisy and model.config.sample.given_noise == "held":
            more["level"] = noisy[0]
        elif noisy:
            level, own = noisy
            y = without_noise(leave_out(denoise, sde, ~mask, own()), sde, y, level, own, self.steps)
            if (mask | model.layout.mask(self.left_out).to(y.device)).all():
                return y, None  # what is given is all that is wanted
        between = model.config.sample.guidance_between
        if self.guidance and self.weaker:
            denoise = weaker_guidance(denoise, denoise.beside(self.weaker), self.guidance, between)
        if self.left_out:
            denoise = leave_out(denoise, sde, model.layout.mask(self.left_out).to(y.device) & ~mask, draw())
        plain = denoise
        if self.guidance and not self.weaker:
            if self.condition:
                denoise = free_guidance(denoise, sde, mask, draw(), self.guidance, between)
            elif len(drawn := [n for n in model.layout.names if n not in self.left_out]) > 1:
                masks = [model.layout.mask([n]).to(y.device) for n in drawn]
                denoise = joint_guidance(denoise, sde, masks, draw(), self.guidance, between)
        if self.reading:
            masks = [(n, model.layout.mask([n]).to(y.device)) for n in model.layout.names if n not in self.left_out]
            given = [m & mask for _, m in masks if (m & mask).any()]
            led = [self.led(n, m & ~mask) for n, m in masks if n in self.reading and (m & ~mask).any()]
            if led:
                denoise = reading_guidance(denoise, plain, sde, given, led, draw(), between)
        how = None
        if self.condition:
            how = build.condition(model.config, model.denoiser, y, mask, self.condition, **more)
        return sample(denoise, self.method, self.times, draw, how, on_step, start), how

    def led(self, name: str, mask: torch.Tensor) -> Led:
        """How a modality is led on the channels of `mask`: within [-1, 1], unless its values may lie beyond."""
        model = self.model
        limit = math.inf if getattr(model.modalities[name], "exact", False) else model.layout.scale[name]
        return Led(mask, self.reading[name], self.shift[name], model.config.modality[name].mirror, limit)
