"""Conflict: two modalities that are given say different things. Whom does what is drawn believe?

With clean conditions no data answer this: a row like that does not exist, and what wins shows what a network listens to. With
noise whose size is known there is a right answer, p(class | both), in which each counts for as much as it can be trusted.
"""

from collections.abc import Iterable

import torch

from ..model import Model
from .coherence import noised


def opponents(labels: torch.Tensor) -> torch.Tensor:
    """For every row another one of another class, `(N,)`: the next there is. ValueError where all are of one class."""
    if len(labels.unique()) < 2:
        raise ValueError(f"{len(labels)} rows of one class cannot be in conflict; give more rows")
    places = torch.arange(len(labels))
    ahead = (places[None] - places[:, None]) % len(labels)  # how far from each row to each other
    return torch.where(labels[None] != labels[:, None], ahead, len(labels)).argmin(1)


def classed(pairs, names: Iterable[str], num: int, start: int = 0) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    """Of `num` rows from `start` on those that have a class and all of some modalities: their values and classes."""
    values, present, labels, _ = pairs.rows(start, num)
    whole = (labels >= 0) & present[:, [list(values).index(n) for n in names]].all(1)
    return {n: v[whole] for n, v in values.items()}, labels[whole]


def conflict(
    model: Model,
    judge,
    pairs,
    given: tuple[str, str],
    target: str,
    num: int,
    seed: int = 0,
    start: int = 0,
    noise: tuple[float, float] = (0.0, 0.0),
    **how,
) -> dict[str, float]:
    """Shares of the target's draws that show the class of the first given modality, of the second, or of neither.

    Of `num` test rows from `start` on those that have both and a class, each against the next one of another class; `noise` with
    these standard deviations is added to the two and known to the sampler. All else is left out. `how` goes to `Model.sample`.
    """
    values, labels = classed(pairs, given, num, start)
    other = opponents(labels)
    shown = {given[0]: values[given[0]], given[1]: values[given[1]][other]}
    shown = {n: noised(shown[n], level, seed, key) for key, (n, level) in enumerate(zip(given, noise))}
    others = [n for n in model.layout.names if n not in (*given, target)]
    levels = {n: level for n, level in zip(given, noise) if level}
    seen = judge.judge(model.sample(shown, len(labels), seed, others, noise=levels, **how)[target])
    first, second = (float((seen == l).double().mean()) for l in (labels, labels[other]))
    return {given[0]: first, given[1]: second, "neither": 1 - first - second}
