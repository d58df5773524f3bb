"""What is smaller than a network's patches: blocks at full resolution beside it.

A network on patches is cheap, and all that it knows of a pixel has to go through the few channels of a patch. At low noise, where
only details are left to tell, that is what bounds it; a narrow path at full resolution is not so bound.
"""

import torch
import torch.nn.functional as F
from torch import nn

from .layers import Block, Conv, norm


class Detail(nn.Module):
    """`(x (B, C, H, W), features of the first level, embedding)` to what is added to the network's output, nothing at first.

    Args:
        channels: C.
        patch: side of the patches that are the positions of the first level.
        width: channels at full resolution.
        trunk: width of the first level.
        emb_width: of the embedding of the noise levels.
        count: blocks.
    """

    def __init__(self, channels, patch, width, trunk, emb_width, dropout=0.0, count=2):
        super().__init__()
        self.patch = patch
        self.first, self.last = Conv(channels, width, 3), Conv(width, channels, 3, zero=True)
        self.leave = Conv(trunk, width * patch**2)
        self.blocks = nn.ModuleList(Block(width, emb_width, dropout) for _ in range(count))

    def forward(self, x: torch.Tensor, trunk: torch.Tensor, emb: torch.Tensor) -> torch.Tensor:
        h = self.first(x.contiguous(memory_format=torch.channels_last))
        h = h + F.pixel_shuffle(self.leave(trunk), self.patch).contiguous(memory_format=torch.channels_last)
        for block in self.blocks:
            h = block(h, emb)
        return self.last(norm(h))
