"""Judges: which class does a modality's channel show?

Words are read letter by letter and must be a class's name exactly. Everything else is judged by a small convolutional
network that is trained here on the training items and cached. Its accuracy on real test items is the ceiling of what
coherence can be.
"""

import hashlib
import json

import torch
from torch import nn
from tqdm import tqdm

from .. import config as cfg
from ..data import encode_source, restored
from ..data.sources import CLASSES
from ..files import write_atomically
from ..streams import stream

RECIPE = 1  # part of the cache's key: raise it when the training below changes
UPDATES = 800


class Classifier(nn.Module):
    """Convolutions at 1/2, 1/4 and 1/8 of the resolution; `(B, C, H, W)` in [-1, 1] to `(B, classes)`."""

    def __init__(self, channels: int, classes: int, width: int = 48):
        super().__init__()

        def part(c_in, c_out, size, stride):
            layers = nn.Conv2d(c_in, c_out, size, stride, size // 2, bias=False), nn.BatchNorm2d(c_out), nn.ReLU()
            return nn.Sequential(*layers)

        self.layers = nn.Sequential(
            part(channels, width, 5, 2),
            part(width, width, 3, 1),
            part(width, 2 * width, 3, 2),
            part(2 * width, 2 * width, 3, 1),
            part(2 * width, 4 * width, 3, 2),
            nn.AdaptiveAvgPool2d(2),
            nn.Flatten(),
            nn.Dropout(0.3),
        )
        self.head = nn.Linear(16 * width, classes)

    def forward(self, x):
        return self.head(self.layers(x))

    @torch.no_grad()
    def judge(self, channels: torch.Tensor) -> torch.Tensor:
        return torch.cat([self(part).argmax(1) for part in channels.split(512)])


class Reader:
    """Reads a text channel; the class whose name it is exactly, or -1."""

    def __init__(self, modality, classes: str):
        self.modality, self.names = modality, CLASSES[classes]

    def judge(self, channels: torch.Tensor) -> torch.Tensor:
        words = self.modality.decode(channels)
        return torch.tensor([self.names.index(w) if w in self.names else -1 for w in words], dtype=torch.long)


def train_classifier(values: torch.Tensor, labels: torch.Tensor, seed: int, batch: int = 128) -> Classifier:
    """Trained on uint8 channels with shifts by up to 2 pixels and noise; the same weights for the same seed."""
    classes = int(labels.max()) + 1
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = Classifier(values.shape[1], classes)
        optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.02)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=UPDATES)
        generator = stream(seed, 21)
        model.train().to(memory_format=torch.channels_last)
        for _ in tqdm(range(UPDATES), desc="training a judge", leave=False, disable=None):
            rows = torch.randint(len(values), (batch,), generator=generator)
            x = restored(values[rows])
            dy, dx = torch.randint(-2, 3, (2,), generator=generator).tolist()
            x = torch.roll(x, (dy, dx), (2, 3)) + 0.1 * torch.randn(x.shape, generator=generator)
            loss = nn.functional.cross_entropy(model(x), labels[rows], label_smoothing=0.05)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return model.eval()


def build_judges(config, modalities: dict) -> dict:
    """`{name: judge}`; classifiers come from the cache under the data root, or are trained and put there."""
    return {name: build_judge(config, name, modality) for name, modality in modalities.items()}


def build_judge(config, name: str, modality):
    entry = config.modality[name]
    if entry.kind == "text":
        return Reader(modality, entry.source_options.get("classes", "digits"))
    key = json.dumps([RECIPE, cfg.plain(config.data)["grid"], entry.to_dict()], sort_keys=True)
    digest = hashlib.sha256(key.encode()).hexdigest()[:12]
    path = cfg.data_root(config) / "classifiers" / f"{entry.source}-{digest}.pt"
    if path.is_file():
        weights = torch.load(path, weights_only=True)
        model = Classifier(modality.channels, len(weights["head.weight"]))
        model.load_state_dict(weights)
        return model.eval()
    items = cfg.build_items(config, "train", name)
    values = encode_source(modality, items)
    model = train_classifier(values, torch.as_tensor(items.labels), seed=0)
    write_atomically(path, lambda p: torch.save(model.state_dict(), p))
    return model


def ceiling(judge, config, name: str, modality) -> float:
    """The judge's accuracy on all real test items."""
    items = cfg.build_items(config, "test", name)
    values = restored(encode_source(modality, items))
    return float((judge.judge(values) == torch.as_tensor(items.labels)).float().mean())
