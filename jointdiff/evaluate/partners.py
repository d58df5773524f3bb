"""Measures that need no classes: does the model know which values belong together?

Of N held-out rows every target value is a candidate for every given one. The true partner's rank among them is 1 for a model
that knows all, (N + 1) / 2 on average by chance; two scores order them:

* likelihood: log p(candidate | given) - log p(candidate), the model's own, so that candidates that are likely by themselves gain
  nothing (the pointwise mutual information, of which the true partner is the best guess for equally frequent pairs);
* samples: the distance of a candidate to a sample drawn from what is given.

For arrays, where values are measurements, the mean of many draws is compared with a linear regression from the same pixel of
what is given, and the 90 % interval of the draws should hold 90 % of the truth.

The Frechet distance of what is drawn from nothing needs features without classes: those of a small classifier that has learned
to tell a few hundred training items apart, each with its moved and noisy copies. Dosovitskiy et al. 2014, arXiv:1406.6909.
"""

import itertools
import json
import pathlib

import numpy as np
import torch
from tqdm import tqdm

from .. import build
from ..data import examples, restored
from ..likelihood import relative_log_prob
from ..model import Model
from ..streams import SampleNoise
from .classifiers import train_small
from .frechet import frechet

EXEMPLARS = 256  # training items that a network is taught to tell apart
DRAWS = 19  # from the smallest to the largest of 19 lies one more of the same kind in 18 of 20 cases: 90 %


def ranks(score: torch.Tensor) -> torch.Tensor:
    """Ranks, from 1, of the diagonal in its row of scores `(N, N)`, the highest first; equal scores share their places."""
    own = score.diagonal()[:, None]
    return 1 + (score > own).sum(1) + ((score == own).sum(1) - 1) / 2


def summary(rank: torch.Tensor) -> dict[str, float]:
    return {"first": float((rank <= 1).float().mean()), "median rank": float(rank.median())}


@torch.no_grad()
def likelihood_ranks(
    model: Model, values: dict, given: str, target: str, seed: int = 0, levels: int = 8, on_step=None
) -> torch.Tensor:
    """By log p(target | given) - log p(target), all other modalities absent.

    N x N x `levels` network evaluations.
    """
    num, sde = len(values[target]), model.denoiser.sde
    x = model.layout.observe({target: values[target]}, num)[0].to(model.device)

    def logs(condition: dict) -> torch.Tensor:
        draw = SampleNoise(seed, num, model.layout.shape, 0, model.device)
        denoise, wanted = model.conditioned(condition, (target,), num, draw)
        with model.denoiser.precision():
            return relative_log_prob(denoise, sde, x, wanted, draw, levels).cpu()

    alone, score = logs({}), []
    for i in range(num):
        score.append(logs({given: values[given][i : i + 1].expand(num, -1, -1, -1)}) - alone)
        if on_step:
            on_step()
    return ranks(torch.stack(score))


def sample_ranks(model: Model, values: dict, given: str, target: str, seed: int = 0, **how) -> torch.Tensor:
    """By the distance to one sample of the target from each given value, all other modalities absent."""
    others = [n for n in model.layout.names if n not in (given, target)]
    drawn = model.sample({given: values[given]}, len(values[given]), seed, others, **how)[target]
    return ranks(-torch.cdist(drawn.flatten(1), values[target].flatten(1)))


def intervals(
    model: Model, known: dict, values: dict, given: list[str], target: str, seed: int = 0, **how
) -> dict[str, float]:
    """Error of the mean of draws, beside linear regression's from rows `known`, and the share inside of the 90 % interval."""
    others = [n for n in model.layout.names if n not in (*given, target)]
    rows = {n: values[n].repeat_interleave(DRAWS, 0) for n in given}
    drawn = model.sample(rows, len(values[target]) * DRAWS, seed, others, **how)[target]
    drawn = drawn.view(-1, DRAWS, *drawn.shape[1:])
    low, high = drawn.amin(1), drawn.amax(1)
    truth = values[target]

    def pixels(rows: dict, names) -> np.ndarray:
        return torch.cat([rows[n].permute(0, 2, 3, 1).flatten(0, 2) for n in names], 1).double().numpy()

    with_one = lambda rows: np.column_stack([pixels(rows, given), np.ones(len(pixels(rows, given)))])
    weights = np.linalg.lstsq(with_one(known), pixels(known, [target]), rcond=None)[0]
    regression = with_one(values) @ weights - pixels(values, [target])
    return {
        "error": float((drawn.mean(1) - truth).square().mean().sqrt()),
        "error of regression": float(np.sqrt((regression**2).mean())),
        "inside of the 90 % interval": float(((truth >= low) & (truth <= high)).float().mean()),
    }


