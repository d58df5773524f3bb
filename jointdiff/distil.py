"""Guidance distilled: a network learns to draw without being led what it drew before when it was led.

The model that a run starts from is the teacher. At the x_t of a training row it is given one modality of that row without noise,
a word say, and nothing else, and led by reading it (`condition.reading_guidance`); its estimate is what the network's is to be for
another modality, a photograph say, whatever of the rest the network itself is given: the word, its sound with noise, nothing
yet. What the teacher knows more averages out, so that each learns as much of it as what it is given tells; and an
estimate varies less than the data that the denoising loss learns from alone, so that it is learned in a fraction of the rows.

**Biased** as guidance is. Meng et al. 2023, arXiv:2210.03142, equation 3, with a teacher that is led by reading, and given more:
Lopez-Paz et al. 2016, arXiv:1511.03643 (privileged information).
"""

import torch

from .condition import leave_out, reading_guidance
from .denoiser import Denoiser
from .layout import Layout
from .loss import Times


class Led:
    """What the estimate of the modality `drawn` is to be: the old network's, given `given`, led with `weight` by reading it."""

    def __init__(self, denoiser: Denoiser, layout: Layout, drawn: str, given: str, weight: float):
        if repr(denoiser.layout) != repr(layout):
            raise ValueError(f"the model to distil has {denoiser.layout!r}; expected {layout!r}")
        layout.check((drawn, given))
        if drawn == given:
            raise ValueError(f"config.loss.distil: {drawn!r} cannot be led by reading itself")
        self.denoiser = denoiser.eval().requires_grad_(False)
        self.names, self.weight = [layout.names.index(drawn), layout.names.index(given)], weight
        self.drawn, self.given, self.most = layout.mask([drawn]), layout.mask([given]), layout.scale[drawn]

    def taught(self, index: dict[str, torch.Tensor], times: Times) -> torch.Tensor:
        """Rows with both modalities, in which the one is drawn and not all else is absent, `(B,)` bool."""
        drawn, given = self.names
        there = list(index.values())[given] >= 0
        return there & times.target[:, drawn] & ((~times.absent).sum(1) > 1)

    def __call__(self, x_t: torch.Tensor, t: torch.Tensor, x_0: torch.Tensor, taught: torch.Tensor) -> torch.Tensor:
        """x_0, with the teacher's estimate of what is drawn, in the range of data, in the rows `taught` `(B,)`.

        All `(B, C, H, W)`; t `(B, C, 1, 1)`.
        """
        if not taught.any():
            return x_0
        drawn, given = self.drawn.to(x_t.device), self.given.to(x_t.device)
        x = torch.where(given, x_0[taught], x_t[taught])
        times = torch.where(given, 0.0, t[taught])
        eps, sde = torch.randn_like(x), self.denoiser.sde
        with torch.no_grad():
            denoise = leave_out(self.denoiser, sde, ~(drawn | given), eps)
            led = reading_guidance(denoise, self.denoiser, sde, [given], [(drawn, self.weight)], eps)
            estimate = led(x, times).clamp(-self.most, self.most)
            out = x_0.clone()
            out[taught] = torch.where(drawn, estimate, x_0[taught])
        return out
