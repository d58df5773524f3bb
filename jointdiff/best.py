"""Best of n: think several times, and keep what most trials, or what was given, speak for.

vote         the answer that most of n draws agree on; of what is no text, the draw that is closest to all others
             (self-consistency: Wang et al. 2022, arXiv:2203.11171, where the draws are chains of thought)
likelihood   the draw under which the network finds what was given the likeliest, p(given | draw)
a function   the draw that it scores highest, such as `Towers.agreement`: whose modalities belong together best, for small
             networks that have learned nothing else (as Ramesh et al. 2021, arXiv:2102.12092, section 2.6, rerank by CLIP)
"""

import functools
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch

from . import likelihood
from .results import Samples
from .streams import SampleNoise

WAYS = ("vote", "likelihood")


def best(
    model,
    given: Mapping[str, Any] | None = None,
    num: int | None = None,
    of: int = 8,
    by: str | Callable[[Mapping[str, torch.Tensor]], torch.Tensor] = "vote",
    target: str | None = None,
    seed: int = 0,
    *,
    order: Iterable | None = None,
    levels: int = 16,
    **how,
) -> Samples:
    """For each of `num` samples the best of `of` draws, as `Samples`; `info["share"]` says how many of them agree with it.

    Args:
        given, num, seed, order, how: as `Model.sample` takes them.
        by: "vote", "likelihood", or a function of N draws, channels by name, to scores `(N,)`, whose softmax is the share.
        target: the modality that is voted on, or whose likelihood counts; the one drawn last, when there is one alone.
        levels: noise levels at which likelihoods are compared.
    """
    if not (callable(by) or by in WAYS) or of < 1:
        raise ValueError(f"the best of {of} by {by!r}; expected one or more, by {' or '.join(WAYS)} or a function")
    given = {name: model.encode(name, value) for name, value in (given or {}).items()}
    if by == "likelihood" and not given:
        raise ValueError("by likelihood something must be given: it is what the draws are to explain")
    num = max([len(v) for v in given.values()], default=1) if num is None else num
    rows = {n: v.expand(num, -1, -1, -1).repeat_interleave(of, 0) for n, v in given.items()}
    drawn = model.sample(rows, num * of, seed, order=order, **how)
    if callable(by):
        score = by(drawn)
        share = score.view(num, of).softmax(1).flatten()
    else:
        target = target or last(model, drawn)
        model.layout.check([target])
        if target in given or target not in drawn:
            raise ValueError(f"{target!r} is not drawn; drawn are {', '.join(n for n in drawn if n not in given)}")
        score, share = (
            votes(drawn, target, of)
            if by == "vote"
            else explained(model, rows, drawn[target], target, seed, levels, of)
        )
    chosen = torch.arange(num) * of + score.view(num, of).argmax(1)
    name = getattr(by, "__name__", str(by))
    info = {**drawn.info, "num": num, "best_of": of, "by": name, "share": share[chosen].tolist()}
    info["seeds"] = [drawn.info["seeds"][i] for i in chosen]
    info["noise"] = {n: [each[i] for i in chosen] for n, each in drawn.info["noise"].items()}
    info["evaluations"] = drawn.info["evaluations"] * of + (levels if by == "likelihood" else 0) * of
    return Samples({n: v[chosen] for n, v in drawn.items()}, drawn.given, drawn.modalities, info)


def last(model, drawn: Samples) -> str:
    """The modality drawn last; ValueError when there are several."""
    names = [n for n in drawn if n not in model.layout.whole(drawn.given)]
    names = drawn.info.get("order", [names])[-1]
    if len(names) > 1:
        raise ValueError(f"name the target of the vote: {', '.join(map(str, names))} share the last turn")
    return names[0]


def votes(drawn: Samples, target: str, of: int) -> tuple[torch.Tensor, torch.Tensor]:
    """How many of its row's `of` draws agree with each, as a score, and as a share: `(num of,)` each."""
    if drawn.kind(target) == "text":
        texts = drawn.texts(target)
        count = [Counter(texts[i : i + of]) for i in range(0, len(texts), of)]
        score = torch.tensor([float(count[i // of][text]) for i, text in enumerate(texts)])
        return score, score / of
    x = drawn[target].flatten(1).view(-1, of, drawn[target][0].numel())
    distance = torch.cdist(x, x)
    score = -distance.mean(2).flatten()
    nearer = distance < distance.flatten(1).median(1).values[:, None, None]  # than two draws usually are
    return score, nearer.float().mean(2).flatten()


def explained(model, rows, values, target, seed, levels, of) -> tuple[torch.Tensor, torch.Tensor]:
    """log p(given | draw) up to a constant of what is given, and the share of each among its row's draws, `(num of,)`."""
    logs = []
    for first in range(0, len(values), 64):
        part = {n: v[first : first + 64] for n, v in rows.items()}
        count = len(values[first : first + 64])
        # equal noise for all draws: they are compared with each other
        one = SampleNoise(seed, 1, model.layout.shape, 0, model.device, (3,))
        same = functools.partial(repeated, one, count)
        denoise, wanted = model.conditioned({target: values[first : first + 64]}, part, count, same)
        x = model.layout.observe(part, count)[0].to(model.device)
        logs.append(likelihood.relative_log_prob(denoise, model.denoiser.sde, x, wanted, same, levels).cpu())
    log = torch.cat(logs)
    return log, log.view(-1, of).softmax(1).flatten()


def repeated(one: SampleNoise, count: int) -> torch.Tensor:
    """The next noise of one sample, for all of `count`."""
    return one().expand(count, -1, -1, -1)
