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

from .. import config as cfg
from ..data import encode_source, restored
from ..data.sources import CLASSES
from ..files import write_atomically
from .classifiers import NETWORKS, TRAINERS, Classifier

VERSION = 2  # part of a judge's name: raise it when a training in `classifiers` changes
RECIPES = {"cifar10": "airbench"}  # by source; `small` for all others
SHIPPED = pathlib.Path(__file__).parent / "judges"


class Reader:
    """Reads a text channel; the class whose name it is exactly, or -1."""

    def __init__(self, modality, classes: str):
        self.modality, self.names = modality, CLASSES[classes]

    def judge(self, channels: torch.Tensor) -> torch.Tensor:
        words = self.modality.decode(channels)
        return torch.tensor([self.names.index(w) if w in self.names else -1 for w in words], dtype=torch.long)


def build_judges(config, modalities: dict) -> dict:
    """`{name: judge}`."""
    return {name: build_judge(config, name, modality) for name, modality in modalities.items()}


def build_judge(config, name: str, modality) -> Reader | Classifier:
    """The judge of a modality: shipped, from the cache, or trained and put there."""
    entry = config.modality[name]
    if entry.kind == "text":
        return Reader(modality, entry.source_options.get("classes", "digits"))
    file = f"{judge_id(config, name)}.safetensors"
    cached = cfg.data_root(config) / "classifiers" / file
    for path in (SHIPPED / file, cached):
        if path.is_file():
            return load_judge(path)
    save_judge(train_judge(config, name, modality), cached, recipe(config, name))
    return load_judge(cached)


def recipe(config, name: str) -> str:
    return RECIPES.get(config.modality[name].source, "small")


def judge_id(config, name: str) -> str:
    """What names a judge: its source, and a digest of all that its training depends on."""
    entry = config.modality[name]
    depends = {k: entry[k] for k in ("kind", "source", "options", "source_options")}
    depends = {k: v.to_dict() if hasattr(v, "to_dict") else v for k, v in depends.items()}
    key = json.dumps([VERSION, cfg.plain(config.data)["grid"], depends], sort_keys=True)
    return f"{entry.source}-{hashlib.sha256(key.encode()).hexdigest()[:12]}"


def train_judge(config, name: str, modality, seed: int = 0, **options) -> Classifier:
    """A judge trained on the source's training items; `options` go to its recipe's trainer."""
    items = cfg.build_items(config, "train", name)
    if modality.rate:
        options["shift"] = 0  # a tone that is moved is another tone
    values = encode_source(modality, items)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return TRAINERS[recipe(config, name)](values, torch.as_tensor(items.labels), seed, **options)


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
    items = cfg.build_items(config, "test", name)
    values = restored(encode_source(modality, items))
    return float((judge.judge(values) == torch.as_tensor(items.labels)).float().mean())
