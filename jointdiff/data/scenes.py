"""Scenes: rows whose modalities are made together, where what belongs together is more than a class.

A scene is a function `(root, split, **options) -> Scene`. Row i is a pure function of (split, i), made from the split's own items.
What a row is about is its *world*, one of K; `shows` says what can be read of each world in each part: so a relation between
parts (two digits and their sum) is judged as a class is, by whether some world shows all that was read.
"""

import dataclasses
import pathlib
from collections.abc import Callable, Mapping

import numpy as np

from .items import Items
from .sources import SOURCES

QUESTIONS: dict[str, Callable] = {"sum": np.add, "larger": np.maximum, "difference": lambda a, b: abs(a - b)}


@dataclasses.dataclass
class Scene:
    """`worlds` `(N,)` int64 of the rows; `shows` `{part: (K,)}`, without the parts in which nothing is judged; and `make`
    `{part: function}` from row numbers `(n,)` to the raw values that a modality of its kind encodes."""

    worlds: np.ndarray
    shows: Mapping[str, np.ndarray]
    make: Mapping[str, Callable]

    def items(self, part: str) -> Items:
        """One part of all rows, made as it is asked for, and what it shows, -1 where that is nothing."""
        if part not in self.make:
            raise ValueError(f"unknown part {part!r} of the scene; there are {', '.join(self.make)}")
        shown = self.shows[part][self.worlds] if part in self.shows else np.full(len(self.worlds), -1)
        return Items(Made(self.make[part], len(self.worlds)), shown)


class Made:
    """A sequence whose slices are made when they are wanted."""

    def __init__(self, make: Callable, length: int):
        self.make, self.length = make, length

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, rows: slice):
        return self.make(np.arange(*rows.indices(self.length)))


def sums(root: pathlib.Path, split: str, source: str = "mnist", questions: tuple[str, ...] = ("sum",)) -> Scene:
    """Two handwritten digits, a question ("sum", "larger", "difference"), its answer ("8"), and the reason ("3\\nand\\n5").

    Every picture of the source stands in one row: 30000 rows of MNIST to train on and 5000 to test, as in the addition
    benchmark of Manhaeve et al. 2018, arXiv:1805.10872, section 6.
    """
    unknown = [q for q in questions if q not in QUESTIONS]
    if unknown or not questions:
        raise ValueError(f"unknown questions {unknown}; there are {', '.join(QUESTIONS)}")
    items, rng = SOURCES[source](root, split), np.random.default_rng([0, split == "train"])
    order = rng.permutation(len(items.labels) // 2 * 2).reshape(-1, 2)
    first, second = order.T
    asked = rng.permutation(len(order)) % len(questions)
    a, b = items.labels[first], items.labels[second]
    of_q, of_a, of_b = (x.ravel() for x in np.indices((len(questions), 10, 10)))  # of the worlds
    answers = np.select([of_q == i for i in range(len(questions))], [QUESTIONS[q](of_a, of_b) for q in questions])
    worlds = (asked * 10 + a) * 10 + b
    return Scene(
        worlds,
        {"first": of_a, "second": of_b, "question": of_q, "answer": answers, "rationale": of_a * 10 + of_b},
        {
            "first": lambda rows: items.raw[first[rows]],
            "second": lambda rows: items.raw[second[rows]],
            "question": lambda rows: [questions[q] for q in asked[rows]],
            "answer": lambda rows: [str(answer) for answer in answers[worlds[rows]]],
            "rationale": lambda rows: [f"{x}\nand\n{y}" for x, y in zip(a[rows], b[rows])],
        },
    )


SCENES = {"sums": sums}
