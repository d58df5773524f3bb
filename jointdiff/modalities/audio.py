"""Sound: a waveform as a log-mel spectrogram folded into channels, and back by phase retrieval.

    waveform -> |STFT| -> mel bands -> decibels -> [-1, 1] -> folded into fold[0] * fold[1] channels

A spectrogram of `fold[0] H` bands and `fold[1] W` frames fills the grid's channels as `pixel_unshuffle` does, so that
neighbours in time and frequency stay neighbours on the grid. The way back solves for a non-negative magnitude and finds
a phase for it with the fast Griffin-Lim algorithm (Perraudin, Balazs and Sondergaard 2013, algorithm 2).
Mel scale: O'Shaughnessy 1987, `m = 2595 log10(1 + f / 700)`. Loudness is not coded: sounds are scaled to the same peak.
"""

import os
import struct

import numpy as np
import torch
from scipy.io import wavfile
from scipy.signal import resample_poly

COMPRESSED = (".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff")
SOUNDS = (".wav", *COMPRESSED)


class Audio:
    """Raw form: a list of float waveforms in [-1, 1], 1-d, at `rate` Hz, at most `seconds` long; shorter ones end in silence.

    Args:
        grid: (H, W). fold: (bands / H, frames / W). rate: Hz. seconds: length of the canvas.
        window: seconds of an STFT window. lowest, highest: Hz, range of the bands (highest: half the rate when 0).
        range_db: decibels from full scale to silence; what is quieter is silence.
        cut: whether a file that is longer than the canvas is cut, rather than refused.
    """

    def __init__(
        self,
        grid: tuple[int, int],
        rate: int = 8000,
        seconds: float = 1.0,
        fold: tuple[int, int] = (2, 2),
        window: float = 0.048,
        lowest: float = 40.0,
        highest: float = 0.0,
        range_db: float = 60.0,
        cut: bool = False,
    ):
        self.grid, self.rate, self.seconds, self.fold, self.range_db = tuple(grid), rate, seconds, tuple(fold), range_db
        self.cut = cut
        self.channels = fold[0] * fold[1]
        self.bands, self.frames = fold[0] * grid[0], fold[1] * grid[1]
        self.samples = round(rate * seconds)
        self.hop = -(-self.samples // self.frames)
        self.window = torch.hann_window(max(round(window * rate), 2 * self.hop))
        self.n_fft = max(2 ** int(np.ceil(np.log2(len(self.window)))), 256)
        self.mel = mel_matrix(self.bands, self.n_fft, rate, lowest, highest or rate / 2)
        self.full_scale = self.window.sum() / 2  # the largest |STFT| of a sine of amplitude 1

    def stft(self, wave: torch.Tensor) -> torch.Tensor:
        return torch.stft(
            wave,
            self.n_fft,
            self.hop,
            len(self.window),
            self.window,
            center=True,
            pad_mode="constant",
            return_complex=True,
        )[..., : self.frames]

    def istft(self, spectrum: torch.Tensor) -> torch.Tensor:
        spectrum = torch.nn.functional.pad(spectrum, (0, 1))
        return torch.istft(
            spectrum, self.n_fft, self.hop, len(self.window), self.window, center=True, length=self.frames * self.hop
        )

    def encode(self, raw: list[np.ndarray]) -> torch.Tensor:
        waves = torch.zeros(len(raw), self.frames * self.hop)
        for row, wave in zip(waves, raw):
            wave = torch.as_tensor(np.asarray(wave, dtype=np.float32))
            if wave.ndim != 1:
                raise ValueError(f"a sound is a 1-d waveform, got shape {tuple(wave.shape)}")
            if not wave.isfinite().all():
                raise ValueError("the sound holds values that are not finite")
            if len(wave) > self.samples:
                raise ValueError(f"the sound lasts {len(wave) / self.rate:.2f} s; {self.seconds:g} s fit")
            peak = wave.abs().max() if len(wave) else 0.0
            row[: len(wave)] = wave / peak if peak > 0 else wave
        return (
            torch.cat([self.spectrogram(part) for part in waves.split(512)])
            if len(raw)
            else torch.zeros(0, self.channels, *self.grid)
        )

    def spectrogram(self, waves: torch.Tensor) -> torch.Tensor:
        """Waveforms `(N, samples)` to channels."""
        mel = self.mel @ (self.stft(waves).abs() / self.full_scale)
        db = 20 * mel.clamp(min=1e-10).log10()
        return self.folded((db / self.range_db * 2 + 1).clamp(-1, 1))

    def folded(self, spectrogram: torch.Tensor) -> torch.Tensor:
        """`(N, bands, frames)` to `(N, C, H, W)`."""
        (a, b), (h, w) = self.fold, self.grid
        return spectrogram.reshape(-1, h, a, w, b).permute(0, 2, 4, 1, 3).reshape(-1, a * b, h, w)

    def unfolded(self, channels: torch.Tensor) -> torch.Tensor:
        """`(N, C, H, W)` to `(N, bands, frames)`."""
        (a, b), (h, w) = self.fold, self.grid
        return channels.reshape(-1, a, b, h, w).permute(0, 3, 1, 4, 2).reshape(-1, a * h, b * w)

    def decode(self, channels: torch.Tensor, iterations: int = 48) -> list[np.ndarray]:
        """Waveforms of the canvas' full length, with a peak of 0.9 unless all is silence."""
        x = self.unfolded(channels.detach().float().cpu()).clamp(-1, 1)
        mel = 10 ** ((x - 1) / 2 * self.range_db / 20)
        mel = torch.where(x <= -0.999, 0.0, mel) * self.full_scale
        waves = self.griffin_lim(self.magnitude(mel), iterations)[:, : self.samples]
        peak = waves.abs().amax(1, keepdim=True)
        return list((waves * torch.where(peak > 1e-6, 0.9 / peak.clamp(min=1e-6), 0.0)).numpy())

    def magnitude(self, mel: torch.Tensor, iterations: int = 30) -> torch.Tensor:
        """A non-negative `|STFT|` whose bands are `mel`, by multiplicative updates (Lee and Seung 2001, equation 4)."""
        back = self.mel.T
        x = back @ mel + 1e-8
        for _ in range(iterations):
            x = x * (back @ mel) / (back @ (self.mel @ x) + 1e-8)
        return x

    def griffin_lim(self, magnitude: torch.Tensor, iterations: int, momentum: float = 0.99) -> torch.Tensor:
        generator = torch.Generator().manual_seed(0)
        angle = torch.rand(magnitude.shape[1:], generator=generator) * 2 * torch.pi
        c = magnitude * torch.polar(torch.ones_like(angle), angle)
        previous = torch.zeros_like(c)
        for _ in range(iterations):
            projected = self.stft(self.istft(c))
            moved = projected + momentum * (projected - previous)
            previous = projected
            c = magnitude * moved / moved.abs().clamp(min=1e-8)
        return self.istft(c)

    def convert(self, wave: np.ndarray, rate: int) -> np.ndarray:
        """A waveform of any rate, mono `(n,)` or several channels `(n, k)`, integer or float, to one at this rate."""
        wave = np.asarray(wave)
        if wave.dtype == np.uint8:
            wave = wave.astype(np.float32) / 128 - 1
        elif np.issubdtype(wave.dtype, np.integer):
            wave = wave.astype(np.float32) / -float(np.iinfo(wave.dtype).min)
        wave = wave.astype(np.float32)
        if wave.ndim == 2:
            wave = wave.mean(axis=1)
        if rate != self.rate:
            divisor = np.gcd(int(rate), self.rate)
            wave = resample_poly(wave, self.rate // divisor, int(rate) // divisor).astype(np.float32)
        return wave

    def read(self, argument) -> list[np.ndarray]:
        """A sound of any rate, mono or stereo: the path of a file (see `load`), or a waveform with its rate, `(wave, rate)`."""
        if isinstance(argument, tuple) and len(argument) == 2:
            wave, rate = argument if np.ndim(argument[1]) == 0 else argument[::-1]
            return [self.fit(np.asarray(wave), rate, "the sound")]
        if not isinstance(argument, str | os.PathLike):
            raise ValueError(
                f"expected the path of a sound, or a waveform with its rate (wave, rate), got {type(argument).__name__}"
            )
        wave, rate = load(argument)
        return [self.fit(wave, rate, repr(os.fspath(argument)))]

    def fit(self, wave: np.ndarray, rate: int, what: str) -> np.ndarray:
        """`convert`, for a sound that must be one and fit."""
        if wave.ndim not in (1, 2) or not len(wave) or not rate == int(rate) > 0:
            raise ValueError(f"{what} has shape {wave.shape} and a rate of {rate} Hz; expected (n,) or (n, k) samples")
        if not np.isfinite(wave).all():
            raise ValueError(f"{what} holds values that are not finite")
        if len(wave) / rate > self.seconds + 0.5 / self.rate and not self.cut:
            raise ValueError(
                f"{what} lasts {len(wave) / rate:.2f} s; {self.seconds:g} s fit; to keep its beginning, set cut=true among the "
                "modality's options (--config.modality.NAME.options.cut=true)"
            )
        return self.convert(wave, rate)[: self.samples]

    def picture(self, channels: torch.Tensor) -> np.ndarray:
        """The spectrogram, low frequencies at the bottom, from dark to bright; short ones are drawn wider."""
        level = ((self.unfolded(channels.detach().float().cpu()).clamp(-1, 1) + 1) / 2).flip(1).numpy()
        anchors = np.array([[8, 6, 30], [87, 16, 110], [188, 55, 84], [249, 142, 9], [252, 255, 200]], dtype=np.float64)
        position = level * (len(anchors) - 1)
        color = np.stack([np.interp(position, range(len(anchors)), anchors[:, i]) for i in range(3)], -1)
        return color.round().astype(np.uint8).repeat(max(1, self.bands // self.frames), axis=2)


def load(path: str | os.PathLike) -> tuple[np.ndarray, int]:
    """The waveform in a file, `(n,)` or `(n, k)`, and its rate; ValueError that says what is wrong with it.

    WAV, and what libsndfile reads (FLAC, OGG, MP3, AIFF) with the extra `sound`.
    """
    path = os.fspath(path)
    if path.lower().endswith(COMPRESSED):
        return _compressed(path)
    try:
        rate, wave = wavfile.read(path)
    except FileNotFoundError:
        raise ValueError(f"no sound at {path!r}") from None
    except (OSError, ValueError, EOFError, struct.error) as error:
        raise ValueError(f"{path!r} is not a WAV file that can be read: {error}") from None
    return wave, rate


def _compressed(path: str) -> tuple[np.ndarray, int]:
    try:
        import soundfile
    except ImportError:
        raise ValueError(f"{path!r} needs soundfile to be read; type: pip install 'jointdiff[sound]'") from None
    if not os.path.exists(path):
        raise ValueError(f"no sound at {path!r}")
    try:
        return soundfile.read(path, dtype="float32")
    except (OSError, RuntimeError) as error:
        raise ValueError(f"{path!r} is not a sound that can be read: {error}") from None


def mel_matrix(bands: int, n_fft: int, rate: int, lowest: float, highest: float) -> torch.Tensor:
    """Triangular mel bands, `(bands, n_fft // 2 + 1)`, rows summing to 1; each covers at least its nearest bin."""
    to_mel = lambda f: 2595 * np.log10(1 + np.asarray(f) / 700)
    edges = 700 * (10 ** (np.linspace(to_mel(lowest), to_mel(highest), bands + 2) / 2595) - 1)
    bins = np.linspace(0, rate / 2, n_fft // 2 + 1)
    low, centre, high = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    spacing = bins[1]
    rise = (bins - low) / np.maximum(centre - low, spacing)
    fall = (high - bins) / np.maximum(high - centre, spacing)
    weight = np.maximum(0, np.minimum(rise, fall))
    nearest = np.abs(bins - centre).argmin(1)
    empty = weight.sum(1) == 0
    weight[empty, nearest[empty]] = 1
    return torch.from_numpy(weight / weight.sum(1, keepdims=True)).float()
