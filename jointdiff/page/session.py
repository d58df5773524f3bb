"""What the page does, without the page: values as a browser sends them, drawing, redrawing, archives."""

import functools
import pathlib
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import PIL.Image
import torch

from ..modalities import Audio, Image, Text
from ..modalities.audio import load
from ..model import Model
from ..results import Samples, kind_of, shown, wav

MOST_RESULTS, MOST_STEPS, MOST_RUNS = 8, 200, 20
CANVAS = 256  # side of what one draws on, pixels
SILENT = 1e-3  # of full scale


def read_value(model: Model, name: str, value) -> torch.Tensor:
    """Channels `(1, C_m, H, W)` of what the modality's input holds; ValueError that says what is missing or wrong."""
    modality = model.modalities[name]
    if isinstance(modality, Image):
        picture = value.get("composite") if isinstance(value, Mapping) else value
        if not picture or picture.convert("RGB").getcolors(1):  # one colour alone
            raise ValueError(f"draw something as {name}, or upload a picture")
        value = picture.convert("RGB")
    elif isinstance(modality, Text):
        if not value:
            raise ValueError(f"type something as {name}; possible are the characters {modality.alphabet!r}")
    elif isinstance(modality, Audio):
        if value is None:
            raise ValueError(f"record a sound as {name}, or upload one")
        try:
            wave, rate = load(value)
        except ValueError:
            raise ValueError(f"what was uploaded as {name} is not a WAV file that can be read") from None
        value = trimmed(wave, rate, name), rate
    elif value is None:
        raise ValueError(f"upload a file as {name}")
    return model.encode(name, value)


def trimmed(wave: np.ndarray, rate: int, name: str, quiet: float = 0.03, margin: float = 0.05) -> np.ndarray:
    """A recording without the quiet (a fraction of its peak) at its ends, but for a margin in seconds."""
    full = -float(np.iinfo(wave.dtype).min) if np.issubdtype(wave.dtype, np.integer) else 1.0
    level = np.abs(wave.astype(np.float64)).reshape(len(wave), -1 if wave.size else 1).max(1, initial=0) / full
    if level.max(initial=0) < SILENT:
        raise ValueError(f"the sound given as {name} is silent; is the microphone on?")
    loud = np.flatnonzero(level > quiet * level.max())
    around = round(margin * rate)
    return wave[max(0, loud[0] - around) : loud[-1] + around]


def draw(
    model: Model,
    given: Mapping[str, torch.Tensor],
    noise: Mapping[str, float],
    leave_out: Sequence[str],
    num: int,
    seed: int,
    settings: Mapping,
    on_step: Callable | None = None,
) -> Samples:
    """`num` samples; the limits of the page hold."""
    if not 1 <= num <= MOST_RESULTS:
        raise ValueError(f"{num} results; this page draws 1 to {MOST_RESULTS} at once")
    if not 1 <= settings["steps"] <= MOST_STEPS:
        raise ValueError(f"{settings['steps']} steps; this page takes 1 to {MOST_STEPS}")
    held = {n: v.expand(num, -1, -1, -1) for n, v in given.items()}
    tell = on_step and (lambda state: on_step({**state, **held}))
    return model.sample(given, num, seed, leave_out, noise=noise, on_step=tell, **settings)


def redraw(
    model: Model,
    samples: Samples,
    keep: Sequence[Sequence[str]],
    strength: float,
    seed: int,
    settings: Mapping,
    on_step: Callable | None = None,
) -> Samples:
    """The samples with all redrawn but what is kept, named for every sample, and what had been given.

    What is redrawn starts from what it was, noised to the time `strength`; 1 is from scratch. Samples that keep the same
    are drawn together, each such group from a seed of its own, `seed` and those after it.
    """
    left_out = samples.info["leave_out"]
    groups: dict[tuple, list[int]] = {}
    for row, names in enumerate(keep):
        held = tuple(n for n in samples if n in names or n in samples.given)
        if len(held) < len(samples):
            groups.setdefault(held, []).append(row)
    if not groups:
        raise ValueError("everything is kept: take a mark away from what should be redrawn")
    channels = {n: v.clone() for n, v in samples.items()}
    seeds, evaluations, seconds = list(samples.info["seeds"]), 0, 0.0
    for group, (held, rows) in enumerate(groups.items()):
        noise = {n: torch.tensor(level)[rows] for n, level in samples.info["noise"].items()}
        start = {n: samples[n][rows] if n in samples else torch.zeros(1, *shape(model, n)) for n in model.layout.names}
        drawn = model.sample(
            {n: samples[n][rows] for n in held},
            len(rows),
            seed + group,
            left_out,
            noise=noise,
            on_step=on_step and functools.partial(among, on_step, channels, rows, held),
            start=start if strength < 1 else None,
            strength=strength,
            **settings,
        )
        for name in channels:
            channels[name][rows] = drawn[name]
        for row, own in zip(rows, drawn.info["seeds"]):
            seeds[row] = own
        evaluations, seconds = max(evaluations, drawn.info["evaluations"]), seconds + drawn.info["seconds"]
    info = {**samples.info, **settings, "seed": seed + len(groups) - 1, "seeds": seeds, "strength": strength,
            "kept": [list(names) for names in keep], "evaluations": evaluations, "seconds": seconds}  # fmt: skip
    return Samples(channels, samples.given, samples.modalities, info)


