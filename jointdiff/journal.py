"""What a training run tells of itself: losses, coherence and samples, to TensorBoard, to JSON lines and to the log."""

import json
import pathlib
import time
from collections.abc import Callable

import torch

from .evaluate.coherence import coherence, directions
from .evaluate.partners import glance
from .layout import Layout
from .model import Model
from .report import grid_picture

LEVELS = torch.tensor([0.1, 0.3, 1.0, 3.0, 10.0])  # edges of the noise levels that the loss is logged by


def log_losses(writer, layout: Layout, history: list[dict], step: int) -> str:
    """The mean loss of each modality, over all and by noise level; one line of it for the log."""
    loss, ratio, target = (torch.cat([h[k] for h in history]) for k in ("loss", "ratio", "target"))
    level, means = torch.bucketize(ratio, LEVELS.to(ratio)), {}
    for column, name in enumerate(layout.names):
        chosen = target[:, column]
        means[name] = float(loss[chosen, column].mean()) if chosen.any() else float("nan")
        if not writer:
            continue
        writer.add_scalar(f"loss/{name}", means[name], step)
        for i, low in enumerate([0.0, *LEVELS.tolist()]):
            at = chosen & (level[:, column] == i)
            if at.any():
                writer.add_scalar(f"loss_by_noise/{name}_above_{low:g}", float(loss[at, column].mean()), step)
    apart = torch.cat([h["alignment"] for h in history])
    if len(apart):
        means["alignment"] = float(apart.mean())
        if writer:
            writer.add_scalar("loss/alignment", means["alignment"], step)
    return "loss " + " ".join(f"{n} {m:.3f}" for n, m in means.items())


def log_evaluation(
    writer, model: Model, judges, test, num: int, step: int, workdir: pathlib.Path, log: Callable
) -> None:
    """Coherence of every direction in which nothing is left out, of `num` held-out rows, and samples.

    Without judges, for data without classes, how often the true partner is found among them by samples.
    """
    began, figures = time.monotonic(), {}
    measure = "coherence" if judges else "partners"
    if not judges:
        figures = glance(model, test, num)
    for direction in directions(model.layout.names, leave_out=False) if judges else ():
        for name, value in coherence(model, judges, test, direction, num).items():
            if name == "joint" and direction.given:
                continue
            label = f"{'+'.join(direction.given) or 'nothing'}_to_{name}"
            figures[label] = value
    for label, value in figures.items():
        writer.add_scalar(f"{measure}/{label}", value, step)
    drawn = model.sample(num=8)
    writer.add_image("samples", grid_picture(model.modalities, drawn, ()), step, dataformats="HWC")
    for name in drawn:
        if drawn.kind(name) == "sound":
            for i, (wave, rate) in enumerate(drawn.sounds(name)[:4]):
                writer.add_audio(f"{name}/{i}", torch.as_tensor(wave)[None], step, sample_rate=rate)
        elif drawn.kind(name) == "text":
            writer.add_text(name, ", ".join(map(repr, drawn.texts(name)[:4])), step)
    writer.flush()
    with open(workdir / f"{measure}.jsonl", "a") as file:
        file.write(json.dumps({"step": step, "num": num, **figures}) + "\n")
    told = " ".join(f"{k} {v:.2f}" for k, v in figures.items())
    log(f"step {step} {measure} {told}  ({clock(time.monotonic() - began)})")


def clock(seconds: float) -> str:
    """1234.5 -> "20:34"."""
    seconds = int(seconds)
    hours, minutes = seconds // 3600, seconds // 60 % 60
    return f"{hours}:{minutes:02d}:{seconds % 60:02d}" if hours else f"{minutes}:{seconds % 60:02d}"
