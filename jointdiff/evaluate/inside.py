"""Do modalities meet inside a network, and what is known there? Measures of what `Model.maps` gives.

Two modalities meet where an item of one is nearer to items of its own class in the other than to the rest (retrieval), and a class
is known where a linear layer tells it (a probe). Beside them stand towers, one a modality, that have learned nothing but to meet:
InfoNCE over all pairs of modalities, van den Oord et al. 2018, arXiv:1807.03748, equation 4, as in Radford et al. 2021,
arXiv:2103.00020, section 2.3.
"""

import itertools

import torch
import torch.nn.functional as F
from torch import nn
from tqdm import tqdm

from ..streams import stream
from .classifiers import small


def recall(query: torch.Tensor, index: torch.Tensor, query_labels, index_labels, at=(1, 5, 10)) -> dict[str, float]:
    """How often one of the k nearest of an index is of the query's class, and how often it is its own row; `(N, D)` each.

    By the cosine, each side centred first: what a modality has in common says nothing of an item.
    """
    unit = lambda v: F.normalize(v - v.mean(0), dim=1)
    order = (unit(query) @ unit(index).T).topk(max(at), 1).indices
    of_class = index_labels[order] == query_labels[:, None]
    own = order == torch.arange(len(query))[:, None]
    out = {f"class at {k}": float(of_class[:, :k].any(1).double().mean()) for k in at}
    return out | {f"item at {k}": float(own[:, :k].any(1).double().mean()) for k in at}


def probe(
    known: torch.Tensor, labels: torch.Tensor, seen: torch.Tensor, wanted: torch.Tensor, ridge: float = 1e-3
) -> float:
    """Accuracy of a linear layer, by ridge regression to one-hot classes from `known` `(N, D)`, on `seen`.

    `ridge` is in units of the features' mean variance.
    """
    mean, spread = known.mean(0), known.std(0).clamp(min=1e-6)
    one = lambda v: torch.cat([(v - mean) / spread, torch.ones(len(v), 1)], 1).double()
    x, y = one(known), F.one_hot(labels).double()
    weights = torch.linalg.solve(x.T @ x + ridge * len(x) * torch.eye(x.shape[1], dtype=x.dtype), x.T @ y)
    return float(((one(seen) @ weights).argmax(1) == wanted).double().mean())


def alike(a: torch.Tensor, b: torch.Tensor) -> float:
    """Linear centred kernel alignment of two sets of features of the same rows, `(N, D)` and `(N, E)`, 0 to 1.

    Kornblith et al. 2019, arXiv:1905.00414, equation 3; it does not depend on rotations and scales of either. With few rows for
    many features it is high by itself: compare with `alike_by_chance`.
    """
    a, b = (v.double() - v.double().mean(0) for v in (a, b))
    return float((b.T @ a).norm() ** 2 / ((a.T @ a).norm() * (b.T @ b).norm()))


def alike_by_chance(
    a: torch.Tensor, b: torch.Tensor, labels: torch.Tensor, draws: int = 199, seed: int = 0
) -> tuple[float, torch.Tensor]:
    """p, and `(draws,)` alignments where every class of `a` stands beside another class of `b`, by a random permutation of them.

    Rows of `a` and `b` show the same `labels` `(N,)`; a permuted row gets a random row of its new class. p is the share of the
    permutations, the true one included, that are no less alike than the true one.
    """
    generator, classes = stream(seed, 94), labels.unique()
    members = {int(k): (labels == k).nonzero()[:, 0] for k in classes}
    own, out = alike(a, b), []
    for _ in range(draws):
        to = classes[torch.randperm(len(classes), generator=generator)]
        new = {int(k): members[int(t)] for k, t in zip(classes, to)}
        pick = [new[int(k)][torch.randint(len(new[int(k)]), (1,), generator=generator)] for k in labels]
        out.append(alike(a, b[torch.cat(pick)]))
    chance = torch.tensor(out)
    return float((1 + (chance >= own).sum()) / (1 + draws)), chance


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
