"""What a source and a scene return."""

import dataclasses
from collections.abc import Callable, Mapping

import numpy as np


@dataclasses.dataclass
class Items:
    """Raw values in a modality's batch form, and the class of each, `(N,)` int64."""

    raw: object
    labels: np.ndarray


@dataclasses.dataclass
class Scene:
    """`worlds` `(N,)` int64 of the rows; `shows` `{part: (K,)}`, without the parts in which nothing is judged; and `make`
    `{part: function}` from row numbers `(n,)` to the raw values that a modality of its kind encodes. `sources` says of which parts
    the values are a source's own items and show their class: they are judged as those are. `has` `{part: (N,) bool}` says which
    rows have a part, all of them where it says nothing."""

    worlds: np.ndarray
    shows: Mapping[str, np.ndarray]
    make: Mapping[str, Callable]
    sources: Mapping[str, str] = dataclasses.field(default_factory=dict)
    has: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)

    def rows(self, part: str) -> np.ndarray:
        """The rows that have a part."""
        return np.flatnonzero(self.has[part]) if part in self.has else np.arange(len(self.worlds))

    def items(self, part: str) -> Items:
        """One part of all rows that have it, made as it is asked for, and what it shows, -1 where that is nothing."""
        if part not in self.make:
            raise ValueError(f"unknown part {part!r} of the scene; there are {', '.join(self.make)}")
        rows = self.rows(part)
        shown = self.shows[part][self.worlds[rows]] if part in self.shows else np.full(len(rows), -1)
        return Items(Made(self.make[part], rows), shown)


class Made:
    """A sequence whose slices are made when they are wanted."""

    def __init__(self, make: Callable, rows: np.ndarray):
        self.make, self.rows = make, rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, places: slice):
        return self.make(self.rows[places])
