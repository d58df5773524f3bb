"""Representation alignment: the network's lowest level learns to see in noise what a teacher sees in the clean item.

The mean over the grid of the U-Net's lowest level, h, and a teacher's features of a modality's item, f, centred over the
training items, add to the loss

    weight (1 - cos(head(h), f))     where the modality's noise-to-signal ratio is below a bound,

so that what tells items apart is found long before the denoising loss alone would need it. The head is thrown away after
training. Yu et al. 2024, arXiv:2410.06940, equation 8, for whole items in place of patches.

Teachers are the modalities' judges, which have learned classes, or `towers`, which have learned from the same rows, without a
class, which items belong together (see evaluate.towers): what modalities share, they see.
"""

import functools
import hashlib
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import nn
from tqdm import tqdm

from . import build
from .data import Stored, code, content, kept, restored, save_items
from .evaluate.judge import build_judge
from .evaluate.towers import build_towers, towers_depend
from .loss import Times


@torch.no_grad()
def teacher_features(
    look: Callable, values, mirror: bool, dtype: torch.dtype = torch.float32, device: torch.device | str = "cpu"
) -> torch.Tensor:
    """Features of stored items `(N, C_m, H, W)`, with `mirror` the mean with their mirror image's, centred, `(N, D)` float16.

    `look` makes features of channels; `dtype` is the precision in which it looks, and `device` where.
    """
    parts = []
    with torch.autocast(torch.device(device).type, dtype, enabled=dtype != torch.float32):
        for first in tqdm(range(0, len(values), 500), desc="teacher", unit="part", leave=False, disable=None):
            x = restored(values[first : first + 500]).to(device, memory_format=torch.channels_last)
            seen = look(x)
            parts.append(((seen + look(x.flip(3))) / 2 if mirror else seen).cpu())
    features = torch.cat(parts).float()
    return F.normalize(features - features.mean(0), dim=1).half()


class Alignment(nn.Module):
    """`(seen (B, width), wanted, K of (B, D))` to the losses of every row, `(B, K)`."""

    def __init__(self, width: int, features: list[int]):
        super().__init__()
        self.heads = nn.ModuleList(
            nn.Sequential(nn.Linear(width, 2 * width), nn.SiLU(), nn.Linear(2 * width, n)) for n in features
        )

    def forward(self, seen: torch.Tensor, wanted: list[torch.Tensor]) -> torch.Tensor:
        return torch.stack([1 - F.cosine_similarity(head(seen), f, dim=1) for head, f in zip(self.heads, wanted)], 1)


class Teacher:
    """What the teachers of `config.loss.align.modality` see in every training item, looked up once and kept."""

    def __init__(self, config, modalities, pairs, dtype: torch.dtype, device: torch.device, show=print):
        c = config.loss.align
        self.config, self.modalities, self.dtype, self.device, self.show = config, modalities, dtype, device, show
        self.names, self.below = c.modality.split("+"), c.below
        unknown = [n for n in self.names if n not in modalities]
        if unknown:
            raise ValueError(
                f"config.loss.align.modality = {c.modality!r} names {', '.join(unknown)}; "
                f"this config has {', '.join(modalities)}"
            )
        if c.teacher not in ("judge", "towers"):
            raise ValueError(f"config.loss.align.teacher = {c.teacher!r}; there are 'judge' and 'towers'")
        self.count, self.columns = len(modalities), [list(modalities).index(n) for n in self.names]
        self.scales = torch.tensor([config.modality[n].scale for n in self.names])
        towers = c.teacher == "towers"
        self.features = self.by_towers(pairs) if towers else [self.by_judge(n, pairs.values[n]) for n in self.names]

    def by_judge(self, name: str, values) -> Stored:
        self.show(f"looking at {name} as its judge does")
        judge = build_judge(self.config, name, self.modalities[name])
        if not hasattr(judge, "features"):
            raise ValueError(
                f"{name!r} is read, not classified: it has no features to align to; "
                "config.loss.align.teacher=towers needs none"
            )
        weights = hashlib.sha256(b"".join(v.numpy().tobytes() for v in judge.state_dict().values())).hexdigest()

        def write(folder):
            judge.to(self.device, memory_format=torch.channels_last)
            self.look(folder, name, judge.features, values)

        about = [weights, content(values), self.config.modality[name].mirror, code(teacher_features, type(judge))]
        return self.kept(about, write, [name])[0]

    def by_towers(self, pairs) -> list[Stored]:
        """The towers of all modalities look, trained when there is nothing that they have seen in these rows."""

        def write(folder):
            self.show("looking as towers do, which learn what belongs together")
            towers = build_towers(self.config, pairs, self.device).to(self.device)
            for name in self.names:
                self.look(folder, name, functools.partial(towers.embed, name), pairs.values[name])

        return self.kept([code(teacher_features), *towers_depend(self.config, pairs)], write, self.names)

    def look(self, folder, name: str, look: Callable, values) -> None:
        features = teacher_features(look, values, self.config.modality[name].mirror, self.dtype, self.device)
        save_items(folder / f"{name}.npy", len(values), [features])

    def kept(self, about: list, write: Callable, names: list[str]) -> list[Stored]:
        root, about = build.cache_root(self.config), [*about, names, str(self.dtype), self.device.type]
        return [Stored(kept(root, "features", about, write) / f"{n}.npy") for n in names]

    def head(self, network: nn.Module, seed: int) -> Alignment:
        """New heads for what the network's lowest level shows."""
        if not hasattr(network, "context"):
            raise ValueError(f"{type(network).__name__} has no level that alignment could teach; the U-Net has")
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return Alignment(network.context.in_features, [f.shape[1] for f in self.features])

    def alone(self, rows: int, log_ratio: tuple[float, float], generator: torch.Generator) -> Times:
        """Times of rows to be only looked at: each has one of the modalities alone, in turn; half, and what would be too noisy to
        count, are without noise."""
        mean, std = log_ratio
        turn = torch.arange(rows) % len(self.columns)
        ratio = (mean + std * torch.randn(rows, generator=generator)).exp()
        clean = (torch.rand(rows, generator=generator) < 0.5) | (ratio / self.scales[turn] >= self.below)
        column = torch.tensor(self.columns)[turn][:, None]
        there = torch.zeros(rows, self.count, dtype=torch.bool).scatter_(1, column, True)
        ratio = torch.where(there, torch.where(clean, 0.0, ratio)[:, None], 1.0)
        return Times(ratio, there & False, ~there, torch.zeros(rows, dtype=torch.long))

    def wanted(self, index: dict, times: Times, rows: slice) -> tuple[list[torch.Tensor], torch.Tensor]:
        """The features of some rows, K of `(B, D)`, and which of them count, `(B, K)`: of items there, with little noise."""
        items = torch.stack([index[n][rows] for n in self.names], 1)
        ratio = times.ratio[:, self.columns] / self.scales
        counts = (items >= 0) & ~times.absent[:, self.columns] & (ratio < self.below)
        features = [f[i.clamp(min=0)].float() for f, i in zip(self.features, items.T)]
        return features, counts.float()
