"""What sampling returns: channels by name, and what they stand for."""

import base64
import html
import io
import json
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import PIL.Image
import torch
from scipy.io import wavfile

from .files import folder_at_once
from .report import grid_picture


class Samples(Mapping):
    """Samples by modality: `samples["image"]` is `(N, C_m, H, W)` in [-1, 1], ready to be given to the next call.

    `given` names what was given; `info` says how they were made (seeds, sampler, evaluations, seconds ...). What is left
    out is not in it.
    """

    def __init__(self, channels: Mapping[str, torch.Tensor], given: tuple[str, ...], modalities: Mapping, info: dict):
        self.channels, self.given, self.modalities, self.info = dict(channels), given, dict(modalities), info
        self._raw: dict[str, Any] = {}

    def __getitem__(self, name: str) -> torch.Tensor:
        return self.channels[name]

    def __iter__(self):
        return iter(self.channels)

    def __len__(self) -> int:
        return len(self.channels)

    def raw(self, name: str) -> Any:
        """The modality's own values: uint8 pictures, a list of texts, a list of waveforms."""
        if name not in self.channels:
            raise ValueError(f"unknown modality {name!r}; these samples have {', '.join(self.channels)}")
        if name not in self._raw:
            self._raw[name] = self.modalities[name].decode(self.channels[name])
        return self._raw[name]

    def pictures(self, name: str) -> list[PIL.Image.Image]:
        """Something to look at, a picture a sample: a modality's own picture, rendered text, a spectrogram."""
        self.raw(name)
        return [PIL.Image.fromarray(p) for p in self.modalities[name].picture(self.channels[name])]

    def texts(self, name: str = "text") -> list[str]:
        """Decoded texts; ValueError for a modality that is no text."""
        values = self.raw(name)
        if not (isinstance(values, list) and all(isinstance(v, str) for v in values)):
            raise ValueError(f"{name!r} is no text; see raw({name!r})")
        return values

    def sounds(self, name: str = "audio") -> list[tuple[np.ndarray, int]]:
        """Waveforms with their rate in Hz; ValueError for a modality that is no sound."""
        values, rate = self.raw(name), self.modalities[name].rate
        if not rate:
            raise ValueError(f"{name!r} is no sound; see raw({name!r})")
        return [(wave, rate) for wave in values]

    def movies(self, name: str = "film") -> list[bytes]:
        """Animated files, GIF or WebP; ValueError for a modality that is no film."""
        if not hasattr(self.modalities[name], "movie"):
            raise ValueError(f"{name!r} is no film; see raw({name!r})")
        return self.modalities[name].movie(self.channels[name])

    def kind(self, name: str) -> str:
        """ "sound", "film", "text" or "picture": how to show the modality."""
        if self.modalities[name].rate:
            return "sound"
        if hasattr(self.modalities[name], "movie"):
            return "film"
        return "text" if isinstance(self.raw(name), list) else "picture"

    def grid(self, most: int = 32) -> PIL.Image.Image:
        """One picture: a row a sample, a column a modality, what was given framed."""
        return PIL.Image.fromarray(
            grid_picture(self.modalities, {n: v[:most] for n, v in self.channels.items()}, self.given)
        )

    def save(self, folder: str | pathlib.Path) -> pathlib.Path:
        """Write `samples.npz`, `grid.png`, `samples.json`, a WAV file a sound and an animated file a film to a new folder, all or
        nothing."""
        with folder_at_once(pathlib.Path(folder)) as temporary:
            self.write(temporary)
        return pathlib.Path(folder)

    def write(self, folder: pathlib.Path, **more) -> None:
        """The files of `save` into a folder that exists; `more` goes to `samples.json`."""
        arrays, texts = {"given": np.array(sorted(self.given), dtype=str)}, {}
        for name in self.channels:
            raw = self.raw(name)
            arrays[name], arrays[f"{name}_raw"] = self.channels[name].numpy(), np.asarray(raw)
            if self.kind(name) == "text":
                texts[name] = raw
            if self.kind(name) == "sound":
                for i, (wave, rate) in enumerate(self.sounds(name)):
                    (folder / f"{name}_{i:03d}.wav").write_bytes(wav(wave, rate))
            if self.kind(name) == "film":
                for i, movie in enumerate(self.movies(name)):
                    (folder / f"{name}_{i:03d}.{kind_of(movie)}").write_bytes(movie)
        np.savez_compressed(folder / "samples.npz", **arrays)
        self.grid().save(folder / "grid.png")
        summary = {"text": texts, "given": list(self.given), **self.info, **more}
        (folder / "samples.json").write_text(json.dumps(summary, indent=1))

    def html(self, name: str) -> list[str]:
        """A modality's samples for a web page: a picture, a spectrogram and a player, a film that plays, or the text."""
        if self.kind(name) == "text":
            return [f"<code>{html.escape(t) or '&nbsp;'}</code>" for t in self.texts(name)]
        if self.kind(name) == "film":
            return [shown(movie, name) for movie in self.movies(name)]
        out = [shown(p, name) for p in self.pictures(name)]
        if self.kind(name) == "sound":
            player = '<audio controls style="width:100%;min-width:180px" src="data:audio/wav;base64,{}"></audio>'
            out = [f"{a}<br>{player.format(encoded(wav(*s)))}" for a, s in zip(out, self.sounds(name))]
        return out

    def _repr_html_(self) -> str:
        """Pictures, players and texts for a notebook; a row a sample."""
        cells = {name: self.html(name) for name in self.channels}
        head = "".join(f"<th>{html.escape(n)}{' (given)' if n in self.given else ''}</th>" for n in cells)
        rows = "".join(f"<tr>{''.join(f'<td>{c}</td>' for c in row)}</tr>" for row in zip(*cells.values()))
        return f"<table><tr>{head}</tr>{rows}</table>"

    def __repr__(self) -> str:
        shapes = ", ".join(
            f"{n} {tuple(v.shape)}{' given' if n in self.given else ''}" for n, v in self.channels.items()
        )
        return f"Samples({shapes}; {self.info['evaluations']} evaluations, {self.info['seconds']:.1f} s)"


def shown(picture: PIL.Image.Image | bytes, name: str, size: int = 96) -> str:
    """A picture, or an animated file, in a web page, `size` pixels high, or as large as it is for 0."""
    data = picture if isinstance(picture, bytes) else png(picture)
    kind = kind_of(data)
    return (
        f'<img alt="{html.escape(name)}" style="{f"height:{size}px;" if size else ""}image-rendering:pixelated" '
        f'src="data:image/{kind};base64,{encoded(data)}">'
    )


def kind_of(data: bytes) -> str:
    """gif, webp or png, by a file's first bytes."""
    return "gif" if data[:3] == b"GIF" else "webp" if data[:4] == b"RIFF" else "png"


def wav(wave: np.ndarray, rate: int) -> bytes:
    """A 16-bit WAV file."""
    file = io.BytesIO()
    wavfile.write(file, rate, (np.clip(wave, -1, 1) * 32767).round().astype(np.int16))
    return file.getvalue()


def png(picture: PIL.Image.Image) -> bytes:
    file = io.BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()


def encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()
