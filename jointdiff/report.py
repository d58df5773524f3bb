"""Pictures of samples: a row a sample, a column a modality, the given ones framed."""

from collections.abc import Iterable, Mapping

import numpy as np
import torch

FRAME = (66, 133, 244)  # RGB of the frame around what was given


def grid_picture(
    modalities: Mapping, channels: Mapping[str, torch.Tensor], given: Iterable[str], size: int = 96, gap: int = 6
) -> np.ndarray:
    """`{name: (B, C_m, H, W)}` to one RGB picture, uint8 `(height, width, 3)`."""
    columns = []
    for name, modality in modalities.items():
        cells = modality.picture(channels[name])
        factor = max(1, round(size / max(cells.shape[1:3])))
        cells = cells.repeat(factor, axis=1).repeat(factor, axis=2)
        color = FRAME if name in given else (255, 255, 255)
        pad = np.empty((len(cells), cells.shape[1] + 2 * gap, cells.shape[2] + 2 * gap, 3), np.uint8)
        pad[:] = 255
        pad[:, gap // 3 : -(gap // 3), gap // 3 : -(gap // 3)] = color
        pad[:, gap:-gap, gap:-gap] = cells
        columns.append(pad)
    height = max(c.shape[1] for c in columns)
    columns = [np.pad(c, ((0, 0), (0, height - c.shape[1]), (0, 0), (0, 0)), constant_values=255) for c in columns]
    rows = np.concatenate(columns, axis=2)
    return np.concatenate(list(rows), axis=0)
