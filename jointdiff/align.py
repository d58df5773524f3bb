"""Representation alignment: the network's lowest level learns to see in noise what a classifier sees in the clean item.

The mean over the grid of the U-Net's lowest level, h, and a teacher's features of one modality's item, f (a judge's, centred
over the training items), add to the loss

    weight (1 - cos(head(h), f))     where the modality's noise-to-signal ratio is below a bound,

so that what tells items apart is found long before the denoising loss alone would need it. The head is thrown away after
training. Yu et al. 2024, arXiv:2410.06940, equation 8, for whole items in place of patches.
"""

import torch
import torch.nn.functional as F
from torch import nn
from tqdm import tqdm

from .data import restored


@torch.no_grad()
def teacher_features(judge, values, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """Features of stored items `(N, C_m, H, W)` and of their mirror images, the mean of both, centred, `(N, D)` float16.

    `dtype` is the precision in which the judge looks.
    """
    judge, parts = judge.to(memory_format=torch.channels_last), []
    with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
        for first in tqdm(range(0, len(values), 500), desc="teacher", unit="part", leave=False, disable=None):
            x = restored(values[first : first + 500]).contiguous(memory_format=torch.channels_last)
            parts.append((judge.features(x) + judge.features(x.flip(3))) / 2)
    features = torch.cat(parts).float()
    return F.normalize(features - features.mean(0), dim=1).half()


class Alignment(nn.Module):
    """`(seen (B, width), wanted (B, D))` to the loss of every row, `(B,)`."""

    def __init__(self, width: int, features: int):
        super().__init__()
        self.head = nn.Sequential(nn.Linear(width, 2 * width), nn.SiLU(), nn.Linear(2 * width, features))

    def forward(self, seen: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
        return 1 - F.cosine_similarity(self.head(seen), wanted, dim=1)
