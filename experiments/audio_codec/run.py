"""What the spectrogram codec keeps of speech: a classifier on real test recordings, before and after encode + decode.

    python experiments/audio_codec/run.py

The classifier is a support vector machine on linear-frequency spectra of the waveforms, which shares nothing with the
codec's mel bands. It is trained on real training recordings only. Writes result.json beside this file, or to --outdir.
"""

import argparse
import json
import pathlib

import numpy as np
import torch
from scipy.signal import stft
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
from tqdm import tqdm

from jointdiff.build import data_root
from jointdiff.config import default
from jointdiff.data import SOURCES
from jointdiff.modalities import Audio

HERE = pathlib.Path(__file__).parent
CODECS = {
    "32 bands x 64 frames (digits)": {"fold": (1, 2), "window": 0.032},
    "64 bands x 64 frames": {"fold": (2, 2), "window": 0.048},
}


def features(waves):
    """Log magnitudes in 42 linear bands x 40 frames of one second from where the sound begins, in units of its peak."""
    out = []
    for wave in tqdm(waves, unit="sound", disable=None):
        wave = np.asarray(wave, dtype=np.float64)
        loud = np.flatnonzero(np.abs(wave) > 0.05 * np.abs(wave).max())
        wave = wave[loud[0] :] if len(loud) else wave
        padded = np.zeros(8000)
        padded[: min(len(wave), 8000)] = wave[:8000]
        magnitude = np.abs(stft(padded / np.abs(padded).max(), nperseg=256, noverlap=56)[2])[:126, :40]
        out.append(np.log(magnitude.reshape(42, 3, 40).mean(1) + 1e-3).ravel())
    return np.array(out)


def voicing(waves):
    """How periodic the loud parts of the sounds are: the mean of the largest autocorrelation at 73 to 320 Hz."""
    out = []
    for wave in waves:
        wave = np.asarray(wave, dtype=np.float64)
        frames = np.lib.stride_tricks.sliding_window_view(np.pad(wave, (0, 320)), 320)[::160]
        for frame in frames[np.abs(frames).max(1) > 0.2 * np.abs(wave).max()]:
            frame = frame - frame.mean()
            correlation = np.correlate(frame, frame, "full")[319:]
            out.append(correlation[25:110].max() / max(correlation[0], 1e-12))
    return float(np.mean(out))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--outdir", type=pathlib.Path, default=HERE)
    args = parser.parse_args()
    root = data_root(default())
    train = SOURCES["spoken_digits"](root, "train", variants=4)
    test = SOURCES["spoken_digits"](root, "test")
    model = make_pipeline(StandardScaler(), SVC(C=10, gamma=3e-4))
    model.fit(features(train.raw), train.labels)
    predict = lambda waves: model.predict(features(waves)) == test.labels
    before = predict(test.raw)
    result = {
        "recordings": len(test.labels),
        "before": {"accuracy": round(float(before.mean()), 4), "voicing": round(voicing(test.raw), 3)},
        "torch": torch.__version__,
    }
    for name, options in CODECS.items():
        audio = Audio((32, 32), **options)
        coded = audio.decode(audio.encode(test.raw))
        after = predict(coded)
        lost = before.astype(float) - after
        result[name] = {
            "channels": audio.channels,
            "accuracy": round(float(after.mean()), 4),
            "lost": round(float(lost.mean()), 4),
            "standard_error": round(float(lost.std() / len(lost) ** 0.5), 4),
            "voicing": round(voicing(coded), 3),
        }
    args.outdir.mkdir(parents=True, exist_ok=True)
    (args.outdir / "result.json").write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