def among(on_step: Callable, channels: Mapping, rows: Sequence[int], held: Sequence[str], state: Mapping) -> None:
    """Tells of all samples while some rows of them are drawn, of which `held` stay."""
    now = {n: v.clone() for n, v in channels.items()}
    for name in now:
        if name not in held:
            now[name][rows] = state[name]
    on_step(now)


def example(model: Model, name: str, seed: int, on_step: Callable | None = None) -> Samples:
    """One value of a modality by itself, drawn by the model: something to begin with, without any data."""
    others = [n for n in model.layout.names if n != name]
    return model.sample(num=1, seed=seed, leave_out=others, on_step=on_step, guidance=0.0)


def as_input(samples: Samples, name: str, row: int, folder: str):
    """A drawn value as the modality's input takes it: a picture, a text, or the path of a file in `folder`."""
    modality = samples.modalities[name]
    if isinstance(modality, Image):
        picture = samples.pictures(name)[row]
        factor = max(1, CANVAS // max(picture.size))
        return picture.resize((picture.width * factor, picture.height * factor), PIL.Image.Resampling.NEAREST)
    if isinstance(modality, Text):
        return samples.texts(name)[row]
    file = pathlib.Path(tempfile.mkdtemp(dir=folder))
    if isinstance(modality, Audio):
        file = file / f"{name}.wav"
        file.write_bytes(wav(*samples.sounds(name)[row]))
    elif samples.kind(name) == "film":
        movie = samples.movies(name)[row]
        file = file / f"{name}.{kind_of(movie)}"
        file.write_bytes(movie)
    else:
        file = file / f"{name}.npy"
        np.save(file, np.asarray(samples.raw(name)[row]))
    return str(file)


def so_far(model: Model, state: Mapping[str, torch.Tensor], left_out: Sequence[str]) -> dict[str, list[str]]:
    """What samples are by now, noisy still, as pictures for a web page."""
    return {
        n: [shown(PIL.Image.fromarray(p), n) for p in model.modalities[n].picture(v.clamp(-1, 1))]
        for n, v in state.items()
        if n not in left_out
    }


def shape(model: Model, name: str) -> tuple[int, int, int]:
    return (model.layout.channels[name], *model.layout.grid)


def title(number: int, samples: Samples) -> str:
    """One line for the history."""
    made = ", ".join(n for n in samples if n not in samples.given)
    again = ", redrawn" if "kept" in samples.info else ""
    return f"{number}: {', '.join(samples.given) or 'nothing'} → {made}, seed {samples.info['seed']}{again}"


def status(samples: Samples) -> str:
    info = samples.info
    seeds = ", ".join(f"({a}, {b})" for a, b in info["seeds"])
    return (
        f"{info['evaluations']} network evaluations, {info['seconds']:.1f} s · {info['sampler']}, {info['steps']} steps, "
        f"guidance {info['guidance']:g} · seeds {seeds}"
    )


def archive(runs: Sequence[Samples], folder: str) -> str:
    """A new zip file in `folder`, with a folder a run, as `Samples.save` writes them; its path."""
    with tempfile.TemporaryDirectory() as gathered:
        for number, samples in enumerate(runs, 1):
            samples.save(pathlib.Path(gathered) / f"run_{number:03d}")
        return shutil.make_archive(str(pathlib.Path(tempfile.mkdtemp(dir=folder)) / "jointdiff"), "zip", gathered)
