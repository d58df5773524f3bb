"""PolyMNIST: views that share a digit and nothing else, each on the crops of a background of its own.

Sutter et al. 2021, arXiv:2105.02470, appendix C.2: inside of the digit, where its pixel is above 128, the colours of the crop are
inverted. The digits are those of MNIST's split, the crop of each is drawn once; rows pair items of a class anew in every epoch.
"""

import pathlib

import numpy as np
import PIL.Image

FOLDER = "polymnist_backgrounds"
ABOVE = 128  # of 255: what belongs to the digit


def background(root: pathlib.Path, view: int, side: int) -> np.ndarray:
    """The picture of a view, uint8 `(H, W, 3)`: the files of root/polymnist_backgrounds, by their names."""
    folder = pathlib.Path(root) / FOLDER
    files = sorted(p for p in folder.glob("*") if p.suffix.lower() in (".jpg", ".jpeg", ".png", ".webp"))
    if not 0 <= view < len(files):
        raise FileNotFoundError(
            f"view {view} wants picture number {view + 1} in {folder}, which has {len(files)}. Put pictures there, one a view, "
            "such as those of the PolyMNIST data set, or set --config.data.root or $JOINTDIFF_DATA to the folder that holds them"
        )
    picture = np.asarray(PIL.Image.open(files[view]).convert("RGB"))
    if min(picture.shape[:2]) < side:
        raise ValueError(
            f"{files[view]} is {picture.shape[1]} x {picture.shape[0]}, smaller than a crop of {side} pixels"
        )
    return picture


def pasted(digits: np.ndarray, picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Digits uint8 `(N, h, w)` on random crops of a picture, inverted inside, uint8 `(N, h, w, 3)`."""
    crops = np.lib.stride_tricks.sliding_window_view(picture, digits.shape[1:], (0, 1))  # (y, x, 3, h, w)
    y, x = (rng.integers(n, size=len(digits)) for n in crops.shape[:2])
    out = np.empty((*digits.shape, 3), np.uint8)
    for i, digit in enumerate(digits):
        crop = crops[y[i], x[i]].transpose(1, 2, 0)
        out[i] = np.where(digit[:, :, None] > ABOVE, 255 - crop, crop)
    return out
