"""Sources of raw items with classes. Train and test items are disjoint, except `words`, where there is one item a class."""

import pathlib

import numpy as np

from .items import Items
from .polymnist import background, pasted
from .speech import spoken_digits
from .tones import dtmf

DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
CLASSES = {
    "digits": DIGITS,
    "cifar10": ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"),
    "fashion_mnist": (
        "t-shirt",
        "trouser",
        "pullover",
        "dress",
        "coat",
        "sandal",
        "shirt",
        "sneaker",
        "bag",
        "ankle boot",
    ),
}


def _torchvision(name: str, folder: str):
    def load(root: pathlib.Path, split: str) -> Items:
        import torchvision

        cls = getattr(torchvision.datasets, name)
        try:
            data = cls(root, train=split == "train", download=True)
        except (OSError, RuntimeError) as error:
            raise FileNotFoundError(
                f"{name} is neither in {root / folder} nor could it be downloaded ({error}). Put its original files "
                f"there, or set --config.data.root or $JOINTDIFF_DATA to the folder that holds {folder}"
            ) from None
        return Items(np.asarray(data.data), np.asarray(data.targets, dtype=np.int64))

    load.__doc__ = f"`torchvision.datasets.{name}`, found under root or downloaded to it; uint8 pictures."
    return load


def handwritten(root: pathlib.Path, split: str, variants: int = 1, seed: int = 0) -> Items:
    """The 1797 handwritten digits of 8 x 8 pixels that ship with scikit-learn: 1497 to train on, 300 to test.

    `variants` copies of every training picture, all but the first turned, scaled and moved a little. Alpaydin and
    Kaynak 1998, doi:10.24432/C50P49.
    """
    from scipy.ndimage import affine_transform
    from sklearn.datasets import load_digits

    data = load_digits()
    order = np.random.default_rng(0).permutation(len(data.target))  # the split is fixed
    order = order[300:] if split == "train" else order[:300]
    images, labels = data.images[order] / 16.0, data.target[order].astype(np.int64)
    rng, out = np.random.default_rng([seed, 1]), [images]
    for _ in range(variants - 1 if split == "train" else 0):
        for_this = np.empty_like(images)
        for i, image in enumerate(images):
            angle, scale = rng.uniform(-0.2, 0.2), rng.uniform(0.9, 1.1)
            matrix = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) / scale
            centre = np.array([3.5, 3.5])
            for_this[i] = affine_transform(
                image, matrix, centre - matrix @ (centre + rng.uniform(-0.5, 0.5, 2)), order=3
            )
        out.append(for_this)
    return Items((np.concatenate(out) * 255).round().clip(0, 255).astype(np.uint8), np.tile(labels, len(out)))


def polymnist(root: pathlib.Path, split: str, view: int = 0, source: str = "mnist") -> Items:
    """A view of PolyMNIST, uint8 `(N, 28, 28, 3)`: the digits of a source on crops of the view's background. See `polymnist.py`."""
    items = SOURCES[source](root, split)
    picture = background(root, view, max(items.raw.shape[1:3]))
    return Items(pasted(items.raw, picture, np.random.default_rng([10, view, split == "train"])), items.labels)


def words(root: pathlib.Path, split: str, classes: str = "digits") -> Items:
    """The names of the classes, one item a class; the same for train and test."""
    if classes not in CLASSES:
        raise ValueError(f"unknown classes {classes!r}; there are {', '.join(CLASSES)}")
    return Items(list(CLASSES[classes]), np.arange(len(CLASSES[classes])))


def manifest(root: pathlib.Path, split: str) -> Items:
    """A user's own table is no source; weights that were trained on one come without it."""
    raise ValueError("these weights were trained on a table of data that is not here; name its run by --workdir")


SOURCES = {
    "manifest": manifest,
    "handwritten": handwritten,
    "dtmf": dtmf,
    "words": words,
    "mnist": _torchvision("MNIST", "MNIST/raw"),
    "fashion_mnist": _torchvision("FashionMNIST", "FashionMNIST/raw"),
    "cifar10": _torchvision("CIFAR10", "cifar-10-batches-py"),
    "polymnist": polymnist,
    "spoken_digits": spoken_digits,
}
