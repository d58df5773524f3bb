"""What a user's files are: kind, size and range by a look at each, and the modality's options that these ask for."""

import pathlib
import struct
from collections import Counter
from collections.abc import Callable

import numpy as np
import PIL.Image

from ..modalities.array import load as load_array
from ..modalities.audio import SOUNDS, load
from ..modalities.text import ALPHABET, Text, drawable
from ..modalities.video import CODED, Video
from .tables import ARRAYS, is_path

SIDE = 64  # longest side of a grid that is proposed
MOST_FRAMES = 16  # of a film that is proposed


def look(cell, read: Callable) -> dict | None:
    """What a cell is, whose value `read(cell)` says: its kind, size and range; None when it is missing or cannot be read."""
    if cell is None:
        return None
    try:
        value = read(cell)
        if isinstance(value, np.ndarray):
            return _array(value)
        if not is_path(cell):
            return {"kind": "text", "text": value}
        suffix = pathlib.Path(value).suffix.lower()
        if suffix in ARRAYS:
            with open(value, "rb"):
                value = np.load(value, allow_pickle=False)
            return _array(value[value.files[0]] if hasattr(value, "files") else value)
        if suffix in SOUNDS:
            wave, rate = load(value)
            return {"kind": "audio", "rate": int(rate), "seconds": len(wave) / rate}
        if cell.endswith("/") or suffix in CODED:
            return _film(value)
        with PIL.Image.open(value) as file:
            file.load()
            several = getattr(file, "n_frames", 1) > 1
            if several and file.format != "TIFF":
                return _film(value)
            if several or file.mode.startswith("I") or file.mode == "F":
                return _array(load_array(value))
            grey = file.mode in ("1", "L", "LA")
            return {"kind": "image", "size": (file.height, file.width), "mode": "L" if grey else "RGB"}
    except (
        OSError,
        ValueError,
        EOFError,
        SyntaxError,
        IndexError,
        TypeError,
        struct.error,
        PIL.Image.DecompressionBombError,
    ):
        return None


def _film(path):
    frames = Video((8, 8), mode="RGB").read(path)[0]
    grey = (frames == frames[..., :1]).all()
    return {"kind": "video", "size": frames.shape[1:3], "mode": "L" if grey else "RGB", "frames": len(frames)}


def _array(value):
    value = np.asarray(value, dtype=np.float64)
    value = value[None] if value.ndim == 2 else value
    if value.ndim != 3 or not value.size or not np.isfinite(value).all():
        return None
    return {
        "kind": "array",
        "size": value.shape[1:],
        "channels": value.shape[0],
        "low": value.min((1, 2)),
        "high": value.max((1, 2)),
    }


def grid_for(size):
    """The size itself, or, when it is longer than SIDE, its shape at that length in multiples of 4."""
    if max(size) <= SIDE:
        return tuple(int(v) for v in size)
    return tuple(max(4, int(round(v * SIDE / max(size) / 4)) * 4) for v in size)


def options(kind, values, grid, column) -> dict:
    """The options of a modality of this kind for all that was seen in a column."""
    if kind == "image":
        return {"mode": "RGB" if any(v["mode"] == "RGB" for v in values) else "L"}
    if kind == "video":
        frames = [v["frames"] for v in values]
        mode = "RGB" if any(v["mode"] == "RGB" for v in values) else "L"
        shortest = min([*frames, MOST_FRAMES])
        return {"frames": shortest, "mode": mode, "cut": max(frames) > shortest}
    if kind == "audio":
        rate = min(16000, max(v["rate"] for v in values))
        seconds = float(np.ceil(10 * max(v["seconds"] for v in values)) / 10)
        return {"rate": rate, "seconds": seconds, "fold": (2, 2)}
    if kind == "array":
        channels = Counter(v["channels"] for v in values).most_common(1)[0][0]
        same = [v for v in values if v["channels"] == channels]
        low, high = np.min([v["low"] for v in same], 0), np.max([v["high"] for v in same], 0)
        high = np.where(high > low, high, low + 1)
        return {"channels": channels, "low": tuple(map(float, low)), "high": tuple(map(float, high))}
    texts = [v["text"].rstrip() for v in values]
    letters = "".join(sorted(set("".join(texts)) - {*ALPHABET, "\n"}))
    strange = {letter for letter in letters if not drawable(letter)}  # reported with their lines when the data are read
    texts = [t for t in texts if not strange & set(t)]
    letters = "".join(letter for letter in letters if letter not in strange)
    more = {"alphabet": ALPHABET + letters} if letters else {}
    more |= {"lines": True} if any("\n" in t for t in texts) else {}
    for cell in ((8, 14), (6, 10), (5, 8), (4, 6), (3, 5)):
        if Text.fits(texts, grid, cell, **more):
            return {"cell": cell, **more}
    side = next((s for s in range(8, 2048, 8) if Text.fits(texts, (s, s), (6, 10), **more)), 2048)
    longest = max(texts, key=len, default="")
    raise ValueError(
        f"the texts of the column {column!r} do not fit on the grid of {grid[0]} x {grid[1]}: the longest has {len(longest)} "
        f"characters, {longest[:40]!r}; set a larger one, such as --config.data.grid='({side}, {side})'"
    )
