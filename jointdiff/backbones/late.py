"""Late fusion: a U-Net for each modality alone, and the modalities meet on the low levels.

There every position of a modality attends to all positions of all of them, each with a code of its own place and modality. Every
block knows the noise levels of all modalities. The opposite of stacking channels, where they meet in the first convolution.
"""

import torch
import torch.nn.functional as F
from torch import nn

from .embedding import LevelEmbedding
from .layers import Block, Conv, attend, norm


class Meeting(nn.Module):
    """Attention of each stream's positions to those of all, with a residual connection that starts at 0."""

    def __init__(self, streams: int, width: int, grid: tuple[int, int], heads: int):
        super().__init__()
        if width % heads:
            raise ValueError(f"{heads} attention heads do not divide a width of {width}")
        self.heads, self.place = heads, nn.Parameter(0.02 * torch.randn(streams, 1, width, *grid))
        self.qkv = nn.ModuleList(Conv(width, 3 * width) for _ in range(streams))
        self.out = nn.ModuleList(Conv(width, width, zero=True) for _ in range(streams))

    def forward(self, maps: list[torch.Tensor]) -> list[torch.Tensor]:
        b, c, h, w = maps[0].shape
        seen = [qkv(norm(m) + place) for qkv, m, place in zip(self.qkv, maps, self.place)]
        qkv = torch.cat([s.flatten(2) for s in seen], 2).view(b, 3, self.heads, c // self.heads, -1)
        q, k, v = qkv.permute(1, 0, 2, 4, 3)
        parts = attend(q, k, v).transpose(2, 3).reshape(b, c, -1).split(h * w, 2)
        return [m + out(part.reshape(b, c, h, w)) for m, out, part in zip(maps, self.out, parts)]


class Late(nn.Module):
    """U-Nets beside each other, for any number of modalities on any grid.

    Args:
        channels, modalities: C of the joint tensor and the number of noise levels.
        grid: (H, W), which is padded to what the levels divide.
        streams: the channels and the noise levels of every modality, as slices.
        widths, blocks: of each level, the same in all streams.
        meeting: on which levels the streams meet, on the way down and up.
        patch, heads, dropout: side of the patches, of attention, of the blocks.
    """

    needs = ("grid", "streams")

    def __init__(
        self, channels, modalities, grid, streams,
        widths=(32, 64, 96), blocks=(1, 1, 1), meeting=(False, True, True), patch=2, heads=4, dropout=0.0,
    ):  # fmt: skip
        super().__init__()
        if not len(widths) == len(blocks) == len(meeting):
            counts = f"{len(widths)}, {len(blocks)} and {len(meeting)}"
            raise ValueError(f"widths, blocks and meeting name {counts} levels; expected the same number")
        self.channels, self.modalities, self.patch, self.streams = channels, modalities, patch, streams
        self.multiple = patch * 2 ** (len(widths) - 1)
        whole = [-(-side // self.multiple) * self.multiple // patch for side in grid]
        emb_width, every = widths[-1], range(len(streams))
        self.embedding = LevelEmbedding(modalities, emb_width)
        sizes = [(where.stop - where.start) * patch**2 for where, _ in streams]
        each = lambda make: nn.ModuleList(make(i) for i in every)
        self.first = each(lambda i: Conv(sizes[i], widths[0], 3))
        self.last = each(lambda i: Conv(widths[0], sizes[i], 3, zero=True))
        self.context = nn.Linear(widths[-1], emb_width)
        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        for way in (self.down, self.up):
            for level, w in enumerate(widths):
                shape = (4 * widths[level - 1], w) if way is self.down else (w, 4 * widths[level - 1])
                stack = lambda i, n=blocks[level], w=w: nn.ModuleList(Block(w, emb_width, dropout) for _ in range(n))
                sides = tuple(side // 2**level for side in whole)
                way.append(nn.ModuleDict({
                    "resize": each(lambda i, shape=shape, level=level: Conv(*shape) if level else nn.Identity()),
                    "blocks": each(stack),
                    "skips": each(lambda i, w=w: Conv(w, w)) if way is self.up else nn.ModuleList(),
                    "meet": Meeting(len(streams), w, sides, heads) if meeting[level] else nn.Identity(),
                }))  # fmt: skip

    def units(self) -> list[nn.Module]:
        """The parts in which memory is managed: weights gathered, or activations computed again, one at a time."""
        return [m for m in self.modules() if isinstance(m, Block | Meeting)]

    def forward(self, x: torch.Tensor, noise_levels: torch.Tensor) -> torch.Tensor:
        height, width = x.shape[-2:]
        x = F.pad(x, (0, -width % self.multiple, 0, -height % self.multiple))
        emb = self.embedding(noise_levels)
        patches = [F.pixel_unshuffle(x[:, where], self.patch) for where, _ in self.streams]
        maps = [first(p.contiguous(memory_format=torch.channels_last)) for first, p in zip(self.first, patches)]
        act, skips = F.silu(emb), []
        for i, level in enumerate(self.down):
            maps = [resize(F.pixel_unshuffle(m, 2) if i else m) for resize, m in zip(level["resize"], maps)]
            maps = level["meet"](self.through(level, maps, act))
            skips.append(maps)
        act = F.silu(emb + self.context(torch.stack([m.mean((2, 3)) for m in maps]).mean(0)))
        for i in reversed(range(len(self.up))):
            level = self.up[i]
            maps = [m + skip(s) for m, skip, s in zip(maps, level["skips"], skips[i])]
            maps = level["meet"](self.through(level, maps, act))
            maps = [resize(m) for resize, m in zip(level["resize"], maps)]
            maps = [F.pixel_shuffle(m, 2) for m in maps] if i else maps
        out = [F.pixel_shuffle(last(norm(m)), self.patch) for last, m in zip(self.last, maps)]
        return torch.cat(out, 1)[..., :height, :width]

    @staticmethod
    def through(level, maps: list[torch.Tensor], act: torch.Tensor) -> list[torch.Tensor]:
        """Each stream's blocks."""
        out = []
        for blocks, m in zip(level["blocks"], maps):
            for block in blocks:
                m = block(m, act)
            out.append(m)
        return out
