"""What U-Nets are made of: convolutions, blocks that the noise levels modulate, and attention over the grid."""

import math

import torch
import torch.nn.functional as F
from torch import nn


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


def attend(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    """`softmax(q k^T / sqrt(d)) v` of `(B, heads, N, d)`."""
    if q.is_cuda:
        return F.scaled_dot_product_attention(q, k, v)
    # written out: on a CPU the fused kernel's backward takes 8 times as long for the few positions of a low level
    return (q * q.shape[-1] ** -0.5 @ k.transpose(-1, -2)).softmax(-1) @ v


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
        y = attend(q, k, v).transpose(1, 2).reshape(b, h, w, c)
        return x + self.out(y.permute(0, 3, 1, 2))
