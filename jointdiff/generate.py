"""Sampling from the command line's words to a folder of results."""

import contextlib
import json
import os
import pathlib
import shutil
import tempfile
import time

import numpy as np
import PIL.Image
import torch
from scipy.io import wavfile
from tqdm import tqdm

from . import config as cfg
from .model import Model
from .report import grid_picture
from .streams import stream


def read_given(model: Model, arguments: list[str], num: int, seed: int) -> dict[str, torch.Tensor]:
    """Encoded conditions, `{name: (num or 1, C_m, H, W)}`, from arguments of the form

        NAME=VALUE      a text, or the path of a picture or sound
        NAME            examples from the test split, paired by class when several modalities are named so
        NAME=class:K    test examples of class K

    Raises ValueError that says what was wrong and what is possible.
    """
    out, pairs = {}, None
    for argument in arguments:
        name, equals, value = argument.partition("=")
        model.layout.check([name])
        if name in out:
            raise ValueError(f"--given={name} stands twice")
        if equals and not value.startswith("class:"):
            modality = model.modalities[name]
            out[name] = modality.encode(modality.read(value))
            continue
        if pairs is None:
            pairs = cfg.build_pairs(model.config, model.modalities, "test")
        start = int(torch.randint(len(pairs), (1,), generator=stream(seed, 41)))
        if not equals:
            out[name] = pairs.rows(start, num)[0][name]
            continue
        classes = sorted(set(pairs.labels[name].tolist()))
        wanted = value.removeprefix("class:")
        if not wanted.isdigit() or int(wanted) not in classes:
            raise ValueError(f"--given={argument}: expected a class from {classes[0]} to {classes[-1]}")
        rows = (pairs.labels[name] == int(wanted)).nonzero()[:, 0]
        rows = rows[(start + torch.arange(num)) % len(rows)]
        out[name] = pairs.values[name][rows].float() / 127.5 - 1
    return out


def new_folder(parent: pathlib.Path) -> pathlib.Path:
    """The first of parent/000, parent/001 ... that does not exist."""
    return next(p for p in (parent / f"{i:03d}" for i in range(10**6)) if not p.exists())


@contextlib.contextmanager
def folder_at_once(path: pathlib.Path):
    """A temporary folder that becomes `path` when the block ends well, and vanishes when it does not."""
    path = pathlib.Path(path)
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise ValueError(f"{path} exists already and is not an empty folder; choose another --outdir")
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = pathlib.Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    try:
        yield temporary
        temporary.chmod(0o755)
        os.replace(temporary, path)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


@torch.no_grad()
def seconds_per_evaluation(model: Model, batch: int) -> float:
    """The time of one network evaluation of a batch, measured."""
    x, t = torch.zeros(batch, *model.layout.shape, device=model.device), torch.tensor(0.5, device=model.device)
    times = []
    for _ in range(3):
        began = time.perf_counter()
        model.denoiser(x, t).cpu()
        times.append(time.perf_counter() - began)
    return min(times)


def generate(
    model: Model,
    outdir: pathlib.Path,
    arguments: list[str],
    num: int,
    seed: int,
    leave_out=(),
    batch: int = 64,
    show=print,
    **how,
) -> dict:
    """Sample and write `samples.npz`, `grid.png`, `samples.json` and sounds to a new folder; returns the JSON's content."""
    if num < 1:
        raise ValueError(f"--num={num}; expected at least 1")
    given = read_given(model, arguments, num, seed)
    if len(given) + len(model.layout.check(leave_out)) == len(model.layout.names):
        raise ValueError("everything is given or left out: nothing is left to generate")
    batches = -(-num // batch)
    evaluations = model.cost(how.get("sampler"), how.get("steps"))
    expected = seconds_per_evaluation(model, min(num, batch)) * evaluations * batches
    generated = [n for n in model.layout.names if n not in given and n not in leave_out]
    show(
        f"{num} samples of {', '.join(generated)} from {', '.join(given) or 'nothing'}: {evaluations} network evaluations"
        f"{f' for each of {batches} batches' if batches > 1 else ''}, about {expected:.1f} s"
    )
    steps = how.get("steps") or model.config.sample.steps
    with folder_at_once(outdir) as folder:
        began = time.perf_counter()
        with tqdm(total=batches * steps, disable=None, unit="step", leave=False) as bar:
            drawn = model.sample(given, num, seed, leave_out, batch=batch, on_step=bar.update, **how)
        seconds = time.perf_counter() - began
        texts = write_samples(model, folder, {n: v for n, v in drawn.items() if n not in leave_out}, given)
        summary = {
            "text": texts,
            "given": list(arguments),
            "leave_out": list(leave_out),
            "num": num,
            "seed": seed,
            "seeds": [[seed, i] for i in range(num)],
            **{k: how.get(k) or model.config.sample[k] for k in ("sampler", "steps", "condition")},
            "evaluations": evaluations,
            "seconds": round(seconds, 3),
            "device": str(model.device),
        }
        (folder / "samples.json").write_text(json.dumps(summary, indent=1))
    for name, words in texts.items():
        show(f"{name}: {', '.join(words)}")
    show(f"{seconds:.1f} s, written to {outdir}")
    return summary


def write_samples(model: Model, folder: pathlib.Path, channels: dict[str, torch.Tensor], given) -> dict[str, list[str]]:
    """`samples.npz`, `grid.png` (of the first 32) and a WAV file for every sound; returns the decoded texts by name."""
    arrays, texts = {"given": np.array(sorted(given), dtype=str)}, {}
    modalities = {n: model.modalities[n] for n in channels}
    for name, modality in modalities.items():
        raw = modality.decode(channels[name])
        arrays[name], arrays[f"{name}_raw"] = channels[name].numpy(), np.asarray(raw)
        if modality.rate:
            for i, wave in enumerate(raw):
                pcm = (np.clip(wave, -1, 1) * 32767).round().astype(np.int16)
                wavfile.write(folder / f"{name}_{i:03d}.wav", modality.rate, pcm)
        elif isinstance(raw, list):
            texts[name] = raw
    np.savez_compressed(folder / "samples.npz", **arrays)
    picture = grid_picture(modalities, {n: v[:32] for n, v in channels.items()}, given)
    PIL.Image.fromarray(picture).save(folder / "grid.png")
    return texts
