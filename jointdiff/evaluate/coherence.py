"""Coherence: does what is generated show the class of what was given?

Rows of a scene are about more than a class: two digits and their sum belong together when some world shows all three.

A direction says for every modality whether it is given, generated or left out; M modalities have 3^M - 2^M directions
in which something is generated. Conditional coherence is measured for each generated modality: how often its judge finds
the condition's class. Joint coherence is how often the judges of all generated modalities agree with each other; for a
direction without a condition it is the only one. Always read it beside the ceilings, the judges' accuracy on real data.
"""

import dataclasses
import itertools
from collections.abc import Callable, Mapping

import torch

from ..data import Pairs, shown
from ..model import Model
from ..streams import stream


@dataclasses.dataclass(frozen=True)
class Direction:
    given: tuple[str, ...]
    generated: tuple[str, ...]
    left_out: tuple[str, ...] = ()

    def __str__(self):
        return f"{' + '.join(self.given) or 'nothing'} -> {' + '.join(self.generated)}"


def directions(names: tuple[str, ...], leave_out: bool = True) -> list[Direction]:
    """All directions with something generated: 3^M - 2^M, or 2^M - 1 when nothing may be left out."""
    roles = itertools.product("agl" if leave_out else "ag", repeat=len(names))  # a: generated, g: given, l: left out
    out = []
    for role in roles:
        pick = {r: tuple(n for n, k in zip(names, role) if k == r) for r in "gal"}
        if pick["a"]:
            out.append(Direction(pick["g"], pick["a"], pick["l"]))
    return sorted(out, key=lambda d: (len(d.left_out), len(d.given)))


def coherence(
    model: Model,
    judges: dict,
    pairs: Pairs,
    direction: Direction,
    num: int,
    seed: int = 0,
    start: int = 0,
    on_step: Callable | None = None,
    noise: Mapping[str, float] | None = None,
    **how,
) -> dict[str, float]:
    """One direction's figures over `num` rows of `pairs` from row `start` on.

    Returns each generated modality's coherence with the condition (when there is one), and "joint": the share of samples
    whose judges all agree, with the condition too when there is one. To what is given, `noise` of these standard deviations is
    added, and known to the sampler. `how` goes to `Model.sample`.
    """
    values, _, labels, _ = pairs.rows(start, num)
    given = {n: noised(values[n], (noise or {}).get(n, 0.0), seed, i) for i, n in enumerate(direction.given)}
    drawn = model.sample(given, num=num, seed=seed, leave_out=direction.left_out, on_step=on_step, noise=noise, **how)
    seen = {n: judges[n].judge(drawn[n]) for n in direction.generated if n in judges}
    known = {n: shown(pairs, n, labels) for n in direction.given if n in pairs.shows}
    out = {n: fitting({**known, n: s}, pairs.shows) for n, s in seen.items()} if known else {}
    if seen:
        out["joint"] = fitting({**known, **seen}, pairs.shows)
    return {n: float(right.float().mean()) for n, right in out.items()}


def noised(values: torch.Tensor, level: float, seed: int, key: int) -> torch.Tensor:
    """The values with normal noise of this standard deviation, from a stream of its own for every key."""
    return values + level * torch.randn(values.shape, generator=stream(seed, 92, key)) if level else values


def fitting(read: Mapping[str, torch.Tensor], shows: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """Which samples some class, or world, shows all that was read of, `(B,)` bool; read `{name: (B,)}`, -1 fits nothing."""
    return torch.stack([shows[n] == r[:, None] for n, r in read.items()]).all(0).any(1)
