"""Spoken digits: the Free Spoken Digit Dataset, 3000 recordings by 6 speakers at 8 kHz.

Jackson et al., https://github.com/Jakobovski/free-spoken-digit-dataset, CC BY-SA 4.0. Takes 0 to 4 of every speaker and
digit are the test split, as its authors define it.
"""

import hashlib
import io
import pathlib
import urllib.error
import urllib.request
import zipfile

import numpy as np
from scipy.io import wavfile
from scipy.signal import lfilter, resample_poly

from .items import Items

FOLDER = "free-spoken-digit-dataset/recordings"
URL = "https://github.com/Jakobovski/free-spoken-digit-dataset/archive/refs/tags/v1.0.10.zip"
SPEAKERS = ("george", "jackson", "lucas", "nicolas", "theo", "yweweler")
RATE = 8000


def spoken_digits(root: pathlib.Path, split: str, variants: int = 1, seconds: float = 1.0, seed: int = 0) -> Items:
    """Float waveforms at 8 kHz, cut to the sound above -36 dB of the peak and to `seconds`.

    `variants` copies of every training recording, all but the first at another speed (within 10 %), brighter or duller,
    later by up to 40 ms, and with a little hiss.
    """
    folder = find(pathlib.Path(root))
    rng, waves, labels = np.random.default_rng([seed, 2]), [], []
    for digit in range(10):
        for speaker in SPEAKERS:
            for take in range(5, 50) if split == "train" else range(5):
                rate, wave = wavfile.read(folder / f"{digit}_{speaker}_{take}.wav")
                if rate != RATE:
                    raise ValueError(f"{digit}_{speaker}_{take}.wav has a rate of {rate} Hz, expected {RATE}")
                wave = trim(wave.astype(np.float32) / 32768)
                for variant in range(variants if split == "train" else 1):
                    waves.append((vary(wave, rng) if variant else wave)[: int(seconds * RATE)])
                    labels.append(digit)
    return Items(waves, np.array(labels, dtype=np.int64))


def trim(wave: np.ndarray, below_db: float = 36.0) -> np.ndarray:
    """The waveform without its quiet ends."""
    loud = np.flatnonzero(np.abs(wave) > np.abs(wave).max(initial=0) * 10 ** (-below_db / 20))
    return wave[max(loud[0] - 80, 0) : loud[-1] + 400] if len(loud) else wave


def vary(wave: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    wave = resample_poly(wave, 100, rng.integers(90, 111))
    wave = lfilter([1.0, rng.uniform(-0.4, 0.4)], 1.0, wave)
    wave = np.concatenate([np.zeros(rng.integers(0, int(0.04 * RATE))), wave]).astype(np.float32)
    hiss = np.abs(wave).max() * 10 ** (-rng.uniform(35, 60) / 20)
    return wave + hiss * rng.standard_normal(len(wave)).astype(np.float32)


def find(root: pathlib.Path) -> pathlib.Path:
    """The folder of recordings under root; downloaded and checked when it is not there."""
    folder = root / FOLDER
    wanted = [f"{d}_{s}_{t}.wav" for d in range(10) for s in SPEAKERS for t in range(50)]
    if all((folder / name).is_file() for name in wanted):
        return folder
    try:
        with urllib.request.urlopen(URL, timeout=30) as reply:
            archive = zipfile.ZipFile(io.BytesIO(reply.read()))
        files = {pathlib.PurePosixPath(n).name: n for n in archive.namelist() if n.endswith(".wav")}
        sounds = {name: archive.read(files[name]) for name in wanted}  # reading checks each file's CRC
    except (OSError, urllib.error.URLError, zipfile.BadZipFile, KeyError) as error:
        absent = next(name for name in wanted if not (folder / name).is_file())
        raise FileNotFoundError(
            f"spoken_digits wants {folder / absent} and {len(wanted) - 1} files like it, and the download failed ({error}). "
            f"Fetch {URL}, unpack its recordings/ to {folder}, or set --config.data.root or $JOINTDIFF_DATA"
        ) from None
    for name, data in sounds.items():
        rate, wave = wavfile.read(io.BytesIO(data))
        if rate != RATE or wave.dtype != np.int16:
            raise ValueError(f"{name} in {URL} is not 16 bit sound at {RATE} Hz (md5 {hashlib.md5(data).hexdigest()})")
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in sounds.items():
        (folder / name).write_bytes(data)
    return folder
