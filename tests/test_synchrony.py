"""Synchrony on scenes whose every impact is known: what is in step is found so, and what is three frames late is not."""

import numpy as np
import pytest

from jointdiff.data.bounce import BOX, FRAMES, RATE, knocks, motion
from jointdiff.evaluate.synchrony import av_align, flow, flow_peaks, hits, matched, onsets

FRAME = 1 / FRAMES
ROWS = 60
FLIGHT = motion("test", ROWS)
SOUNDS = [knocks(FLIGHT.impacts(row)) for row in range(ROWS)]
TIMES = [np.array([t for t, _ in FLIGHT.impacts(row)]) / FRAMES for row in range(ROWS)]


def later(wave, frames):
    return np.roll(wave, round(frames * RATE / FRAMES))


def shares(sounds):
    found = [hits(known, onsets(wave, RATE), FRAME) for known, wave in zip(TIMES, sounds)]
    return np.nanmean(np.array(found), axis=0)


def test_every_knock_is_heard_where_it_is():
    share, right, error = shares(SOUNDS)
    assert share > 0.95 and right > 0.98 and error < 0.008


def test_three_frames_late_is_seen_by_the_known_impacts():
    share, right, _ = shares([later(wave, 3) for wave in SOUNDS])
    assert share < 0.5 and right < 0.5
    shuffled, _, _ = shares(SOUNDS[1:] + SOUNDS[:1])
    assert shuffled < 0.6


def test_flow_is_the_speed_of_what_moves():
    """A blob that moves by 2.5 pixels a frame, and stands still in the middle."""
    y, x = np.mgrid[:32, :32]
    centres = 6 + 2.5 * np.array([0, 1, 2, 3, 3, 3, 4, 5])
    frames = np.stack([255 * np.exp(-((x - c) ** 2 + (y - 16) ** 2) / 18) for c in centres])
    speed = flow(frames)
    assert np.allclose(speed[[0, 1, 2, 5, 6]], 2.5, atol=0.5) and speed[[3, 4]].max() < 0.3


def test_a_shift_shows_in_av_align():
    """A blob that jumps when something sounds: in step nearly all are matched, three frames late few are."""
    rng, step, late = np.random.default_rng(0), [], []
    y, x = np.mgrid[:BOX, :BOX]
    for _ in range(20):
        jumps = np.sort(rng.choice(np.arange(2, 12), 2, replace=False))
        if jumps[1] - jumps[0] < 4:
            jumps = np.array([3, 9])
        centre = 8 + np.cumsum(np.isin(np.arange(FRAMES), jumps) * 4.0 + 0.3)
        frames = np.stack([255 * np.exp(-((x - c) ** 2 + (y - 16) ** 2) / 18) for c in centre])
        wave = knocks([(j - 0.5, "floor") for j in jumps])
        step.append(av_align(wave, RATE, frames, FRAMES))
        late.append(av_align(later(wave, 3), RATE, frames, FRAMES))
    assert np.mean(step) > 0.9 and np.mean(late) < 0.3


def test_times_are_paired_once():
    assert matched([1.0, 1.1], [1.05], 0.1) == 1
    assert matched([1.0, 2.0, 3.0], [0.95, 2.2, 3.1], 0.11) == 2
    assert hits([1.0, 2.0], [1.01], 0.1) == (0.5, 1.0, pytest.approx(0.01))
    assert np.isnan(hits([], [], 0.1)[0]) and hits([1.0], [], 0.1)[0] == 0
    assert len(onsets(np.zeros(800), RATE)) == 0 and len(flow_peaks(np.zeros((8, 16, 16)), 8)) == 0