def exemplar_features(values: torch.Tensor, rate: float | None, seed: int = 0, updates: int = 400):
    """The features, `channels -> (B, n)`, of a network that tells the items `values`, stored, apart."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        shift = 0 if rate else 2  # a tone that is moved is another tone
        return train_small(values, torch.arange(len(values)), seed, updates=updates, shift=shift).features


def distances(model: Model, train, test, num: int, seed: int = 0, updates: int = 400, **how) -> list[dict]:
    """The Frechet distance between `num` test items and what is drawn from nothing, and between them and training items."""
    drawn, out = model.sample(num=num, seed=seed, **how), []
    for name, modality in model.modalities.items():
        items, held_out = train.values[name], test.values[name]
        if len(items) < 2 or len(held_out) < 2:
            continue
        features = exemplar_features(items[: min(len(items), EXEMPLARS)], modality.rate, seed, updates)
        real = features(restored(held_out[: min(num, len(held_out))]))
        known = features(restored(items[-min(num, len(items)) :]))
        out.append({"target": name, "drawn": frechet(features(drawn[name]), real), "training": frechet(known, real)})
    return out


def glance(model: Model, test, num: int, seed: int = 0) -> dict[str, float]:
    """How often a sample of the target is nearest to the true partner, for every pair of modalities: quick, for training."""
    out = {}
    for given, target in itertools.permutations(model.layout.names, 2):
        values = examples(test, (given, target), 0, num)
        out[f"{given}_to_{target}"] = summary(sample_ranks(model, values, given, target, seed))["first"]
    return out


def measure(model: Model, num: int = 64, seed: int = 0, show=print, updates: int = 400, **how) -> dict:
    """Every pair of modalities by ranks, every array from all others by error and interval, and Frechet distances.

    `updates` are those of the networks whose features the distances are in.
    """
    config, modalities = model.config, model.modalities
    test, train = build.data(config, modalities, "test"), build.data(config, modalities, "train")
    names, result = (
        model.layout.names,
        {"num": num, "seed": seed, "ranks": [], "intervals": [], "distances": [], "device": str(model.device)},
    )
    pairs = list(itertools.permutations(names, 2))
    show(f"{len(pairs)} directions, the true partner among {num}: chance finds it in {1 / num:.3f}")
    with tqdm(total=len(pairs) * num, unit="row", disable=None) as bar:
        for given, target in pairs:
            values = examples(test, (given, target), 0, num)
            found = {
                "likelihood": likelihood_ranks(model, values, given, target, seed, on_step=bar.update),
                "samples": sample_ranks(model, values, given, target, seed, **how),
            }
            result["ranks"].append({"given": given, "target": target, **{k: summary(r) for k, r in found.items()}})
    for target in names:
        if not getattr(modalities[target], "exact", False) or len(names) < 2:
            continue
        given = [n for n in names if n != target]
        known, values = examples(train, names, 0, 4 * num), examples(test, names, 0, min(num, 16))
        result["intervals"].append({"target": target, **intervals(model, known, values, given, target, seed, **how)})
    result["distances"] = distances(model, train, test, 4 * num, seed, updates, **how)
    return result


def write(result: dict, folder: pathlib.Path) -> None:
    """`partners.json` and `partners.md`."""
    (folder / "partners.json").write_text(json.dumps(result, indent=1) + "\n")
    (folder / "partners.md").write_text(markdown(result))


def markdown(result: dict) -> str:
    """The tables of `measure`."""
    lines = [
        "| given | target | true partner first, by likelihood | median rank | by samples | median rank |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for row in result["ranks"]:
        cells = [f"{row[k]['first']:.3f} | {row[k]['median rank']:g}" for k in ("likelihood", "samples")]
        lines.append(f"| {row['given']} | {row['target']} | {' | '.join(cells)} |")
    lines.append(f"\nAmong {result['num']}; chance: first in {1 / result['num']:.3f}.\n")
    for row in result["intervals"]:
        lines.append(
            f"{row['target']} from all others: error {row['error']:.3f} (linear regression {row['error of regression']:.3f}), "
            f"{row['inside of the 90 % interval']:.3f} of the truth inside of the 90 % interval"
        )
    if result["distances"]:
        lines += ["\n| | Frechet distance of what is drawn from nothing | of training items |", "| --- | --- | --- |"]
        lines += [f"| {r['target']} | {r['drawn']:.2f} | {r['training']:.2f} |" for r in result["distances"]]
    return "\n".join(lines) + "\n"
