"""PolyMNIST-D-Q: three views of one digit in one quadrant, and the digit's and the quadrant's names; most rows lack some views.

Views share the digit and where it is, not the handwriting nor the background (see `polymnist`): so several views that are drawn
from one word have to agree on what the word leaves open. Yeo and Sung 2026 (MUNITE), whose rows these follow: 25 % have all
three views, as many have two and half have one. Here no digit of the test split is one of the training split.
"""

import pathlib

import numpy as np
import torch

from ..modalities.image import cover
from .items import Scene
from .polymnist import ABOVE, background
from .sources import DIGITS, SOURCES

SIDE, VIEWS = 64, 3  # of a view in pixels; a quadrant is half as wide
QUADRANTS = ("upper left", "upper right", "lower left", "lower right")
SETS = np.array([[1, 1, 1], [1, 1, 0], [1, 0, 1], [0, 1, 1], [1, 0, 0], [0, 1, 0], [0, 0, 1]], dtype=bool)
OFTEN = np.array([1 / 4, *[1 / 12] * 3, *[1 / 6] * 3])


def partners(labels: np.ndarray, wanted: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A random item of each wanted class, `(N,)`."""
    order, counts = labels.argsort(kind="stable"), np.bincount(labels, minlength=10)
    offset = counts.cumsum() - counts
    return order[offset[wanted] + (rng.random(len(wanted)) * counts[wanted]).astype(np.int64)]


def quadrants(root: pathlib.Path, split: str, source: str = "mnist", train: int = 40000, test: int = 2000) -> Scene:
    """Parts `view0` to `view2` (64 x 64 RGB), `digit` and `quadrant` (texts). A world is a digit and a quadrant, of 40."""
    items, count = SOURCES[source](root, split), train if split == "train" else test
    rng, half = np.random.default_rng([11, split == "train"]), SIDE // 2
    digit, place = rng.integers(10, size=count), rng.integers(4, size=count)
    which = np.stack([partners(items.labels, digit, rng) for _ in range(VIEWS)])
    pictures = [background(root, view, SIDE) for view in range(VIEWS)]
    corner = [np.stack([rng.integers(n - SIDE + 1, size=count) for n in p.shape[:2]], 1) for p in pictures]
    has = SETS[rng.choice(len(SETS), size=count, p=OFTEN)] if split == "train" else np.ones((count, VIEWS), dtype=bool)

    def view(number: int):
        def make(rows: np.ndarray) -> np.ndarray:
            drawn = torch.from_numpy(items.raw[which[number][rows]].copy())[:, None].float()
            drawn = cover(drawn, (half, half))[:, 0].numpy() > ABOVE
            out = np.empty((len(rows), SIDE, SIDE, 3), np.uint8)
            for i, row in enumerate(rows):
                y, x = corner[number][row]
                out[i] = pictures[number][y : y + SIDE, x : x + SIDE]
                down, across = half * (place[row] // 2), half * (place[row] % 2)
                inside = out[i, down : down + half, across : across + half]
                inside[drawn[i]] = 255 - inside[drawn[i]]
            return out

        return make

    every = np.arange(40)  # of the worlds
    return Scene(
        digit * 4 + place,
        {**{f"view{i}": every for i in range(VIEWS)}, "digit": every // 4, "quadrant": every % 4},
        {
            **{f"view{i}": view(i) for i in range(VIEWS)},
            "digit": lambda rows: [DIGITS[d] for d in digit[rows]],
            "quadrant": lambda rows: [QUADRANTS[q].replace(" ", "\n") for q in place[rows]],
        },
        has={f"view{i}": has[:, i] for i in range(VIEWS)},
    )
