"""Memorisation: are samples nearer to the training items than real items that training never saw?

Two measures, of items compared pixel by pixel in their channels:

* z, of the distances to the nearest training item, of samples against held-out items, by ranks (Mann and Whitney); far below 0 the
  model copies, far above 0 it is less like the data than the data are. Meehan et al. 2020, arXiv:2004.05675, section 3;
* how often a sample is nearer to some of n training items than to any of n held-out ones: .5 for a model that knows no more of the
  ones than of the others, whatever else is wrong with its samples.
"""

import numpy as np
import PIL.Image
import torch
from ml_collections import ConfigDict
from scipy.stats import mannwhitneyu

from .. import build
from ..data import restored
from ..model import Model
from ..report import cells, titled
from ..streams import stream


def nearest(items: torch.Tensor, among: torch.Tensor, chunk: int = 4096) -> tuple[torch.Tensor, torch.Tensor]:
    """The root mean squared difference to the nearest of `among`, stored or not, for each item, and its place: `(N,)` each."""
    best, place = torch.full((len(items),), torch.inf), torch.zeros(len(items), dtype=torch.long)
    flat = items.flatten(1)
    for first in range(0, len(among), chunk):
        apart, at = torch.cdist(flat, restored(among[first : first + chunk]).flatten(1)).min(1)
        place = torch.where(apart < best, at + first, place)
        best = torch.minimum(apart, best)
    return best / flat.shape[1] ** 0.5, place


def memorisation(
    drawn: torch.Tensor, train: torch.Tensor, held_out: torch.Tensor, seed: int = 0, originals=None
) -> dict:
    """Of samples `(N, C_m, H, W)`, and stored training and held-out items: the measures, and what each sample is nearest to.

    Where training items are of other kinds than held-out ones, such as those with hiss, `originals` are those that are not: what
    `nearer` compares must differ in nothing but in having been trained on.

    Returns `z`, `nearer` with its standard error under .5, the medians of the distances of samples and of held-out items, and
    `distance`, `place` `(N,)` of each sample's nearest training item.
    """
    distance, place = nearest(drawn, train)
    real = nearest(restored(held_out[: max(len(drawn), 1000)]), train)[0]
    n, m = len(distance), len(real)
    u = mannwhitneyu(distance.numpy(), real.numpy()).statistic
    originals = train if originals is None else originals
    equal = min(len(originals), len(held_out))
    some = torch.randperm(len(originals), generator=stream(seed, 93))[:equal].sort().values
    known, fresh = nearest(drawn, originals[some])[0], nearest(drawn, held_out[:equal])[0]
    return {
        "z": float((u - n * m / 2) / (n * m * (n + m + 1) / 12) ** 0.5),
        "nearer": float((known < fresh).double().mean() + (known == fresh).double().mean() / 2),
        "nearer error": 0.5 / n**0.5,
        "median": float(distance.median()),
        "median of held-out": float(real.median()),
        "distance": distance,
        "place": place,
    }


def without_variants(config) -> ConfigDict:
    """The config whose sources give every training item once, as it is."""
    config = ConfigDict(config.to_dict())
    for entry in config.modality.values():
        if "variants" in entry.source_options:
            entry.source_options.variants = 1
    return config


def measure(
    model: Model, num: int = 256, seed: int = 0, most: int = 8, **how
) -> tuple[dict[str, dict], PIL.Image.Image]:
    """`num` samples from nothing of every modality that is no text, which would be a copy when it is right; and the `most` closest
    pairs of each as a picture, samples above, training items below."""
    train, test = (build.data(model.config, model.modalities, split) for split in ("train", "test"))
    first = build.data(without_variants(model.config), model.modalities, "train")
    drawn, out, pictures = model.sample(num=num, seed=seed, **how), {}, []
    for name, modality in model.modalities.items():
        if getattr(modality, "reads", False):
            continue
        found = memorisation(drawn[name], train.values[name], test.values[name], seed, first.values[name])
        distance, place = found.pop("distance"), found.pop("place")
        closest = distance.argsort()[:most]
        lines = [drawn[name][closest], restored(train.values[name][place[closest]])]
        picture = np.concatenate([np.concatenate(cells(modality, line, False), axis=1) for line in lines])
        pictures.append(titled(picture, f"{name}: the closest of {num} samples, above, and their training items"))
        out[name] = found
    width = max((p.shape[1] for p in pictures), default=1)
    pictures = [np.pad(p, ((0, 12), (0, width - p.shape[1]), (0, 0)), constant_values=255) for p in pictures]
    return out, PIL.Image.fromarray(np.concatenate(pictures)) if pictures else None
