"""A trained model: denoiser, modalities and config together, and sampling in any direction by name."""

from collections.abc import Callable, Iterable, Mapping

import torch

from . import config as cfg
from .condition import leave_out
from .denoiser import Denoiser
from .samplers import sample
from .streams import SampleNoise


class Model:
    """What sampling needs. `config` is the training's own, so samples never depend on a second file."""

    def __init__(self, config, denoiser: Denoiser, modalities: Mapping):
        self.config, self.denoiser, self.modalities = config, denoiser, dict(modalities)
        self.layout = denoiser.layout

    @property
    def device(self):
        return self.denoiser.data_std.device

    def sample(
        self,
        given: Mapping[str, torch.Tensor] | None = None,
        num: int = 1,
        seed: int = 0,
        leave_out_names: Iterable[str] = (),
        sampler: str | None = None,
        steps: int | None = None,
        condition: str | None = None,
        batch: int = 64,
        on_step: Callable | None = None,
    ) -> dict[str, torch.Tensor]:
        """Channels of all modalities, `{name: (num, C_m, H, W)}` on the CPU.

        Args:
            given: encoded values, `(num, C_m, H, W)` or `(1, ...)` for all; they come back unchanged.
            seed: sample i depends on (seed, i) alone, not on `num` or `batch`.
            leave_out_names: modalities that are neither given nor generated; what comes back for them is noise.
            sampler, steps, condition: the config's when None.
        """
        given = dict(given or {})
        left_out = self.layout.check(leave_out_names)
        overlap = [n for n in left_out if n in given]
        if overlap:
            raise ValueError(f"{', '.join(overlap)} is both given and left out")
        if len(given) + len(left_out) == len(self.layout.names):
            raise ValueError("nothing is left to generate")
        method = cfg.build_sampler(self.config, self.denoiser.sde, sampler)
        times = method.times(steps or self.config.sample.steps)
        y, mask = self.layout.observe(given, num)
        out = []
        was_training = self.denoiser.training
        self.denoiser.eval()
        try:
            for first in range(0, num, batch):
                rows = slice(first, min(first + batch, num))
                noise = SampleNoise(seed, rows.stop - first, self.layout.shape, first, self.device)
                denoise = self.denoiser
                if left_out:
                    hidden = self.layout.mask(left_out).to(self.device)
                    denoise = leave_out(denoise, denoise.sde, hidden, noise())
                how = None
                if given:
                    how = cfg.build_condition(
                        self.config, self.denoiser.sde, y[rows].to(self.device), mask.to(self.device), condition
                    )
                out.append(sample(denoise, method, times, noise, how, on_step).cpu())
        finally:
            self.denoiser.train(was_training)
        return self.layout.unpack(torch.cat(out))

    def cost(self, sampler: str | None = None, steps: int | None = None) -> int:
        """Network evaluations of one batch."""
        method = cfg.build_sampler(self.config, self.denoiser.sde, sampler)
        return method.cost(steps or self.config.sample.steps)
