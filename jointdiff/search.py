"""Search: which of one's own items go with a query, of whatever modality both are.

likelihood   log p(item | query) - log p(item), the pointwise mutual information under the network, in nats, up to the error of
             a few noise levels: items that are common by themselves gain nothing by it
expectation  the cosine between what the query and the item, each alone, make one expect of all modalities: one evaluation an
             item
"""

import json
import os
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import PIL.Image
import torch
from tqdm import tqdm

from . import likelihood
from .data.manifest import Manifest
from .data.tables import is_path
from .report import beside, cells, titled
from .streams import SampleNoise

WAYS = ("likelihood", "expectation")


def information(
    model, query: Mapping[str, Any], name: str, items: torch.Tensor, levels: int = 12, seed: int = 0
) -> torch.Tensor:
    """log p(item | query) - log p(item) of encoded items `(N, C_m, H, W)` of one modality, in nats, `(N,)`.

    query: one value a modality, as `Model.encode` takes them. All else is absent.
    """
    query = {n: model.encode(n, v) for n, v in query.items()}
    if name in query:
        raise ValueError(f"{name!r} is both the query and what is searched")
    out = []
    for first in range(0, len(items), 64):
        part = items[first : first + 64]
        x = model.layout.observe({name: part}, len(part))[0].to(model.device)
        logs = []
        for given in (query, {}):  # under equal draws of noise
            draw = SampleNoise(seed, len(part), model.layout.shape, first, model.device, (4,))
            given = {n: v.expand(len(part), -1, -1, -1) for n, v in given.items()}
            denoise, wanted = model.conditioned(given, (name,), len(part), draw)
            with model.denoiser.precision():
                logs.append(likelihood.relative_log_prob(denoise, model.denoiser.sde, x, wanted, draw, levels).cpu())
        out.append(logs[0] - logs[1])
    return torch.cat(out).float()


def directions(model, values: Mapping[str, Any]) -> torch.Tensor:
    """What values make one expect of all modalities, less what there is at all, at unit length, `(N, D)`: every modality counts
    the same, whatever its channels, and the cosine of two is how much they have in common."""
    found, nothing = model.expected(values), model.expected({})
    unit = lambda v: torch.nn.functional.normalize(v.flatten(1), dim=1)
    return unit(torch.cat([unit(found[n] - nothing[n]) for n in model.layout.names], dim=1))


class Index:
    """A user's items by modality: `items[name]` `(N, C_m, H, W)` stored, `labels[name]` what each is called."""

    def __init__(self, items: dict[str, torch.Tensor], labels: dict[str, list[str]]):
        self.items, self.labels = items, labels

    @classmethod
    def read(cls, model, path: str | os.PathLike) -> "Index":
        """A table (see `jointdiff.data.manifest`) whose columns are modalities of the model, or a folder of files: each belongs to
        the only modality that can read it; ValueError when none can, or several."""
        path = pathlib.Path(path)
        cells_of = _loose(model, path) if path.is_dir() and any(is_path(p.name) for p in path.iterdir()) else None
        if cells_of is None:
            table = Manifest.open(path)
            cells_of = {n: [(str(c), table.value(c)) for c in table.cells[n] if c is not None] for n in table.columns}
        unknown = [n for n in cells_of if n not in model.layout.names]
        if unknown:
            raise ValueError(f"{path} has {', '.join(unknown)}; this model has {', '.join(model.layout.names)}")
        items = {n: model.encode(n, [value for _, value in found]) for n, found in cells_of.items()}
        return cls(items, {n: [label for label, _ in found] for n, found in cells_of.items()})

    def search(
        self, model, query: Mapping[str, Any], by: str = "likelihood", seed: int = 0, show: bool = False
    ) -> dict[str, torch.Tensor]:
        """The score of every item of every modality that is no part of the query, `{name: (N,)}`; higher goes better with it."""
        if by not in WAYS:
            raise ValueError(f"search by {by!r}; there are {', '.join(WAYS)}")
        searched = [n for n in self.items if n not in query]
        if not query or not searched:
            raise ValueError("a search needs a query, and items of another modality than the query's")
        if by == "likelihood":
            bar = tqdm(searched, unit="modality", disable=None if show else True, leave=False)
            return {n: information(model, query, n, self.items[n], seed=seed) for n in bar}
        own = directions(model, query)
        return {n: directions(model, {n: self.items[n]}) @ own[0] for n in searched}


def _loose(model, folder: pathlib.Path) -> dict[str, list]:
    """`{name: [(file's name, its path)]}` of a folder's files."""
    out: dict[str, list] = {}
    for file in sorted(p for p in folder.iterdir() if is_path(p.name)):
        fit, reasons = [], []
        for name, modality in model.modalities.items():
            if getattr(modality, "reads", False):
                continue
            try:
                modality.encode(modality.read(str(file)))
                fit.append(name)
            except (ValueError, OSError) as error:
                reasons.append(f"{name}: {error}")
        if len(fit) != 1:
            why = f"it may be {' or '.join(fit)}" if fit else "; ".join(reasons)
            raise ValueError(f"{file}: {why}; put files into folders that are named as the modalities")
        out.setdefault(fit[0], []).append((file.name, str(file)))
    return out


def best_of(scores: Mapping[str, torch.Tensor], most: int) -> list[tuple[str, int, float]]:
    """The items with the highest scores over all modalities: (modality, place, score), in order."""
    every = [(float(s), name, i) for name, score in scores.items() for i, s in enumerate(score)]
    return [(name, i, score) for score, name, i in sorted(every, reverse=True)[:most]]


def contact_sheet(model, index: Index, scores: Mapping[str, torch.Tensor], most: int = 8) -> PIL.Image.Image:
    """The best items of every modality, in a line each, with name and score."""
    lines = []
    for name, score in scores.items():
        order = score.argsort(descending=True)[:most]
        tiles = cells(model.modalities[name], index.items[name][order], framed=False)
        labelled = [
            titled(t, f"{float(score[i]):.2f} {index.labels[name][i]}"[:24]) for t, i in zip(tiles, order.tolist())
        ]
        lines.append(beside(labelled, gap=0))
    width = max(line.shape[1] for line in lines)
    lines = [np.pad(line, ((0, 8), (0, width - line.shape[1]), (0, 0)), constant_values=255) for line in lines]
    return PIL.Image.fromarray(np.concatenate(lines))


def search(
    model,
    query: Mapping[str, Any],
    index,
    by: str = "likelihood",
    most: int = 8,
    seed: int = 0,
    folder=None,
    show=print,
):
    """Rank the items of a folder or a table by how well they go with a query; `[(modality, label, score)]`, the best first.

    Into `folder`, when there is one, go `ranking.json` and `sheet.png`.
    """
    found = Index.read(model, index)
    show(f"{', '.join(f'{len(v)} of {n}' for n, v in found.items.items())} in {index}")
    scores = found.search(model, query, by, seed, show=True)
    ranking = [(n, found.labels[n][i], score) for n, i, score in best_of(scores, sum(map(len, scores.values())))]
    for name, label, score in ranking[:most]:
        show(f"{score:8.2f}  {name}  {label}")
    if folder is not None:
        listed = [{"modality": n, "item": label, "score": score} for n, label, score in ranking]
        (folder / "ranking.json").write_text(json.dumps({"by": by, "seed": seed, "ranking": listed}, indent=1) + "\n")
        contact_sheet(model, found, scores, most).save(folder / "sheet.png")
    return ranking
