"""The networks that judge a modality's class, and how they are trained.

Two recipes: `small` for what is easily told apart (digits, spectrograms), `airbench` for photographs. A classifier maps
channels in [-1, 1], `(B, C, H, W)`, to logits `(B, classes)`; its `features` are the means over the grid of its last maps.
"""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import nn
from tqdm import tqdm

from .. import build
from ..data import restored, shifted
from ..streams import stream


class Classifier(nn.Module):
    """`body` makes maps `(B, n, h, w)`, `head` makes logits of them."""

    def __init__(self, body: nn.Module, head: nn.Module, channels: int, classes: int):
        super().__init__()
        self.body, self.head, self.channels, self.classes = body, head, channels, classes

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.body(x))

    @torch.no_grad()
    def judge(self, channels: torch.Tensor) -> torch.Tensor:
        """The likeliest class of each row, `(B,)`."""
        return torch.cat([self(part).argmax(1) for part in channels.split(512)])

    @torch.no_grad()
    def features(self, channels: torch.Tensor) -> torch.Tensor:
        """`(B, C, H, W)` to `(B, n)` float64: the means over the grid of the last maps."""
        return torch.cat([self.body(part).mean((2, 3)) for part in channels.split(512)]).double()


def small(channels: int, classes: int, width: int = 48) -> Classifier:
    """Five convolutions at 1/2, 1/4 and 1/8 of the resolution."""

    def part(c_in, c_out, size, stride):
        layers = nn.Conv2d(c_in, c_out, size, stride, size // 2, bias=False), nn.BatchNorm2d(c_out), nn.ReLU()
        return nn.Sequential(*layers)

    body = nn.Sequential(
        part(channels, width, 5, 2),
        part(width, width, 3, 1),
        part(width, 2 * width, 3, 2),
        part(2 * width, 2 * width, 3, 1),
        part(2 * width, 4 * width, 3, 2),
    )
    head = nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Dropout(0.3), nn.Linear(16 * width, classes))
    return Classifier(body, head, channels, classes)


class Whiten(nn.Conv2d):
    """2 x 2 patches, centred and in directions of equal variance, each with both signs: fixed after `fit`."""

    def __init__(self, channels: int):
        super().__init__(channels, 8 * channels, 2, bias=True)
        self.weight.requires_grad = False
        nn.init.zeros_(self.bias)

    @torch.no_grad()
    def fit(self, x: torch.Tensor, floor: float = 5e-4) -> None:
        patches = F.unfold(x, 2).transpose(1, 2).flatten(0, 1)
        values, vectors = torch.linalg.eigh(torch.cov(patches.T).double())
        rows = (vectors / (values + floor).sqrt()).T.float()
        self.weight.copy_(torch.cat([rows, -rows]).view_as(self.weight))


class Scaled(nn.Module):
    def __init__(self, factor: float):
        super().__init__()
        self.factor = factor

    def forward(self, x):
        return self.factor * x


def airbench(channels: int, classes: int, widths: tuple[int, ...] = (64, 256, 256)) -> Classifier:
    """Whitened patches, then three blocks of two convolutions. Jordan 2024, arXiv:2404.00498, section 3."""

    def conv(c_in, c_out):
        layer = nn.Conv2d(c_in, c_out, 3, padding=1, bias=False)
        with torch.no_grad():
            nn.init.dirac_(layer.weight[:c_in])  # the part that only passes its input on
        return layer

    def norm(width):
        layer = nn.BatchNorm2d(width, eps=1e-12, momentum=0.4)
        layer.weight.requires_grad = False
        return layer

    layers, before = [Whiten(channels), nn.GELU()], 8 * channels
    for width in widths:
        layers += [conv(before, width), nn.MaxPool2d(2), norm(width), nn.GELU()]
        layers += [conv(width, width), norm(width), nn.GELU()]
        before = width
    head = nn.Sequential(nn.AdaptiveMaxPool2d(1), nn.Flatten(), nn.Linear(before, classes, bias=False), Scaled(1 / 9))
    return Classifier(nn.Sequential(*layers), head, channels, classes)


