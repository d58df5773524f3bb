"""A transformer over the patches of all modalities: they meet in every layer, and nowhere else.

Each modality's channels are cut into patches of its own; a patch knows its place, its modality and the noise level there. Peebles
and Xie 2023, arXiv:2212.09748 (modulation of every layer by the noise level); Bao et al. 2023,
arXiv:2303.06555 (all modalities' tokens in one sequence).
"""

import math

import torch
import torch.nn.functional as F
from torch import nn

from .embedding import LevelEmbedding
from .layers import attend


class Layer(nn.Module):
    """Attention among all tokens and a perceptron, each scaled, shifted and gated by what a token's embedding says."""

    def __init__(self, width: int, heads: int, dropout: float):
        super().__init__()
        self.heads = heads
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.wide, self.narrow = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.modulation = nn.Linear(width, 6 * width)
        self.dropout = nn.Dropout(dropout)
        nn.init.zeros_(self.modulation.weight)
        nn.init.zeros_(self.modulation.bias)
        with torch.no_grad():
            for gate in (2, 5):
                self.modulation.bias[gate * width : (gate + 1) * width] = 0.3

    def forward(self, x: torch.Tensor, act: torch.Tensor) -> torch.Tensor:
        """Tokens and their embeddings, `(B, N, width)` each."""
        scale_a, shift_a, gate_a, scale_b, shift_b, gate_b = self.modulation(act).chunk(6, dim=2)
        norm = lambda v: F.layer_norm(v, v.shape[2:])
        b, n, width = x.shape
        qkv = self.qkv(norm(x) * (1 + scale_a) + shift_a).view(b, n, 3, self.heads, width // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        x = x + gate_a * self.out(attend(q, k, v).transpose(1, 2).reshape(b, n, width))
        h = F.gelu(self.wide(norm(x) * (1 + scale_b) + shift_b))
        return x + gate_b * self.narrow(self.dropout(h))


class Tokens(nn.Module):
    """A transformer for any number of modalities on any grid.

    Args:
        channels, modalities: C of the joint tensor and the number of noise levels.
        grid: (H, W), which is padded to whole patches.
        streams: the channels and the noise levels of every modality, as slices.
        width, depth, heads, patch, dropout: of the tokens, layers, their attention, the patches' side, the perceptrons.
    """

    needs = ("grid", "streams")

    def __init__(self, channels, modalities, grid, streams, width=192, depth=6, heads=4, patch=4, dropout=0.0):
        super().__init__()
        if width % heads:
            raise ValueError(f"{heads} attention heads do not divide a width of {width}")
        self.channels, self.modalities, self.patch, self.streams = channels, modalities, patch, streams
        self.places = math.ceil(grid[0] / patch) * math.ceil(grid[1] / patch)
        sizes = [(where.stop - where.start) * patch**2 for where, _ in streams]
        self.embedding = LevelEmbedding(modalities, width)
        self.own = nn.ModuleList(LevelEmbedding(levels.stop - levels.start, width) for _, levels in streams)
        self.first = nn.ModuleList(nn.Linear(size, width) for size in sizes)
        self.position = nn.Parameter(0.02 * torch.randn(len(streams), self.places, width))
        self.layers = nn.ModuleList(Layer(width, heads, dropout) for _ in range(depth))
        self.last = nn.ModuleList(nn.Linear(width, size) for size in sizes)
        for last in self.last:
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)

    def units(self) -> list[nn.Module]:
        """The parts in which memory is managed: weights gathered, or activations computed again, one at a time."""
        return list(self.layers)

    def forward(self, x: torch.Tensor, noise_levels: torch.Tensor) -> torch.Tensor:
        height, width = x.shape[-2:]
        x = F.pad(x, (0, -width % self.patch, 0, -height % self.patch))
        rows = x.shape[-2] // self.patch
        shared, tokens, act = self.embedding(noise_levels), [], []
        for i, (where, levels) in enumerate(self.streams):
            patches = F.pixel_unshuffle(x[:, where], self.patch).flatten(2).transpose(1, 2)
            tokens.append(self.first[i](patches) + self.position[i])
            act.append((shared + self.own[i](noise_levels[:, levels]))[:, None].expand(-1, self.places, -1))
        h, act = torch.cat(tokens, 1), F.silu(torch.cat(act, 1))
        for layer in self.layers:
            h = layer(h, act)
        h = F.layer_norm(h, h.shape[2:]).split(self.places, 1)
        out = [last(part).transpose(1, 2).unflatten(2, (rows, -1)) for last, part in zip(self.last, h)]
        return torch.cat([F.pixel_shuffle(o, self.patch) for o in out], 1)[..., :height, :width]
