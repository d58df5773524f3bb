"""Representation alignment: the network's lowest level learns to see in noise what a classifier sees in the clean item.

The mean over the grid of the U-Net's lowest level, h, and a teacher's features of one modality's item, f (a judge's, centred
over the training items), add to the loss

    weight (1 - cos(head(h), f))     where the modality's noise-to-signal ratio is below a bound,

so that what tells items apart is found long before the denoising loss alone would need it. The head is thrown away after
training. Yu et al. 2024, arXiv:2410.06940, equation 8, for whole items in place of patches.
"""

import hashlib

import torch
import torch.nn.functional as F
from torch import nn
from tqdm import tqdm

from . import build
from .data import Stored, code, content, kept, restored, save_items
from .evaluate.judge import build_judge
from .loss import Times


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


class Teacher:
    """What the judge of `config.loss.align.modality` sees in every training item, looked up once and kept."""

    def __init__(self, config, modalities, pairs, dtype: torch.dtype, show=print):
        self.name, self.below = config.loss.align.modality, config.loss.align.below
        if self.name not in modalities:
            raise ValueError(f"config.loss.align.modality is {self.name!r}; this config has {', '.join(modalities)}")
        show(f"looking at {self.name} as its judge does")
        judge = build_judge(config, self.name, modalities[self.name])
        if not hasattr(judge, "features"):
            raise ValueError(f"{self.name!r} is read, not classified: it has no features to align to")
        values, self.column = pairs.values[self.name], list(modalities).index(self.name)
        self.scale = config.modality[self.name].scale

        def write(folder):
            save_items(folder / "items.npy", len(values), [teacher_features(judge, values, dtype)])

        weights = hashlib.sha256(b"".join(v.numpy().tobytes() for v in judge.state_dict().values())).hexdigest()
        about = [weights, content(values), str(dtype), code(teacher_features, type(judge))]
        self.features = Stored(kept(build.cache_root(config), "features", about, write) / "items.npy")

    def head(self, network: nn.Module, seed: int) -> Alignment:
        """A new head for what the network's lowest level shows."""
        if not hasattr(network, "context"):
            raise ValueError(f"{type(network).__name__} has no level that alignment could teach; the U-Net has")
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return Alignment(network.context.in_features, self.features.shape[1])

    def wanted(self, index: dict[str, torch.Tensor], times: Times, rows: slice) -> tuple[torch.Tensor, torch.Tensor]:
        """The features of some rows, `(B, D)`, and which of them count, `(B,)`: those that have the item, with little noise."""
        item, ratio = index[self.name][rows], times.ratio[:, self.column] / self.scale
        counts = (item >= 0) & ~times.absent[:, self.column] & (ratio < self.below)
        return self.features[item.clamp(min=0)].float(), counts.float()
