"""Embedding of the noise levels of all modalities into one vector."""

import torch
from torch import nn


class LevelEmbedding(nn.Module):
    """`(B, M)` noise levels to `(B, width)`: sines and cosines of every level, then two layers.

    Sinusoids as in Vaswani et al. 2017, arXiv:1706.03762, section 3.5, with frequencies for levels of order 1.
    """

    def __init__(self, modalities: int, width: int, frequencies: int = 16):
        super().__init__()
        self.register_buffer("frequencies", torch.logspace(-1, 1.5, frequencies), persistent=False)
        self.layers = nn.Sequential(nn.Linear(2 * frequencies * modalities, width), nn.SiLU(), nn.Linear(width, width))

    def forward(self, levels: torch.Tensor) -> torch.Tensor:
        phase = levels[:, :, None] * self.frequencies
        return self.layers(torch.cat([phase.sin(), phase.cos()], dim=-1).flatten(1))
