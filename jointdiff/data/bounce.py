"""A handwritten digit that flies and bounces in a box, and knocks at every impact: a film, its sound, a caption, a picture.

The motion is that of Moving MNIST (Srivastava et al. 2015, arXiv:1502.04681, section 4): constant velocity, elastic walls. All is
known exactly, also between the frames: where the digit is at any time, and when it meets which wall.
"""

import dataclasses
import pathlib

import numpy as np
import torch

from ..modalities.image import cover
from .items import Scene
from .sources import DIGITS, SOURCES

SIDE, BOX, FRAMES, RATE = 12, 32, 16, 8000  # of the digit and of the box in pixels; frames, and samples, of a second
WALLS = ("side", "floor", "ceiling")
PITCH = {"side": 400.0, "floor": 950.0, "ceiling": 2100.0}  # Hz
FADING = 0.02  # seconds in which a knock falls to 1 / e
SLOWEST, FASTEST = 1.6, 3.2  # pixels a frame, each way


@dataclasses.dataclass
class Motion:
    """`start` and `velocity` `(N, 2)`, downwards and to the right, of the digit's upper left corner, in pixels and frames."""

    start: np.ndarray
    velocity: np.ndarray

    def __getitem__(self, rows) -> "Motion":
        return Motion(self.start[rows], self.velocity[rows])

    def position(self, time: np.ndarray) -> np.ndarray:
        """Where the corners are at times `(T,)` in frames, `(N, T, 2)`: a straight line, folded at the walls."""
        free = self.start[:, None] + self.velocity[:, None] * np.asarray(time)[:, None]
        room = BOX - SIDE
        return room - abs(free % (2 * room) - room)

    def impacts(self, row: int) -> list[tuple[float, str]]:
        """The times in frames at which a row's digit meets a wall before the last frame, and which, in order."""
        out, room = [], BOX - SIDE
        for axis in range(2):
            x, v = self.start[row, axis], self.velocity[row, axis]
            ends = sorted((x, x + v * (FRAMES - 1)))
            for wall in range(int(np.ceil(ends[0] / room)), int(np.floor(ends[1] / room)) + 1):
                name = "side" if axis else ("floor" if wall % 2 else "ceiling")
                out.append(((wall * room - x) / v, name))
        return sorted(out)


def motion(split: str, count: int) -> Motion:
    """The motion of a split's rows; row i is the same for every count."""
    u = np.random.default_rng([7, split == "train"]).random((count, 6))
    speed = SLOWEST + (FASTEST - SLOWEST) * u[:, 2:4]
    return Motion((BOX - SIDE) * u[:, :2], speed * np.where(u[:, 4:] < 0.5, -1, 1))


def small(pictures: np.ndarray) -> np.ndarray:
    """Pictures of digits, MNIST's 28 x 28 or others, as the 12 x 12 of the film, without their empty edge (2 of 28 pixels)."""
    edge = round(pictures.shape[1] / 14)
    inner = torch.from_numpy(pictures[:, edge : pictures.shape[1] - edge, edge : pictures.shape[2] - edge].copy())
    return cover(inner[:, None].float(), (SIDE, SIDE))[:, 0].clamp(0, 255).numpy().astype(np.float64)


def film(digits: np.ndarray, position: np.ndarray) -> np.ndarray:
    """Digits `(N, 12, 12)` at positions `(N, T, 2)` in the box, between pixels too, uint8 `(N, T, 32, 32)`."""
    place = position[..., None, None] + np.arange(SIDE)[:, None]  # (N, T, 2, SIDE, 1)
    spread = np.clip(1 - abs(np.arange(BOX) - place), 0, None)  # how much of each row and column a pixel covers
    down, across = spread[:, :, 0], spread[:, :, 1]
    return (down.swapaxes(2, 3) @ digits[:, None] @ across).round().clip(0, 255).astype(np.uint8)


def knocks(impacts: list[tuple[float, str]]) -> np.ndarray:
    """The sound of impacts, 1 s: a fading tone at each one's moment, whose pitch says which wall."""
    wave, time = np.zeros(RATE), np.arange(RATE) / RATE
    for frame, wall in impacts:
        since = time - frame / FRAMES
        wave += np.where(since >= 0, np.exp(-since.clip(0) / FADING) * np.sin(2 * np.pi * PITCH[wall] * since), 0)
    return wave.astype(np.float32)


def caption(digit: int, velocity: np.ndarray) -> str:
    """ "seven\\nup\\nleft": the digit and its first direction."""
    return "\n".join([DIGITS[digit], "up" if velocity[0] < 0 else "down", "left" if velocity[1] < 0 else "right"])


def bounce(root: pathlib.Path, split: str, source: str = "mnist", train: int = 20000, test: int = 2000) -> Scene:
    """Parts `picture` (the digit for itself), `film` (16 frames of 32 x 32), `sound` (1 s) and `caption`.

    A world is a digit and a first direction, of 40. Film and caption show it, the picture the digit; the sound says whether
    floor or ceiling comes first, which is where the digit flies at the beginning.
    """
    items, count = SOURCES[source](root, split), train if split == "train" else test
    which = np.random.default_rng([8, split == "train"]).permutation(len(items.labels))[
        np.arange(count) % len(items.labels)
    ]
    digit, flight = items.labels[which], motion(split, count)
    of_digit, of_down, of_right = (x.ravel() for x in np.indices((10, 2, 2)))  # of the worlds
    worlds = digit * 4 + (flight.velocity > 0) @ np.array([2, 1])
    return Scene(
        worlds.astype(np.int64),
        {"picture": of_digit, "film": np.arange(40), "caption": np.arange(40), "sound": of_down},
        {
            "picture": lambda rows: items.raw[which[rows]],
            "film": lambda rows: film(small(items.raw[which[rows]]), flight[rows].position(np.arange(FRAMES))),
            "sound": lambda rows: [knocks(flight.impacts(row)) for row in rows],
            "caption": lambda rows: [caption(digit[row], flight.velocity[row]) for row in rows],
        },
        {"picture": source},
    )
