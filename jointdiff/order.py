"""Drawing in turns: first think, then draw.

    p(a, b | y) = p(a | y) p(b | a, y)

is the chain rule, so modalities that are drawn one after the other, each given what came before and with what comes later
absent, have the same distribution as those drawn at once, where the network is right. Where it is not, a turn at a time may be
easier: a rationale before an answer, a picture before a film.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from .layout import Layout
from .results import Samples


def turns(layout: Layout, order: Iterable, given: Iterable[str], left_out: Iterable[str]) -> list[tuple[str, ...]]:
    """What is drawn in each turn: `order` holds names, or tuples of names that share a turn; what it does not name comes last."""
    out = [layout.check((turn,) if isinstance(turn, str) else turn) for turn in order]
    named, known = [n for turn in out for n in turn], {*given, *left_out}
    for name in named:
        if name in known:
            raise ValueError(f"{name!r} stands in the order, and is given or left out")
        if named.count(name) > 1:
            raise ValueError(f"{name!r} stands twice in the order")
    rest = tuple(n for n in layout.names if n not in known and n not in named)
    return [*out, rest] if rest else out


def in_turns(
    sample: Callable[..., Samples], layout: Layout, order: Iterable, given: Mapping[str, Any], leave_out, **how
):
    """`Samples` of `Model.sample` with an order; `how` goes to `sample`, one call a turn, whose noise is the turn's own."""
    plan = turns(layout, order, given, leave_out)
    values, parts = dict(given), []
    for number, names in enumerate(plan):
        later = [n for turn in plan[number + 1 :] for n in turn]
        parts.append(sample(values, leave_out=[*leave_out, *later], turn=number, **how))
        values = {key: v for key, v in values.items() if layout.where(key)[0] not in names}
        values |= {n: parts[-1][n] for n in names}
    last = parts[-1]
    info = {**last.info, "order": [list(names) for names in plan]}
    for figure in ("evaluations", "seconds"):
        info[figure] = sum(part.info[figure] for part in parts)
    return Samples(last.channels, tuple(given), last.modalities, info)
