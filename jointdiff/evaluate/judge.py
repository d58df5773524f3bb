"""Judges: which class does a modality's channel show?

Words are read letter by letter and must be a class's name exactly. Everything else is judged by a classifier trained on the
source's training items alone. Those of the package's own sources come with it; others are trained when they are first
wanted, and cached under the data root. A judge's accuracy on real test items is the ceiling of what coherence can be.
"""

import hashlib
import json
import os
import pathlib

import torch
from ml_collections import ConfigDict

from .. import build
from ..data import content, restored
from ..files import write_atomically
from .classifiers import NETWORKS, TRAINERS, Classifier

MOST = 100_000  # items that a judge is trained on
VERSION = 2  # part of a judge's name: raise it when a training in `classifiers` changes
RECIPES = {"cifar10": "airbench"}  # by source; `small` for all others
SHIPPED = pathlib.Path(__file__).parent / "judges"


class Reader:
    """Reads a text; the class that it is the name of, to the letter, or -1."""

    def __init__(self, modality, names: dict[str, int]):
        self.modality, self.names = modality, names

    def judge(self, channels: torch.Tensor) -> torch.Tensor:
        return torch.tensor([self.names.get(text, -1) for text in self.modality.decode(channels)], dtype=torch.long)


def build_judges(config, modalities: dict, data=None) -> dict:
    """`{name: judge}`; none at all for data without classes, such as a manifest's without labels.

    `data` are the training rows, where they are at hand.
    """
    judges = {name: build_judge(config, name, modality, data) for name, modality in modalities.items()}
    if config.data.scene.name:  # some of its parts show nothing that can be judged
        return {name: judge for name, judge in judges.items() if judge}
    return {} if None in judges.values() else judges


def build_judge(config, name: str, modality, data=None) -> Reader | Classifier | None:
    """The judge of a modality: shipped, from the cache, or trained and put there; None when its items have no classes."""
    scene = build.scene(config, "train")
    if scene and (source := scene.sources.get(config.modality[name].source)):
        config, data = ConfigDict(config.to_dict()), None
        config.data.scene.name, config.modality[name].source = "", source
    reads, own = getattr(modality, "reads", False), bool(config.data.manifest)
    if own or reads or config.data.scene.name:
        data = data or build.data(config, {name: modality}, "train")
        if len(labelled(data.labels[name]).unique()) < 2:
            return None
        if reads and (names := named(modality, data.values[name], data.labels[name])):
            return Reader(modality, names)
    file = f"{judge_id(config, name, data if own else None)}.safetensors"
    cached = build.cache_root(config) / "classifiers" / file
    for path in (SHIPPED / file, cached):
        if path.is_file():
            return load_judge(path)
    save_judge(train_judge(config, name, modality, data=data), cached, recipe(config, name))
    return load_judge(cached)


def labelled(labels: torch.Tensor) -> torch.Tensor:
    """Those that are a class; -1 is none."""
    return labels[labels >= 0]


def named(modality, values, labels: torch.Tensor) -> dict[str, int]:
    """`{text: class}` where every class has one text and no two the same; otherwise empty."""
    texts = (text for part in values.split(4096) for text in modality.decode(restored(part)))
    pairs = {(int(label), text) for label, text in zip(labels, texts)}
    names = {text: label for label, text in pairs}
    return names if len(names) == len(pairs) == len(labels.unique()) else {}


def recipe(config, name: str) -> str:
    return RECIPES.get(config.modality[name].source, "small")


def judge_id(config, name: str, data=None) -> str:
    """What names a judge: its source, and a digest of all that its training depends on, `data` too where it is a user's."""
    digest = hashlib.sha256(json.dumps([VERSION, *build.depends(config, name)], sort_keys=True).encode())
    if data is not None:
        digest.update(content(data.values[name]).encode() + data.labels[name].numpy().tobytes())
    scene = f"{config.data.scene.name}-" if config.data.scene.name else ""
    return f"{scene}{config.modality[name].source}-{digest.hexdigest()[:12]}"


def train_judge(config, name: str, modality, seed: int = 0, data=None, **options) -> Classifier:
    """A judge trained on the training items; `options` go to its recipe's trainer."""
    data = data or build.data(config, {name: modality}, "train")
    if modality.rate:
        options["shift"] = 0  # a tone that is moved is another tone
    known = (data.labels[name] >= 0).nonzero()[:, 0]
    known = known[:: -(-len(known) // MOST) or 1]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return TRAINERS[recipe(config, name)](data.values[name][known], data.labels[name][known], seed, **options)


def save_judge(judge: Classifier, path: pathlib.Path, recipe: str) -> None:
    """Weights in half precision, with what is needed to build the network again."""
    from safetensors.torch import save_file

    tensors = {n: (v.half() if v.is_floating_point() else v).contiguous() for n, v in judge.state_dict().items()}
    about = {"recipe": recipe, "channels": str(judge.channels), "classes": str(judge.classes)}
    write_atomically(path, lambda p: save_file(tensors, p, metadata=about))
    os.chmod(path, 0o644)  # safetensors keeps it from others


def load_judge(path: pathlib.Path) -> Classifier:
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        about = file.metadata()
        tensors = {n: file.get_tensor(n) for n in file.keys()}  # noqa: SIM118
    judge = NETWORKS[about["recipe"]](int(about["channels"]), int(about["classes"]))
    judge.load_state_dict({n: v.float() if v.is_floating_point() else v for n, v in tensors.items()})
    return judge.eval()


def ceiling(judge, config, name: str, modality) -> float:
    """The judge's accuracy on all real test items."""
    data = build.data(config, {name: modality}, "test")
    known = data.labels[name] >= 0
    return float((judge.judge(restored(data.values[name][known])) == data.labels[name][known]).float().mean())
