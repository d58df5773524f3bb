"""Drawing in turns: first think, then draw.

    p(a, b | y) = p(a | y) p(b | a, y)

is the chain rule, so modalities that are drawn one after the other, each given what came before and with what comes later
absent, have the same distribution as those drawn at once, where the network is right. Where it is not, a turn at a time may be
easier: a rationale before an answer, a picture before a film.

    p(b, c | a) = p(b | a) p(c | a)

holds where a is all that b and c share. Then they may be drawn *apart*, none seeing the others: a set of names in the order. What
is known of the data so, the network need not have learned.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from .layout import Layout
from .results import Samples

Turn = tuple[tuple[str, ...], ...]  # names that are drawn together, and these groups apart from each other


def turns(layout: Layout, order: Iterable, given: Iterable[str], left_out: Iterable[str]) -> list[Turn]:
    """What is drawn in each turn, what `order` does not name last.

    `order` holds names; tuples of names that are drawn together; and sets of either that are drawn apart.
    """
    out = []
    for turn in order:
        groups = turn if isinstance(turn, (set, frozenset)) else [turn]
        named = [layout.check((group,) if isinstance(group, str) else group) for group in groups]
        out.append(tuple(sorted(named, key=lambda group: [layout.names.index(n) for n in group])))
    named, known = [n for turn in out for group in turn for n in group], {*given, *left_out}
    for name in named:
        if name in known:
            raise ValueError(f"{name!r} stands in the order, and is given or left out")
        if named.count(name) > 1:
            raise ValueError(f"{name!r} stands twice in the order")
    rest = tuple(n for n in layout.names if n not in known and n not in named)
    return [*out, (rest,)] if rest else out


def steps_each(steps: int | Sequence[int] | None, plan: list[Turn]) -> list[int | None]:
    """The sampler's steps in every turn: `steps` is a number for all of them, or a sequence of one each."""
    if not isinstance(steps, Sequence):
        return [steps] * len(plan)
    if len(steps) != len(plan):
        raise ValueError(f"{len(steps)} numbers of steps for {len(plan)} turns; expected one, or one each")
    return list(steps)


def in_turns(
    sample: Callable[..., Samples],
    layout: Layout,
    order: Iterable,
    given: Mapping[str, Any],
    leave_out,
    steps=None,
    **how,
):
    """`Samples` of `Model.sample` with an order; `how` goes to `sample`, one call a group, whose noise is the group's own."""
    plan = turns(layout, order, given, leave_out)
    values, parts, waiting = dict(given), [], {n for turn in plan for group in turn for n in group}
    each = steps_each(steps, plan)
    for turn, count in zip(plan, each):
        drawn = {}
        for group in turn:
            common = dict(leave_out=[*leave_out, *waiting.difference(group)], turn=len(parts), steps=count, **how)
            parts.append(sample(values, **common))
            drawn |= {n: parts[-1][n] for n in group}
        waiting -= drawn.keys()
        values = {key: v for key, v in values.items() if layout.where(key)[0] not in drawn} | drawn
    channels = {n: v for part in parts for n, v in part.channels.items()}
    modalities = {n: m for part in parts for n, m in part.modalities.items()}
    info = {**parts[-1].info, "leave_out": list(leave_out)}
    if len(set(each)) > 1:
        info["steps"] = each
    info["order"] = [list(turn[0]) if len(turn) == 1 else [list(group) for group in turn] for turn in plan]
    for figure in ("evaluations", "seconds"):
        info[figure] = sum(part.info[figure] for part in parts)
    return Samples({n: channels[n] for n in layout.names if n in channels}, tuple(given), modalities, info)
