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

import math

import torch
import torch.nn.functional as F
from torch import nn

from .embedding import LevelEmbedding


class Conv(nn.Module):
    """A k x k convolution, k odd, whose weight is a matrix `(C_out, k k C_in)`; viewed as channels-last kernels."""

    def __init__(self, c_in: int, c_out: int, k: int = 1, zero: bool = False):
        super().__init__()
        self.shape = (c_out, k, k, c_in)
        self.weight = nn.Parameter(torch.empty(c_out, k * k * c_in))
        self.bias = nn.Parameter(torch.zeros(c_out))
        bound = 0.0 if zero else math.sqrt(3 / (k * k * c_in))
        nn.init.uniform_(self.weight, -bound, bound)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.conv2d(x, self.weight.view(self.shape).permute(0, 3, 1, 2), self.bias, padding=self.shape[1] // 2)


def norm(x: torch.Tensor) -> torch.Tensor:
    """Layer normalisation over the channels of `(B, C, H, W)`."""
    return F.layer_norm(x.permute(0, 2, 3, 1), (x.shape[1],)).permute(0, 3, 1, 2)


class Block(nn.Module):
    """`x + gate * conv(silu(conv(silu(norm(x) (1 + scale) + shift))))`; scale, shift and gate come from `emb`."""

    def __init__(self, width: int, emb_width: int, dropout: float):
        super().__init__()
        self.modulation = nn.Linear(emb_width, 3 * width)
        nn.init.zeros_(self.modulation.weight)
        nn.init.zeros_(self.modulation.bias)
        with torch.no_grad():
            self.modulation.bias[2 * width :] = 0.3
        self.conv1, self.conv2 = Conv(width, width, 3), Conv(width, width, 3)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: torch.Tensor, emb: torch.Tensor) -> torch.Tensor:
        scale, shift, gate = self.modulation(emb)[:, :, None, None].chunk(3, dim=1)
        h = self.conv1(F.silu(norm(x) * (1 + scale) + shift))
        return x + gate * self.conv2(self.dropout(F.silu(h)))


class Attention(nn.Module):
    """Self-attention over the grid, with a residual connection that starts at 0."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        if width % heads:
            raise ValueError(f"{heads} attention heads do not divide a width of {width}")
        self.heads = heads
        self.qkv, self.out = Conv(width, 3 * width), Conv(width, width, zero=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        b, c, h, w = x.shape
        qkv = self.qkv(norm(x)).permute(0, 2, 3, 1).reshape(b, h * w, 3, self.heads, c // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        # written out: on a CPU the fused kernel's backward takes 8 times as long for the few positions of a low level
        weight = (q * q.shape[-1] ** -0.5 @ k.transpose(-1, -2)).softmax(-1)
        y = (weight @ v).transpose(1, 2).reshape(b, h, w, c)
        return x + self.out(y.permute(0, 3, 1, 2))


class UNet(nn.Module):
    """U-Net for any number of channels and modalities on any grid, also H != W.

    Args:
        channels, modalities: C of the joint tensor and M noise levels.
        widths: channels of each level; each level halves the grid.
        blocks: residual blocks of each level, the same number down and up.
        attention: whether each level ends in self-attention.
        patch: side of the patches; the network's first level is the grid divided by it.
        heads, dropout: of attention, of the blocks.

    A grid that the levels do not divide is padded with zeros and cut again.
    """

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
    ):
        super().__init__()
        if not len(widths) == len(blocks) == len(attention):
            raise ValueError(
                f"widths, blocks and attention name {len(widths)}, {len(blocks)} and {len(attention)} "
                "levels; expected the same number"
            )
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

    def by_channel(self) -> dict[str, tuple[tuple, int, str]]:
        """The weights that belong to channels or parts: `{name: (shape to view it in, axis, "channels" or "parts")}`."""
        c, pixels = self.channels, self.patch**2
        return {
            "first.weight": ((-1, 9, c, pixels), 2, "channels"),
            "last.weight": ((c, -1), 0, "channels"),
            "last.bias": ((c, pixels), 0, "channels"),
            "embedding.layers.0.weight": ((self.embedding.layers[0].out_features, self.modalities, -1), 1, "parts"),
        }

    def units(self) -> list[nn.Module]:
        """The parts in which memory is managed: weights gathered, or activations computed again, one at a time."""
        return [m for m in self.modules() if isinstance(m, Block | Attention)]

    def forward(self, x: torch.Tensor, noise_levels: torch.Tensor) -> torch.Tensor:
        height, width = x.shape[-2:]
        x = F.pad(x, (0, -width % self.multiple, 0, -height % self.multiple))
        emb = self.embedding(noise_levels)
        act = F.silu(emb)
        h = self.first(F.pixel_unshuffle(x, self.patch).contiguous(memory_format=torch.channels_last))
        skips = []
        for i, level in enumerate(self.down):
            h = level["resize"](F.pixel_unshuffle(h, 2) if i else h)
            for block in level["blocks"]:
                h = block(h, act)
            h = level["attend"](h)
            skips.append(h)
        act = F.silu(emb + self.context(h.mean(dim=(2, 3))))
        for i, level in enumerate(self.up):
            h = h + self.skips[i](skips.pop())
            for block in level["blocks"]:
                h = block(h, act)
            h = level["resize"](level["attend"](h))
            h = F.pixel_shuffle(h, 2) if i < len(self.up) - 1 else h
        return F.pixel_shuffle(self.last(norm(h)), self.patch)[..., :height, :width]
