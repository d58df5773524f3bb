"""A picture of all directions: a panel each, with test examples as conditions."""

import numpy as np
import PIL.Image

from .. import build
from ..model import Model
from ..report import beside, grid_picture, titled
from .coherence import directions


def gallery(model: Model, rows: int = 5, panels: int = 4, seed: int = 0, **how) -> PIL.Image.Image:
    """One panel of `rows` samples for every direction in which nothing is left out, `panels` beside each other.

    What is given has a frame. `how` goes to `Model.sample`.
    """
    pairs = build.data(model.config, model.modalities, "test")
    values = pairs.rows(0, rows).values
    pictures = []
    for direction in directions(model.layout.names, leave_out=False):
        drawn = model.sample({n: values[n] for n in direction.given}, num=rows, seed=seed, **how)
        pictures.append(titled(grid_picture(model.modalities, drawn, direction.given), str(direction)))
    lines = [beside(pictures[i : i + panels]) for i in range(0, len(pictures), panels)]
    width = max(line.shape[1] for line in lines)
    lines = [np.pad(line, ((0, 16), (0, width - line.shape[1]), (0, 0)), constant_values=255) for line in lines]
    return PIL.Image.fromarray(np.concatenate(lines))
