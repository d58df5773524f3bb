"""Pictures of samples."""

from collections.abc import Iterable, Mapping

import numpy as np
import PIL.Image
import PIL.ImageDraw
import PIL.ImageFont
import torch

FRAME = (33, 102, 172)  # RGB of the frame around what was given


def cells(modality, channels: torch.Tensor, framed: bool, size: int = 96, gap: int = 6) -> np.ndarray:
    """One modality's samples as tiles of the same height, `(B, size + 2 gap, width, 3)` uint8, framed or not."""
    tiles = modality.picture(channels)
    factor = max(1, size // max(tiles.shape[1:3]))
    tiles = tiles.repeat(factor, axis=1).repeat(factor, axis=2)
    out = np.full((len(tiles), size + 2 * gap, tiles.shape[2] + 2 * gap, 3), 255, np.uint8)
    top = gap + (size - tiles.shape[1]) // 2
    bottom = top + tiles.shape[1]
    if framed:
        out[:, top - gap // 2 : bottom + gap // 2, gap // 2 : -(gap // 2)] = FRAME
    out[:, top:bottom, gap:-gap] = tiles
    return out


def grid_picture(modalities: Mapping, channels: Mapping[str, torch.Tensor], given: Iterable[str]) -> np.ndarray:
    """`{name: (B, C_m, H, W)}` to one picture, uint8 `(height, width, 3)`: a row a sample, a column a modality.

    What was given has a frame.
    """
    given = set(given)
    columns = [cells(m, channels[n], n in given) for n, m in modalities.items()]
    return np.concatenate(list(np.concatenate(columns, axis=2)), axis=0)


def titled(picture: np.ndarray, title: str) -> np.ndarray:
    """The picture with a line of text above it."""
    font = PIL.ImageFont.load_default(size=17)
    width = max(picture.shape[1], int(font.getlength(title)) + 12)
    image = PIL.Image.new("RGB", (width, picture.shape[0] + 30), "white")
    image.paste(PIL.Image.fromarray(picture), (0, 30))
    PIL.ImageDraw.Draw(image).text((6, 5), title, "black", font)
    return np.asarray(image)


def beside(pictures: list[np.ndarray], gap: int = 24) -> np.ndarray:
    """Pictures side by side, on white."""
    height = max(p.shape[0] for p in pictures)
    out = []
    for p in pictures:
        out.append(np.pad(p, ((0, height - p.shape[0]), (0, gap), (0, 0)), constant_values=255))
    return np.concatenate(out, axis=1)
