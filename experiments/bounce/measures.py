"""What is measured of films and sounds whose every impact is known: impacts that are met, the digit, its path."""

import numpy as np
import torch
from scipy.optimize import least_squares

from jointdiff import build
from jointdiff.data import restored
from jointdiff.data.bounce import BOX, FRAMES, PITCH, RATE, SIDE, Motion, motion
from jointdiff.evaluate.classifiers import train_small
from jointdiff.evaluate.synchrony import av_align, hits, onsets

FRAME = 1 / FRAMES


def followed(film: np.ndarray) -> tuple[Motion, float]:
    """The motion of the bright thing in a film `(16, 32, 32)`, as the folded line that fits its centre best, and how far the
    centre is from that line, root mean square in pixels."""
    light = np.clip(film.astype(float) - 40, 0, None) + 1e-9
    total = light.sum((1, 2))
    centre = np.stack([(light.sum(2) * np.arange(BOX)).sum(1), (light.sum(1) * np.arange(BOX)).sum(1)]) / total
    room, times = BOX - SIDE, np.arange(FRAMES)
    v = np.concatenate([np.arange(-3.6, -1.2, 0.1), np.arange(1.3, 3.7, 0.1)])
    starts, shifts = np.arange(0, room + 0.1, 1.0), np.arange(3.5, 8.0, 0.5)

    def line(start, speed, shift):
        free = start[..., None] + speed[..., None] * times
        return room - abs(free % (2 * room) - room) + shift[..., None]

    place, out, error = np.meshgrid(starts, v, shifts, indexing="ij"), [], []
    for seen in centre:
        far = abs(line(*place) - seen).clip(max=4).sum(-1)
        best = np.unravel_index(far.argmin(), far.shape)
        gap = lambda p, seen=seen: line(*(np.asarray(q) for q in p)) - seen
        start, speed, shift = least_squares(gap, [p[best] for p in place], loss="soft_l1").x
        error.append(np.square(gap((start, speed, shift))).mean())
        start %= 2 * room  # the same line from a start inside the box: beyond it the way is the other one
        out.append((2 * room - start, -speed, shift) if start > room else (start, speed, shift))
    (y, vy, _), (x, vx, _) = out
    return Motion(np.array([[y, x]]), np.array([[vy, vx]])), float(np.sqrt(sum(error)))


def walls(wave: np.ndarray, times: np.ndarray) -> list[str]:
    """Which wall each onset sounds like: the pitch with the most power in the 40 ms from there."""
    out = []
    for t in times:
        part = wave[int(t * RATE) : int((t + 0.04) * RATE)]
        phase = np.exp(-2j * np.pi * np.outer(list(PITCH.values()), np.arange(len(part)) / RATE))
        out.append(list(PITCH)[int(abs(phase @ part).argmax())] if len(part) else "side")
    return out


def in_step(impacts, found) -> dict:
    """Known impacts of all rows against those found, both `[(seconds, wall)]`."""
    rows = [hits(np.array([t for t, _ in a]), np.array([t for t, _ in b]), FRAME) for a, b in zip(impacts, found)]
    share, right, error = np.nanmean(np.array(rows), axis=0)
    same = [w == min(b, key=lambda q: abs(q[0] - t))[1] for a, b in zip(impacts, found) if b for t, w in a
            if min(abs(q[0] - t) for q in b) <= FRAME]  # fmt: skip
    return {"impacts hit": float(share), "found that are impacts": float(right), "error, ms": float(1000 * error),
            "right wall": float(np.mean(same)) if same else float("nan")}  # fmt: skip


def aligned(waves, films) -> float:
    """AV-Align, the mean over pairs."""
    return float(np.nanmean([av_align(w, RATE, f, FRAMES) for w, f in zip(waves, films)]))


class Scenes:
    """Test scenes as they are encoded, and all that is known of them."""

    def __init__(self, model, first: int, num: int):
        data = build.data(model.config, model.modalities, "test")
        self.rows = slice(first, first + num)
        self.values = {n: restored(v[self.rows]) for n, v in data.values.items()}
        self.worlds, self.model, self.num = data.classes[self.rows], model, num
        flight = motion("test", first + num)[self.rows]
        self.flight = flight
        self.impacts = [[(t / FRAMES, w) for t, w in flight.impacts(row)] for row in range(num)]
        self.position = flight.position(np.arange(FRAMES))

    def heard(self, sound: torch.Tensor) -> list:
        waves = self.model.modalities["sound"].decode(sound)
        return [list(zip(times, walls(wave, times))) for wave in waves for times in [onsets(wave, RATE)]]

    def seen(self, film: torch.Tensor) -> tuple[list, np.ndarray, np.ndarray]:
        """Impacts, first directions as 2 x down + right, and the distance from the fitted line."""
        found = [followed(f) for f in self.model.modalities["film"].decode(film)]
        impacts = [[(t / FRAMES, w) for t, w in flight.impacts(0)] for flight, _ in found]
        direction = np.array([(f.velocity[0] > 0) @ np.array([2, 1]) for f, _ in found])
        return impacts, direction, np.array([rms for _, rms in found])


def frame_judge(model, updates: int):
    """A classifier of the digit in one frame, trained on frames of training scenes."""
    data = build.data(model.config, model.modalities, "train")
    rows = torch.arange(0, len(data), max(1, len(data) // 4000))
    frames = data.values["film"][rows][:, ::3].reshape(-1, 1, BOX, BOX)
    labels = (data.classes[rows] // 4).repeat_interleave(len(range(0, FRAMES, 3)))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return train_small(frames, labels, 0, updates=updates)


def digits(judge, film: torch.Tensor) -> torch.Tensor:
    """The digit of every frame, `(N, 16)`."""
    return judge.judge(film.reshape(-1, 1, BOX, BOX)).view(len(film), FRAMES)


def of_film(s: Scenes, judge, film: torch.Tensor) -> dict:
    """Whether films show the digit and the first direction that they should, one digit all along, and a straight path."""
    _, direction, rms = s.seen(film)
    seen = digits(judge, film)
    return {
        "digit": float((seen.mode(1).values == s.worlds // 4).double().mean()),
        "one digit in all frames": float((seen == seen.mode(1).values[:, None]).double().mean()),
        "direction": float((torch.from_numpy(direction) == s.worlds % 4).double().mean()),
        "off the line, pixels": float(np.median(rms)),
    }


def away(s: Scenes, films: np.ndarray) -> np.ndarray:
    """How far the digit is from where it goes in the real scene, in pixels, by frame, `(N, 16)`."""
    paths = [followed(film)[0].position(np.arange(FRAMES))[0] for film in films]
    return np.linalg.norm(np.array(paths) - s.position, axis=2)


def real(s: Scenes, judge) -> dict:
    """The measures on the test scenes themselves, and on shuffled pairs."""
    film, sound = s.values["film"], s.values["sound"]
    seen, heard, whole = s.seen(film)[0], s.heard(sound), of_film(s, judge, film)
    waves, films = s.model.modalities["sound"].decode(sound), s.model.modalities["film"].decode(film)
    return {
        "sound": in_step(s.impacts, heard),
        "film": in_step(s.impacts, seen) | {"off the line, pixels": whole.pop("off the line, pixels")},
        "sound of another scene": in_step(s.impacts, heard[1:] + heard[:1]),
        "film of another scene": in_step(s.impacts, seen[1:] + seen[:1]),
        "AV-Align": aligned(waves, films),
        "AV-Align of shuffled pairs": aligned(waves, [*films[1:], films[0]]),
        **whole,
    }