def train_small(
    values: torch.Tensor, labels: torch.Tensor, seed: int, updates: int | None = None, batch: int = 128, shift: int = 2
) -> Classifier:
    """AdamW on rows moved by up to `shift` pixels, with noise; the same weights for the same seed.

    Without a number of `updates` 100 passes, but 200 updates at least and 800 at most.
    """
    updates = updates or min(800, max(200, 100 * len(values) // batch))
    model = small(values.shape[1], int(labels.max()) + 1)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=updates)
    generator = stream(seed, 21)
    model.train().to(memory_format=torch.channels_last)
    for _ in tqdm(range(updates), desc="training a judge", leave=False, disable=None):
        rows = torch.randint(len(values), (batch,), generator=generator)
        x = restored(values[rows])
        dy, dx = torch.randint(-shift, shift + 1, (2,), generator=generator).tolist()
        x = torch.roll(x, (dy, dx), (2, 3)) + 0.1 * torch.randn(x.shape, generator=generator)
        loss = F.cross_entropy(model(x), labels[rows], label_smoothing=0.05)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return model.eval()


def train_airbench(
    values: torch.Tensor,
    labels: torch.Tensor,
    seed: int,
    passes: float = 12.0,
    batch: int = 1000,
    shift: int = 2,
    show: Callable | None = None,
    dtype: torch.dtype | None = None,
) -> Classifier:
    """Nesterov's SGD with the settings of Jordan 2024, arXiv:2404.00498, listing 4, more passes and no test-time views.

    Mirrored every second pass, moved by up to `shift` pixels, label smoothing .2; the weights are averaged on the way
    (lookahead). `show(pass, model)` is called after every pass. Without a `dtype` in bfloat16 where the hardware is fast at it.
    """
    dtype = dtype or build.precision("auto", values.device)
    model = airbench(values.shape[1], int(labels.max()) + 1)
    model.body[0].fit(restored(values[:5000]))
    steps, momentum = math.ceil(passes * (len(values) // batch)), 0.85
    scale = 1024 * (1 + 1 / (1 - momentum))
    lr, decay = 11.5 / scale, 0.0153 * batch / scale
    biases = [p for n, p in model.named_parameters() if p.requires_grad and n.endswith("bias") and n != "body.0.bias"]
    others = [p for n, p in model.named_parameters() if p.requires_grad and not n.endswith("bias")]
    groups = [
        {"params": biases, "lr": 64 * lr, "weight_decay": decay / (64 * lr)},
        {"params": others, "lr": lr, "weight_decay": decay / lr},
        {"params": [model.body[0].bias], "lr": 64 * lr, "weight_decay": decay / (64 * lr)},
    ]
    optimizer = torch.optim.SGD(groups, momentum=momentum, nesterov=True)
    for group in optimizer.param_groups:
        group["base"] = group["lr"]
    slow = {n: v.detach().clone() for n, v in model.state_dict().items() if v.is_floating_point()}
    model.train().to(memory_format=torch.channels_last)
    mirror = torch.rand(len(values), generator=stream(seed, 22)) < 0.5
    per = len(values) // batch
    up = 0.23 * steps
    for step in tqdm(range(steps), desc="training a judge", leave=False, disable=None):
        epoch, at = divmod(step, per)
        if at == 0:
            generator = stream(seed, 23, epoch)
            order = torch.randperm(len(values), generator=generator)
            model.body[0].bias.requires_grad = epoch < 3
        rows = order[at * batch : (at + 1) * batch]
        x = shifted(
            restored(values[rows]), shift, 2 * shift - torch.randint(2 * shift + 1, (2, len(rows)), generator=generator)
        )
        x = torch.where((mirror[rows] ^ (epoch % 2 == 1))[:, None, None, None], x.flip(3), x)
        factor = 0.2 + 0.8 * step / up if step < up else 1 - 0.93 * (step - up) / (steps - up)
        for group in optimizer.param_groups:
            group["lr"] = group["base"] * factor
        with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
            logits = model(x.contiguous(memory_format=torch.channels_last))
        loss = F.cross_entropy(logits.float(), labels[rows], label_smoothing=0.2, reduction="sum")
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        if (step + 1) % 5 == 0 or step + 1 == steps:
            weight = 1 - 0.95**5 * ((step + 1) / steps) ** 3
            now = model.state_dict()
            with torch.no_grad():
                for name, value in slow.items():
                    value.lerp_(now[name], weight)
                    now[name].copy_(value)
        if show and at == per - 1:
            show(epoch, model)
    return model.eval()


NETWORKS = {"small": small, "airbench": airbench}
TRAINERS = {"small": train_small, "airbench": train_airbench}
