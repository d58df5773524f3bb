"""What a source returns."""

import dataclasses

import numpy as np


@dataclasses.dataclass
class Items:
    """Raw values in a modality's batch form, and the class of each, `(N,)` int64."""

    raw: object
    labels: np.ndarray
