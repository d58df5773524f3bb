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

from jointdiff.config import data_root, default
from jointdiff.data import SOURCES
from jointdiff.modalities import Audio

HERE = pathlib.Path(__file__).parent


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


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--outdir", type=pathlib.Path, default=HERE)
    args = parser.parse_args()
    root = data_root(default())
    train = SOURCES["spoken_digits"](root, "train", variants=4)
    test = SOURCES["spoken_digits"](root, "test")
    model = make_pipeline(StandardScaler(), SVC(C=10, gamma=3e-4))
    model.fit(features(train.raw), train.labels)
    audio = Audio((32, 32))
    coded = audio.decode(audio.encode(test.raw))
    hits = {n: model.predict(features(w)) == test.labels for n, w in (("before", test.raw), ("after", coded))}
    lost = hits["before"].astype(float) - hits["after"]
    result = {
        "recordings": len(test.labels),
        **{n: round(float(h.mean()), 4) for n, h in hits.items()},
        "lost": round(float(lost.mean()), 4),
        "standard_error": round(float(lost.std() / len(lost) ** 0.5), 4),
        "channels": audio.channels,
        "torch": torch.__version__,
    }
    args.outdir.mkdir(parents=True, exist_ok=True)
    (args.outdir / "result.json").write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
