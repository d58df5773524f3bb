"""A multilayer perceptron for toy problems and tests."""

import torch
from torch import nn

from .embedding import LevelEmbedding


class MLP(nn.Module):
    """Residual layers over the flattened input, each shifted by the noise levels of all modalities."""

    needs = ("grid",)

    def __init__(self, channels: int, modalities: int, grid: tuple[int, int], width: int = 128, depth: int = 3):
        super().__init__()
        size = channels * grid[0] * grid[1]
        self.embedding = LevelEmbedding(modalities, width)
        self.first = nn.Linear(size, width)
        self.layers = nn.ModuleList(nn.Linear(width, width) for _ in range(depth))
        self.shifts = nn.ModuleList(nn.Linear(width, width) for _ in range(depth))
        self.last = nn.Linear(width, size)

    def forward(self, x: torch.Tensor, noise_levels: torch.Tensor) -> torch.Tensor:
        emb = self.embedding(noise_levels)
        h = self.first(x.flatten(1))
        for layer, shift in zip(self.layers, self.shifts):
            h = h + layer(nn.functional.silu(h + shift(emb)))
        return self.last(h).view_as(x)
