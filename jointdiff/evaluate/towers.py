"""Towers: small networks, one a modality, that learn from rows alone, without labels, what belongs together.

Their outputs are unit vectors whose scaled cosine s(x, y) tells a row's partner from others: InfoNCE over all pairs of modalities,
van den Oord et al. 2018, arXiv:1807.03748, equation 4, as in Radford et al. 2021, arXiv:2103.00020, section 2.3. At its optimum
s = log p(x, y) / (p(x) p(y)) up to a constant of either side: how much more often than by chance x and y come together.
"""

import itertools
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import nn
from tqdm import tqdm

from .. import build
from ..data import code, content, kept
from .classifiers import small


class Towers(nn.Module):
    """A small network for each modality, whose outputs, at unit length, are near each other for items that belong together."""

    def __init__(self, channels: dict[str, int], width: int = 64):
        super().__init__()
        self.towers = nn.ModuleDict({name: small(count, width) for name, count in channels.items()})
        self.scale = nn.Parameter(torch.tensor(2.0))  # log of the inverse temperature

    def forward(self, name: str, values: torch.Tensor) -> torch.Tensor:
        """`(N, C_m, H, W)` to `(N, width)`."""
        return F.normalize(self.towers[name](values), dim=1)

    @torch.no_grad()
    def embed(self, name: str, values: torch.Tensor) -> torch.Tensor:
        return torch.cat([self(name, part) for part in values.split(512)])

    @torch.no_grad()
    def agreement(self, rows: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """How well the modalities of each row belong together, `(N,)`: s summed over all pairs of those in `rows`, in nats."""
        seen = [self.embed(n, v) for n, v in rows.items()]
        pairs = [(a * b).sum(1) for a, b in itertools.combinations(seen, 2)]
        return self.scale.exp() * torch.stack(pairs).sum(0) if pairs else torch.zeros(len(seen[0]))

    def loss(self, rows: dict[str, torch.Tensor], present: torch.Tensor) -> torch.Tensor:
        """InfoNCE both ways, the mean over all pairs of modalities: which of the rows that have both is the partner?

        `present` `(N, M)` says which modalities each of the rows has.
        """
        seen, total = [self(n, v) for n, v in rows.items()], []
        for a, b in itertools.combinations(range(len(seen)), 2):
            both = present[:, a] & present[:, b]
            logits = self.scale.exp() * seen[a][both] @ seen[b][both].T
            own = torch.arange(len(logits), device=logits.device)
            if len(own):
                total += [F.cross_entropy(logits, own), F.cross_entropy(logits.T, own)]
        return torch.stack(total).mean() if total else sum(v.sum() for v in seen) * 0.0


def train_towers(
    data, seed: int = 0, updates: int = 600, batch: int = 128, device: torch.device | str = "cpu"
) -> Towers:
    """Towers for rows of `data` (`rows(start, count)`), trained by AdamW; the same weights for the same seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        towers = Towers({n: v.shape[1] for n, v in data.rows(0, 1).values.items()}).to(device)
        optimizer = torch.optim.AdamW(towers.parameters(), lr=2e-3, weight_decay=0.02)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=updates)
        towers.train().to(memory_format=torch.channels_last)
        for step in tqdm(range(updates), desc="training towers", leave=False, disable=None):
            values, present, *_ = data.rows(step * batch, batch)
            loss = towers.loss({n: v.to(device) for n, v in values.items()}, present.to(device))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return towers.eval()


def build_towers(config, pairs, device: torch.device | str = "cpu") -> Towers:
    """The towers of training rows: from the cache under the data root, or trained and put there."""
    from safetensors.torch import load_model, save_model

    def write(folder):
        save_model(train_towers(pairs, config.seed, device=device).cpu(), str(folder / "towers.safetensors"))

    folder = kept(build.cache_root(config), "towers", towers_depend(config, pairs), write)
    towers = Towers({n: v.shape[1] for n, v in pairs.values.items()})
    load_model(towers, str(folder / "towers.safetensors"))
    return towers.eval()


def towers_depend(config, pairs) -> list:
    """All that towers depend on: the seed, the items, and which of them belong together."""
    partners, mirrored = pairs.plan(0)[0], [m.mirror for m in config.modality.values()]
    about = [config.seed, pairs.missing, mirrored, code(train_towers)]
    return about + [[content(pairs.values[n]), content(partners[n])] for n in pairs.values]
