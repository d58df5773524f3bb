"""Do modalities meet inside a network, and what is known there? Measures of what `Model.maps` gives.

Two modalities meet where an item of one is nearer to items of its own class in the other than to the rest (retrieval), and a class
is known where a linear layer tells it (a probe). Beside them stand `towers` that have learned nothing but to meet.
"""

import torch
import torch.nn.functional as F

from ..streams import stream


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
