"""The preconditioned denoiser: a network trained at unit scale becomes E[x_0 | x_t].

With r = sigma(t) / alpha(t) of each channel, mu and s the data's mean and standard deviation there, and
`y = x_t / alpha - mu`, whose variance is `s^2 + r^2`:

    x_0_hat = mu + c_skip y + c_out F(c_in y, c_noise)
    c_skip = s^2 / (s^2 + r^2),  c_out = r s / sqrt(s^2 + r^2),  c_in = 1 / sqrt(s^2 + r^2),  c_noise = log(r / s) / 4

Karras et al. 2022, arXiv:2206.00364, table 1 and appendix B.6, applied channel by channel: every modality may have its
own time and its own s. The mean is taken off as well, so that F sees centred input for data such as white on black.

`score` and `noise` convert the estimate: score = (alpha x_0_hat - x_t) / sigma^2 = -eps_hat / sigma.
"""

from typing import NamedTuple

import torch
from torch import nn

from .layout import Layout
from .sde import SDE

# What is below 1e-38 counts as 0: trained networks get there, and some CPUs take many times as long for such numbers.
# Set when this is imported, as threads that are already there would not hear of it.
torch.set_flush_denormal(True)

KEPT = 1024  # times whose scales are kept: those of a few grids


class Scales(NamedTuple):
    """`x_0_hat = c + d x_t + e F(a + b x_t, levels)` at a time: levels `(1 or B, P)`, the others `(1 or B, C, 1, 1)`."""

    levels: torch.Tensor
    a: torch.Tensor
    b: torch.Tensor
    c: torch.Tensor
    d: torch.Tensor
    e: torch.Tensor


class Denoiser(nn.Module):
    """`denoise(x_t, t) -> x_0_hat`, both `(B, C, H, W)`; t in [0, 1] broadcasts to `(B, C, 1, 1)`.

    `network(x, noise_levels)` maps `(B, C, H, W)` and `(B, P)`, a level for each part, to `(B, C, H, W)`. `data_mean` and
    `data_std` hold one value a modality, `(M,)`, measured on training data and saved with the weights. Where t = 0 the
    estimate is x_t. `dtype` is the network's autocast precision; all else is float32. With `blank` the network sees zeros where
    t = 1: noise that nothing can be learned from would only have to be told from what matters.
    """

    def __init__(
        self,
        network: nn.Module,
        sde: SDE,
        layout: Layout,
        data_mean=None,
        data_std=None,
        dtype=torch.float32,
        blank=False,
    ):
        super().__init__()
        self.network, self.sde, self.layout, self.dtype, self.blank = network, sde, layout, dtype, blank
        modalities = len(layout.names)
        self.register_buffer("data_mean", torch.zeros(modalities) if data_mean is None else torch.as_tensor(data_mean))
        self.register_buffer("data_std", torch.ones(modalities) if data_std is None else torch.as_tensor(data_std))
        first = torch.searchsorted(layout.part, torch.arange(sum(layout.parts.values())))
        self.register_buffer("first", first, persistent=False)
        self.kept: dict[tuple, Scales] = {}

    def moments(self) -> tuple[torch.Tensor, torch.Tensor]:
        """The data's mean and standard deviation a channel, each `(1, C, 1, 1)`."""
        return self.layout.expand(self.data_mean[None]), self.layout.expand(self.data_std[None])

    def precision(self) -> torch.autocast:
        """The network's autocast; entered around many evaluations, it casts the weights once for all of them."""
        return torch.autocast(self.data_std.device.type, dtype=self.dtype, enabled=self.dtype != torch.float32)

    def scales(self, t: torch.Tensor) -> Scales:
        """The scales at t, float64 of any shape that broadcasts to `(B, C, 1, 1)`."""
        mean, std = self.moments()
        alpha, sigma = self.sde.alpha(t).to(std.dtype), self.sde.sigma(t).to(std.dtype)
        ratio = (sigma / alpha).expand(-1 if t.ndim else 1, mean.shape[1], 1, 1)
        total = std**2 + ratio**2
        c_in, c_skip = total.rsqrt(), std**2 / total
        levels = (ratio / std)[:, self.first, 0, 0].clamp(min=1e-3).log() / 4
        if self.blank:
            c_in = torch.where(t < 1, c_in, 0.0)
        return Scales(
            levels, -mean * c_in, c_in / alpha, mean * ratio**2 / total, c_skip / alpha, ratio * std * total.rsqrt()
        )

    def residual(self, x_t: torch.Tensor, scales: Scales) -> torch.Tensor:
        """The network's output F."""
        return self.run(self.network, x_t, scales)

    def look(self, x_t: torch.Tensor, scales: Scales) -> torch.Tensor:
        """What the network's lowest level shows of x_t, `(B, width)`, without an estimate."""
        return self.run(self.network.look, x_t, scales)

    def run(self, network, x_t: torch.Tensor, scales: Scales) -> torch.Tensor:
        with self.precision():
            # torch.addcmul would be one operation, and slower with broadcasting than these
            out = network((x_t * scales.b).add_(scales.a), scales.levels.expand(len(x_t), -1))
        return out.to(x_t.dtype)

    def forward(self, x_t: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        scales = self.known(t) if t.numel() <= x_t.shape[1] else self.scales(t)
        return (x_t * scales.d).add_(scales.c).add_(self.residual(x_t, scales) * scales.e)

    def known(self, t: torch.Tensor) -> Scales:
        """The scales at a time that a whole batch shares, kept: a sampler comes back to the times of its grid, and the
        many small operations cost some hundredths of a small network's evaluation."""
        key = (self.data_std.device, t.shape, *t.flatten().tolist())
        if key not in self.kept:
            if len(self.kept) >= KEPT:
                self.kept.clear()
            with torch.inference_mode(False), torch.no_grad():
                self.kept[key] = self.scales(t)
        return self.kept[key]


def score(sde: SDE, x_0_hat: torch.Tensor, x_t: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
    """grad log p(x_t) by Tweedie's formula; infinite at sigma = 0."""
    return (sde.alpha(t) * x_0_hat - x_t) / sde.sigma(t) ** 2


def noise(sde: SDE, x_0_hat: torch.Tensor, x_t: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
    """The noise estimate `eps_hat = (x_t - alpha x_0_hat) / sigma`."""
    return (x_t - sde.alpha(t) * x_0_hat) / sde.sigma(t)
