"""How honest the spread of repeated samples is: scores of a class histogram.

A condition is sampled many times; the histogram of the classes that a judge sees is the sampler's p(class | condition).
Gneiting and Raftery 2007, doi:10.1198/016214506000001437 (proper scores); Guo et al. 2017, arXiv:1706.04599 (calibration
error).
"""

import torch

from ..model import Model


def histogram(classes: torch.Tensor, count: int) -> torch.Tensor:
    """Classes `(N, R)` of R samples of each condition, -1 for none, to probabilities `(N, count)`.

    Half a sample is added to every class (the Krichevsky-Trofimov estimate), so that no probability is 0.
    """
    hot = torch.nn.functional.one_hot(classes.clamp(min=0), count).double() * (classes >= 0)[..., None]
    return (hot.sum(1) + 0.5) / (hot.sum((1, 2))[:, None] + 0.5 * count)


def calibration(probability: torch.Tensor, labels: torch.Tensor, bins: int = 10) -> dict[str, float]:
    """NLL in nats, Brier score, expected calibration error of the likeliest class, and accuracy, of `(N, K)`."""
    own = probability[torch.arange(len(labels)), labels]
    hot = torch.nn.functional.one_hot(labels, probability.shape[1])
    best, choice = probability.max(1)
    right, error = (choice == labels).double(), 0.0
    place = (best * bins).long().clamp(max=bins - 1)
    for i in range(bins):
        inside = place == i
        if inside.any():
            error += float(inside.double().mean() * (right[inside].mean() - best[inside].mean()).abs())
    return {
        "nll": float(-own.log().mean()),
        "brier": float((probability - hot).square().sum(1).mean()),
        "ece": error,
        "accuracy": float(right.mean()),
    }


def repeated(
    model: Model, judge, given: dict[str, torch.Tensor], target: str, repeats: int, seed: int = 0, noise=None, **how
) -> torch.Tensor:
    """The classes that a judge sees in R draws of one modality for each condition, all others absent, `(N, R)`.

    `given` `{name: (N, C_m, H, W)}`; `noise` `{name: (N,)}`, its standard deviations, where it is noisy.
    """
    num = len(next(iter(given.values())))
    others = [n for n in model.layout.names if n != target and n not in given]
    rows = {n: v.repeat_interleave(repeats, 0) for n, v in given.items()}
    noise = {n: v.expand(num).repeat_interleave(repeats) for n, v in (noise or {}).items()}
    drawn = model.sample(rows, num * repeats, seed, others, noise=noise, **how)
    return judge.judge(drawn[target]).view(num, repeats)


def scores(classes: torch.Tensor, labels: torch.Tensor, count: int) -> dict[str, float]:
    """Coherence, the share of the draws `(N, R)` that are of the condition's class, and `calibration` of their histograms."""
    right = float((classes == labels[:, None]).double().mean())
    return {"coherence": right, **calibration(histogram(classes, count), labels)}
