"""Synchrony: does what is heard happen when it is seen?

`hits` compares times that are known with those that are found; `av_align` needs no truth: onsets of the sound against peaks of the
optical flow (Yariv et al. 2023, arXiv:2309.16429, section 3.3). Times are in seconds.
"""

import numpy as np
from scipy.ndimage import gaussian_filter, uniform_filter
from scipy.signal import find_peaks, stft


def onsets(wave: np.ndarray, rate: int, least: float = 0.15, apart: float = 0.03) -> np.ndarray:
    """The times at which something begins in a waveform `(n,)`: peaks of the spectral flux, at least so large (of the largest)
    and so many seconds apart. Bello et al. 2005, doi:10.1109/TSA.2005.851998, section III.A."""
    wave = np.asarray(wave, dtype=np.float64)
    if not abs(wave).max(initial=0) > 1e-4:
        return np.zeros(0)
    hop, length = max(1, round(rate * 0.004)), max(16, round(rate * 0.016))
    padded = np.pad(wave / abs(wave).max(), (length, length))
    _, times, spectrum = stft(padded, rate, nperseg=length, noverlap=length - hop, boundary=None, padded=False)
    level = np.log1p(100 * abs(spectrum))
    flux = np.clip(np.diff(level, axis=1, prepend=level[:, :1]), 0, None).sum(0)
    flux = gaussian_filter(flux, 1.0, mode="constant")
    peaks, _ = find_peaks(flux, height=least * flux.max(), distance=max(1, round(apart * rate / hop)))
    # the frame in which the flux is largest is centred on the beginning of what it has just met
    return np.clip(times[peaks] - length / rate, 0, len(wave) / rate)


def flow(film: np.ndarray, window: int = 9) -> np.ndarray:
    """The mean length of the optical flow between frames `(T, h, w)`, in pixels, `(T - 1,)`, where there is something to see.

    Lucas and Kanade 1981: least squares over windows, in three rounds, each on the second frame moved back by the last.
    """
    from scipy.ndimage import map_coordinates

    frames = gaussian_filter(np.asarray(film, dtype=np.float64) / 255, (0, 1.0, 1.0))
    grid = np.stack(np.mgrid[: frames.shape[1], : frames.shape[2]]).astype(float)
    out = []
    for before, after in zip(frames[:-1], frames[1:]):
        moved = np.zeros_like(grid)
        for _ in range(3):
            now = map_coordinates(after, grid + moved, order=1, mode="nearest")
            gy, gx = np.gradient((before + now) / 2)
            gt = now - before
            mean = lambda a: uniform_filter(a, window)
            a, b, c, d, e = mean(gy * gy), mean(gy * gx), mean(gx * gx), mean(gy * gt), mean(gx * gt)
            det = a * c - b * b + 1e-6
            moved = moved + np.stack([(b * e - c * d) / det, (b * d - a * e) / det]).clip(-4, 4)
        seen = before > 0.1
        out.append(np.hypot(*moved)[seen].mean() if seen.any() else 0.0)
    return np.array(out)


def flow_peaks(film: np.ndarray, fps: float) -> np.ndarray:
    """The times at which motion is at a local maximum that stands out by a tenth of the largest."""
    speed = flow(film)
    peaks, _ = find_peaks(speed, prominence=0.1 * speed.max(initial=0) + 1e-6)
    return (peaks + 0.5) / fps  # between two frames


def matched(first: np.ndarray, second: np.ndarray, within: float) -> int:
    """How many of two sets of times can be paired within a distance, each once: the nearest pairs first."""
    distance = abs(np.subtract.outer(np.asarray(first, float), np.asarray(second, float)))
    count = 0
    while distance.size and distance.min() <= within + 1e-9:
        row, column = np.unravel_index(distance.argmin(), distance.shape)
        distance = np.delete(np.delete(distance, row, 0), column, 1)
        count += 1
    return count


def hits(known: np.ndarray, found: np.ndarray, within: float) -> tuple[float, float, float]:
    """Of times that are known the share with one found within a distance, the share of those found that are right, and the median
    error of the hits in seconds; nan where there is nothing to count."""
    known, found = np.asarray(known, float), np.asarray(found, float)
    count = matched(known, found, within)
    error = [abs(found - t).min() for t in known if len(found) and abs(found - t).min() <= within]
    share = lambda n: count / n if n else float("nan")
    return share(len(known)), share(len(found)), float(np.median(error)) if error else float("nan")


def av_align(wave: np.ndarray, rate: int, film: np.ndarray, fps: float) -> float:
    """Onsets and flow peaks that are within one frame of each other, over all of both: hits / (A + V - hits)."""
    heard, seen = onsets(wave, rate), flow_peaks(film, fps)
    both = matched(heard, seen, 1 / fps)
    total = len(heard) + len(seen) - both
    return both / total if total else float("nan")
