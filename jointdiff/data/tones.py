"""Telephone key tones, drawn at random: the sound of the `keypad` data, which needs no file."""

import numpy as np

from .items import Items

ROWS, COLUMNS = (697, 770, 852, 941), (1209, 1336, 1477)  # Hz, ITU-T Recommendation Q.23
KEYS = {0: (3, 1), **{d: ((d - 1) // 3, (d - 1) % 3) for d in range(1, 10)}}


def dtmf(root, split: str, count: int = 300, rate: int = 8000, seconds: float = 0.25, seed: int = 0) -> Items:
    """`count` dual tones of every digit, 1-d float waveforms at `rate` Hz, at most `seconds` long.

    Drawn for each: level (within 12 dB), twist between the two tones (within 4 dB, as receivers must allow, ITU-T
    Q.24), frequencies (within 1.5 %), onset and length, both phases, and hiss 20 to 45 dB below.
    """
    rng = np.random.default_rng([seed, 0 if split == "train" else 1])
    waves, labels = [], []
    for digit, (row, column) in KEYS.items():
        for _ in range(count):
            n = int(rate * seconds)
            time = np.arange(n) / rate
            start, length = rng.uniform(0.0, 0.12) * seconds, rng.uniform(0.6, 0.85) * seconds
            low, high = ROWS[row] * rng.uniform(0.985, 1.015), COLUMNS[column] * rng.uniform(0.985, 1.015)
            twist = 10 ** (rng.uniform(-4, 4) / 40)
            tone = (
                np.sin(2 * np.pi * (low * time + rng.random())) / twist
                + np.sin(2 * np.pi * (high * time + rng.random())) * twist
            )
            ramp = 0.005
            tone *= np.clip((time - start) / ramp, 0, 1) * np.clip((start + length - time) / ramp, 0, 1)
            hiss = 10 ** (-rng.uniform(20, 45) / 20)
            level = 0.4 * 10 ** (-rng.uniform(0, 12) / 20)
            waves.append((level * (tone + hiss * rng.standard_normal(n))).astype(np.float32))
            labels.append(digit)
    return Items(waves, np.array(labels, dtype=np.int64))
