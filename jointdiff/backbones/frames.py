"""What a network does to every frame of a film alike.

As mere channels, each frame would have to learn for itself what a shape is, from one frame a row; with the same weights for all of
them, a film is as many examples as it has frames. Where and when they are is the business of the network around.
"""

import torch
import torch.nn.functional as F
from torch import nn

from .embedding import LevelEmbedding
from .layers import Block, Conv, norm


class Frames(nn.Module):
    """The frames of one film on a level of a network: a block on the way down, and one on the way up to the film again.

    Args:
        count, channels: frames of the film, and channels of a frame.
        patch: side of the patches that are the positions of that level.
        width: channels that a frame has there.
        trunk: width of the network's level.
        emb_width: of its embedding of the noise levels.
    """

    def __init__(self, count, channels, patch, width, trunk, emb_width, dropout):
        super().__init__()
        self.count, self.patch = count, patch
        # three axes: what has two is a matrix to the optimizers, and this is a table
        self.embedding, self.place = LevelEmbedding(1, emb_width), nn.Parameter(torch.zeros(count, 1, emb_width))
        self.first, self.last = Conv(channels * patch**2, width, 3), Conv(width, channels * patch**2, 3, zero=True)
        self.down, self.up = (Block(width, emb_width, dropout) for _ in range(2))
        self.join, self.leave = Conv(count * width, trunk), Conv(trunk, count * width)

    def own(self, levels: torch.Tensor) -> torch.Tensor:
        """What each frame's own noise level and place add to the embedding, `(B, T, emb_width)`."""
        return self.embedding(levels.flatten()[:, None]).view(*levels.shape, -1) + self.place[:, 0]

    def read(self, film: torch.Tensor, emb: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Film `(B, T C, H, W)` and embedding `(B, T, emb_width)` to the frames' features, and what they add to the level."""
        patches = F.pixel_unshuffle(film.unflatten(1, (self.count, -1)).flatten(0, 1), self.patch)
        h = self.first(patches.contiguous(memory_format=torch.channels_last))
        h = self.down(h, F.silu(emb).flatten(0, 1))
        return h, self.join(h.unflatten(0, (-1, self.count)).flatten(1, 2))

    def write(self, trunk: torch.Tensor, h: torch.Tensor, emb: torch.Tensor) -> torch.Tensor:
        """The level's features and the frames' to the film `(B, T C, H, W)`."""
        each = self.leave(trunk).unflatten(1, (self.count, -1)).flatten(0, 1)
        h = h + each.contiguous(memory_format=torch.channels_last)
        h = self.up(h, F.silu(emb).flatten(0, 1))
        return F.pixel_shuffle(self.last(norm(h)), self.patch).unflatten(0, (-1, self.count)).flatten(1, 2)
