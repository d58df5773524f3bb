"""Rows of aligned values from encoded items: paired by class with fresh partners, or as they stand in a table.

Items are tensors, or `Stored` in files, as uint8 channels where 8 bits are enough. Row k of training is a pure function of
(seed, k), so where a run stands in its data is one integer.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from tqdm import tqdm

from ..streams import stream


def encode_source(modality, items, chunk: int = 2048) -> Iterator[torch.Tensor]:
    """A source's raw items as stored channels `(N, C, H, W)`, in parts."""
    for i in tqdm(range(0, len(items.labels), chunk), desc="encoding", unit="part", leave=False, disable=None):
        yield stored(modality, modality.encode(items.raw[i : i + chunk]))


def stored(modality, channels: torch.Tensor) -> torch.Tensor:
    """Channels as they are kept: uint8, 0 ... 255 for [-1, 1]; unchanged for a modality that says `exact`."""
    if getattr(modality, "exact", False):
        return channels
    return ((channels + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)


def restored(values: torch.Tensor) -> torch.Tensor:
    """Float channels from stored ones."""
    return values.float() / 127.5 - 1 if values.dtype == torch.uint8 else values


def shifted(x: torch.Tensor, by: int, offsets: torch.Tensor) -> torch.Tensor:
    """Every row of `(B, C, H, W)` moved by `offsets - by` pixels, (2, B) from 0 to 2 by, down and right, mirrored at the edges."""
    rows = F.pad(x, (by, by, by, by), mode="reflect").unfold(2, x.shape[2], 1).unfold(3, x.shape[3], 1)
    return rows[torch.arange(len(x)), :, 2 * by - offsets[0], 2 * by - offsets[1]]


class Rows(NamedTuple):
    """`values` `{name: (B, C_m, H, W)}` float32 in [-1, 1], `present` (B, M) bool, `labels` (B,), and `index` `{name: (B,)}`,
    the item of each row, -1 where there is none."""

    values: dict[str, torch.Tensor]
    present: torch.Tensor
    labels: torch.Tensor
    index: dict[str, torch.Tensor]


class Pairs:
    """Rows of all modalities that share a class.

    `values[name]` is `(N_m, C_m, H, W)`, stored, and `labels[name]` `(N_m,)`. An epoch visits every item of the largest
    modality once; its partners are drawn anew from the same class. Items of the modalities `mirrored` are mirrored in half
    of the rows. Where a class has no item in a modality, the row lacks it: `present` is False there and the values are 0. With
    `missing` every row lacks each of its modalities as often as that, but never all. `shuffled`, partners are of any class.
    `shows[name]` `(classes,)` says what each class shows in a modality: itself.
    """

    def __init__(
        self, values: dict[str, torch.Tensor], labels: dict[str, np.ndarray], seed: int = 0, shuffled: bool = False
    ):
        self.values, self.seed, self.shuffled, self.mirrored, self.missing = values, seed, shuffled, (), 0.0
        self.labels = {n: torch.as_tensor(l).long() for n, l in labels.items()}
        for name in values:
            if len(values[name]) != len(self.labels[name]) or not len(values[name]):
                raise ValueError(f"{name!r} has {len(values[name])} items and {len(self.labels[name])} labels")
        self.leader = max(values, key=lambda n: len(values[n]))
        classes = int(max(l.max() for l in self.labels.values())) + 1
        self.shows = dict.fromkeys(values, torch.arange(classes))
        self.order = {n: l.argsort(stable=True) for n, l in self.labels.items()}
        self.count = {n: torch.bincount(l, minlength=classes) for n, l in self.labels.items()}
        self.offset = {n: c.cumsum(0) - c for n, c in self.count.items()}
        self._epoch, self._plan = None, None

    def __len__(self) -> int:
        return len(self.values[self.leader])

    def plan(self, epoch: int) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
        """Item indices of every modality (-1: none) and labels of an epoch's rows."""
        if epoch != self._epoch:
            generator = stream(self.seed, 11, epoch)
            rows = torch.randperm(len(self), generator=generator)
            labels = self.labels[self.leader][rows]
            index = {}
            for name in self.values:
                draw = torch.rand(len(rows), generator=generator, dtype=torch.float64)
                if self.shuffled:
                    index[name] = (draw * len(self.values[name])).long()
                    continue
                count = self.count[name][labels]
                place = self.offset[name][labels] + (draw * count).long()
                index[name] = torch.where(count > 0, self.order[name][place.clamp(max=len(self.order[name]) - 1)], -1)
            index[self.leader] = rows
            self._epoch, self._plan = epoch, (index, labels)
        return self._plan

    def rows(self, start: int, count: int) -> Rows:
        """See `gather`."""
        return gather(self, start, count)


class Table:
    """Rows as they stand, each visited once an epoch, in a fresh order; some lack some modalities.

    `values[name]` holds the items that there are, stored, and `index[name]` `(rows,)` the item of each row, -1 for none;
    `classes` `(rows,)` are the rows' labels, `shows[name]` `(K,)` what each class shows in a modality: itself, when not named.
    """

    def __init__(
        self,
        values: dict[str, torch.Tensor],
        index: dict[str, torch.Tensor],
        classes: torch.Tensor,
        seed: int = 0,
        shows: dict[str, torch.Tensor] | None = None,
    ):
        self.values, self.index, self.classes, self.seed = values, index, classes, seed
        self.mirrored, self.missing = (), 0.0
        own = torch.arange(max(int(classes.max()) + 1, 1))
        self.shows = dict.fromkeys(values, own) if shows is None else shows
        self.labels = {n: shown(self, n, classes[(i >= 0).nonzero()[:, 0]]) for n, i in index.items()}
        self._epoch, self._plan = None, None

    def __len__(self) -> int:
        return len(self.classes)

    def plan(self, epoch: int) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
        """Item indices of every modality (-1: none) and labels of an epoch's rows."""
        if epoch != self._epoch:
            order = torch.randperm(len(self), generator=stream(self.seed, 12, epoch))
            self._epoch, self._plan = epoch, ({n: i[order] for n, i in self.index.items()}, self.classes[order])
        return self._plan

    def rows(self, start: int, count: int) -> Rows:
        """See `gather`."""
        return gather(self, start, count)


def shown(data, name: str, classes: torch.Tensor) -> torch.Tensor:
    """What rows of these classes show in a modality, -1 where that is nothing."""
    if name not in data.shows:
        return torch.full_like(classes, -1)
    return torch.where(classes >= 0, data.shows[name][classes.clamp(min=0)], -1)


def turned_rows(data, epoch: int) -> torch.Tensor:
    """Which rows of an epoch are mirrored, in all modalities that may be: photograph and depth stay aligned."""
    return torch.rand(len(data), generator=stream(data.seed, 13, epoch)) < 0.5


def left_rows(data, epoch: int, has: torch.Tensor) -> torch.Tensor:
    """What an epoch's rows keep of what they have, `has` `(rows, M)` bool: each modality but for a share, and always one."""
    chance = torch.rand(has.shape, generator=stream(data.seed, 14, epoch)).masked_fill(~has, -1.0)
    return has & ((chance >= data.missing) | (chance == chance.amax(1, keepdim=True)))


def gather(data, start: int, count: int) -> Rows:
    """Rows start ... start + count of the endless sequence of epochs of `data.plan`."""
    picked, labels, turned = {n: [] for n in data.values}, [], []
    while count:
        epoch, at = divmod(start, len(data))
        take = min(count, len(data) - at)
        index, label = data.plan(epoch)
        if data.missing:
            kept = left_rows(data, epoch, torch.stack([index[n] >= 0 for n in data.values], 1))
            index = {n: torch.where(k, index[n], -1) for n, k in zip(data.values, kept.T)}
        for name in data.values:
            picked[name].append(index[name][at : at + take])
        labels.append(label[at : at + take])
        if data.mirrored:
            turned.append(turned_rows(data, epoch)[at : at + take])
        start, count = start + take, count - take
    index = {n: torch.cat(p) for n, p in picked.items()}
    present = torch.stack([i >= 0 for i in index.values()], dim=1)
    values = {n: restored(data.values[n][i.clamp(min=0)]) for n, i in index.items()}
    for column, name in enumerate(values):
        if name in data.mirrored:
            values[name] = torch.where(torch.cat(turned)[:, None, None, None], values[name].flip(3), values[name])
        values[name][~present[:, column]] = 0
    return Rows(values, present, torch.cat(labels), index)


def examples(pairs, names: tuple[str, ...], start: int, num: int) -> dict[str, torch.Tensor]:
    """`num` rows' channels of modalities from row `start` on, passing over rows that lack one of them."""
    parts, found = {n: [] for n in names}, 0
    for first in range(start, start + len(pairs) + num * 10**3, num):
        values, present, *_ = pairs.rows(first, num)
        whole = present[:, [list(values).index(n) for n in names]].all(1)
        for n in names:
            parts[n].append(values[n][whole])
        found += int(whole.sum())
        if found >= num:
            return {n: torch.cat(p)[:num] for n, p in parts.items()}
        if not found and first > start + len(pairs):
            break
    raise ValueError(f"no row of the test split has all of {', '.join(names)}")
