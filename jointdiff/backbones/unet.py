"""A U-Net over joint channels.

It works on patches: `pixel_unshuffle` halves the grid before the first convolution and `pixel_shuffle` undoes it after
the last, which costs a quarter. Every block is modulated by the noise levels of all modalities. On the way up the
blocks also see the mean over the grid of the lowest level, so that what one modality says as a whole (a class, a
loudness) reaches every pixel of the others in one step. Convolutions keep their weights as matrices, the form that
matrix optimizers such as Muon expect.

Sources: Ronneberger et al. 2015, arXiv:1505.04597 (U-Net); Ho et al. 2020, arXiv:2006.11239 (for diffusion);
Peebles and Xie 2023, arXiv:2212.09748 (modulation with gates that start at 0); pooled context as in
Hu et al. 2018, arXiv:1709.01507.
"""

import torch
import torch.nn.functional as F
from torch import nn

from .embedding import LevelEmbedding
from .frames import Frames
from .layers import Attention, Block, Conv, norm


class UNet(nn.Module):
    """U-Net for any number of channels and modalities on any grid, also H != W.

    Args:
        channels, modalities: C of the joint tensor and M noise levels.
        widths: channels of each level; each level halves the grid.
        blocks: residual blocks of each level, the same number down and up.
        attention: whether each level ends in self-attention.
        patch: side of the patches; the network's first level is the grid divided by it.
        heads, dropout: of attention, of the blocks.
        frame_width, frame_level: channels that every frame of a film has for itself, with weights that all frames share, and the
            level on which the frames meet the rest; without a width, frames are channels as others are.
        streams: the channels and the noise levels of every modality, as slices; one with several levels is a film.

    A grid that the levels do not divide is padded with zeros and cut again.
    """

    needs = ("streams",)

    def __init__(
        self,
        channels,
        modalities,
        widths=(64, 128, 192),
        blocks=(1, 2, 2),
        attention=(False, False, True),
        patch=2,
        heads=4,
        dropout=0.0,
        frame_width=0,
        frame_level=1,
        streams=(),
    ):
        super().__init__()
        if not len(widths) == len(blocks) == len(attention):
            raise ValueError(
                f"widths, blocks and attention name {len(widths)}, {len(blocks)} and {len(attention)} "
                "levels; expected the same number"
            )
        if frame_width and not 0 <= frame_level < len(widths):
            raise ValueError(f"frame_level {frame_level} is none of the {len(widths)} levels, 0 to {len(widths) - 1}")
        self.channels, self.modalities = channels, modalities
        self.patch, self.multiple = patch, patch * 2 ** (len(widths) - 1)
        emb_width = widths[-1]
        self.embedding = LevelEmbedding(modalities, emb_width)
        self.context = nn.Linear(widths[-1], emb_width)
        self.first = Conv(channels * patch**2, widths[0], 3)
        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        for level, w in enumerate(widths):
            attend = Attention(w, heads) if attention[level] else nn.Identity()
            shrink = Conv(4 * widths[level - 1], w) if level else nn.Identity()
            down = [Block(w, emb_width, dropout) for _ in range(blocks[level])]
            self.down.append(nn.ModuleDict({"resize": shrink, "blocks": nn.ModuleList(down), "attend": attend}))
        for level, w in reversed(list(enumerate(widths))):
            attend = Attention(w, heads) if attention[level] else nn.Identity()
            grow = Conv(w, 4 * widths[level - 1]) if level else nn.Identity()
            up = [Block(w, emb_width, dropout) for _ in range(blocks[level])]
            self.up.append(nn.ModuleDict({"resize": grow, "blocks": nn.ModuleList(up), "attend": attend}))
        self.skips = nn.ModuleList(Conv(w, w) for w in reversed(widths))
        self.last = Conv(widths[0], channels * patch**2, 3, zero=True)
        films = [s for s in streams if s[1].stop - s[1].start > 1] if frame_width else []
        self.films, self.frame_level = films, frame_level
        self.frames = nn.ModuleList()
        for where, levels in self.films:
            count = levels.stop - levels.start
            size = (count, (where.stop - where.start) // count, patch * 2**frame_level, frame_width)
            self.frames.append(Frames(*size, widths[frame_level], emb_width, dropout))

    def by_channel(self) -> dict[str, tuple[tuple, int, str]]:
        """The weights that belong to channels or parts: `{name: (shape to view it in, axis, "channels" or "parts")}`."""
        c, pixels = self.channels, self.patch**2
        return {
            "first.weight": ((-1, 9, c, pixels), 2, "channels"),
            "last.weight": ((c, -1), 0, "channels"),
            "last.bias": ((c, pixels), 0, "channels"),
            "embedding.layers.0.weight": ((self.embedding.layers[0].out_features, self.modalities, -1), 1, "parts"),
        }

    def levels(self) -> dict[str, nn.Module]:
        """The last module of every level, "down 0" to "up 0", whose outputs are its maps, in their order."""
        last = len(self.up) - 1
        down = {f"down {i}": level["attend"] for i, level in enumerate(self.down)}
        return down | {f"up {last - i}": level["attend"] for i, level in enumerate(self.up)}

    def units(self) -> list[nn.Module]:
        """The parts in which memory is managed: weights gathered, or activations computed again, one at a time."""
        return [m for m in self.modules() if isinstance(m, Block | Attention)]

    def forward(self, x: torch.Tensor, noise_levels: torch.Tensor) -> torch.Tensor:
        height, width = x.shape[-2:]
        skips, emb, own, read = self.way_down(x, noise_levels)
        h = skips[-1]
        emb = emb + self.context(h.mean(dim=(2, 3)))
        act, films = F.silu(emb), []
        for i, level in enumerate(self.up):
            h = h + self.skips[i](skips.pop())
            for block in level["blocks"]:
                h = block(h, act)
            h = level["attend"](h)
            if i == len(self.up) - 1 - self.frame_level:
                films = [f.write(h, r, emb[:, None] + e) for f, r, e in zip(self.frames, read, own)]
            h = level["resize"](h)
            h = F.pixel_shuffle(h, 2) if i < len(self.up) - 1 else h
        out = F.pixel_shuffle(self.last(norm(h)), self.patch)
        for film, (where, _) in zip(films, self.films):
            out[:, where] += film
        return out[..., :height, :width]

    def look(self, x: torch.Tensor, noise_levels: torch.Tensor) -> torch.Tensor:
        """What the lowest level shows of x, the mean over its grid, `(B, widths[-1])`: the way down alone, half of the cost."""
        return self.way_down(x, noise_levels)[0][-1].mean(dim=(2, 3))

    def way_down(self, x: torch.Tensor, noise_levels: torch.Tensor):
        """The maps of every level, the embedding of the noise levels, and of the frames theirs and what was read in them."""
        x = F.pad(x, (0, -x.shape[-1] % self.multiple, 0, -x.shape[-2] % self.multiple))
        emb = self.embedding(noise_levels)
        act = F.silu(emb)
        own = [frames.own(noise_levels[:, levels]) for frames, (_, levels) in zip(self.frames, self.films)]
        h = self.first(F.pixel_unshuffle(x, self.patch).contiguous(memory_format=torch.channels_last))
        maps, read = [], []
        for i, level in enumerate(self.down):
            h = level["resize"](F.pixel_unshuffle(h, 2) if i else h)
            if i == self.frame_level:
                for frames, (where, _), e in zip(self.frames, self.films, own):
                    features, joined = frames.read(x[:, where], emb[:, None] + e)
                    read.append(features)
                    h = h + joined
            for block in level["blocks"]:
                h = block(h, act)
            h = level["attend"](h)
            maps.append(h)
        return maps, emb, own, read
