import math

import numpy as np
import pytest
import torch
from test_training import tiny

from jointdiff import build
from jointdiff import config as cfg
from jointdiff.data import SOURCES, Pairs, encode_source
from jointdiff.data.sources import DIGITS
from jointdiff.data.tones import COLUMNS, KEYS, ROWS
from jointdiff.evaluate.calibration import calibration, histogram
from jointdiff.evaluate.coherence import Direction, coherence, directions
from jointdiff.evaluate.frechet import frechet, variety
from jointdiff.evaluate.judge import Reader, build_judge, ceiling
from jointdiff.evaluate.table import markdown, number, picture
from jointdiff.layout import Layout
from jointdiff.modalities import Audio, Text


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_there_are_3_to_the_m_minus_2_to_the_m_directions(count):
    names = tuple("abcd"[:count])
    every = directions(names)
    assert len(set(every)) == len(every) == 3**count - 2**count
    assert len(directions(names, leave_out=False)) == 2**count - 1
    for d in every:
        assert sorted(d.given + d.generated + d.left_out) == list(names) and d.generated


class Echo:
    """A model that copies the class it is given, wrongly for every fourth row, and draws class 3 from nothing."""

    layout = Layout({"a": 1, "b": 1}, (1, 1))

    def sample(self, given, num, **how):
        if not given:
            return {"a": torch.full((num, 1, 1, 1), 3 / 10), "b": torch.full((num, 1, 1, 1), 3 / 10)}
        (name, value), other = next(iter(given.items())), {"a": "b", "b": "a"}
        wrong = value.clone()
        wrong[::4] = 0.9
        return {name: value, other[name]: wrong}


class Digit:
    def judge(self, channels):
        return (channels.flatten(1)[:, 0] * 10).round().long()


class Rows:
    shows = dict.fromkeys("ab", torch.arange(10))

    def rows(self, start, count):
        labels = torch.arange(start, start + count) % 8
        return {n: (labels / 10).view(-1, 1, 1, 1) for n in "ab"}, None, labels, None


def test_coherence_counts_what_the_judges_see():
    judges = {"a": Digit(), "b": Digit()}
    figures = coherence(Echo(), judges, Rows(), Direction(("a",), ("b",)), 100)
    assert figures == {"b": 0.75, "joint": 0.75}
    assert coherence(Echo(), judges, Rows(), Direction((), ("a", "b")), 20) == {"joint": 1.0}


def test_words_must_be_exact():
    text = Text((16, 16), (5, 8))
    reader = Reader(text, {name: i for i, name in enumerate(DIGITS)})
    assert reader.judge(text.encode(["seven", "sevem", "", "two"])).tolist() == [7, -1, -1, 2]


def key_of(wave, rate=8000):
    """As a receiver does: the strongest row and column frequency, each within 2 %."""
    time = np.arange(len(wave)) / rate
    power = lambda f: max(abs(np.exp(-2j * np.pi * f * k * time) @ wave) for k in np.linspace(0.98, 1.02, 9))
    pair = int(np.argmax([power(f) for f in ROWS])), int(np.argmax([power(f) for f in COLUMNS]))
    return next((d for d, p in KEYS.items() if p == pair), -1)


def test_key_tones_survive_the_codec():
    audio = Audio((16, 16), seconds=0.25, fold=(4, 1))
    items = SOURCES["dtmf"](None, "test", count=20)
    before = np.mean([key_of(w) == l for w, l in zip(items.raw, items.labels)])
    after = np.mean([key_of(w) == l for w, l in zip(audio.decode(audio.encode(items.raw)), items.labels)])
    assert before > 0.98 and after > before - 0.03


def test_judges_are_accurate_and_cached(tmp_path, monkeypatch):
    monkeypatch.setenv("JOINTDIFF_DATA", str(tmp_path))
    c = tiny()
    c.modality.image = cfg.modality("image", "handwritten", {}, {"variants": 2})
    modality = build.modalities(c)["image"]
    judge = build_judge(c, "image", modality)
    value = ceiling(judge, c, "image", modality)
    assert value > 0.95
    assert len(list((tmp_path / "classifiers").iterdir())) == 1
    monkeypatch.setattr("jointdiff.evaluate.judge.TRAINERS", {})  # the second time it must not be needed
    assert ceiling(build_judge(c, "image", modality), c, "image", modality) == value


def test_real_rows_reach_the_ceiling(tmp_path, monkeypatch):
    """Test rows put in the place of samples: coherence is the judge's accuracy on them."""
    monkeypatch.setenv("JOINTDIFF_DATA", str(tmp_path))
    c = tiny()
    items = SOURCES["handwritten"](None, "test")
    modality = build.modalities(c)["image"]
    judge = build_judge(c, "image", modality)
    values = torch.cat(list(encode_source(modality, items)))
    pairs = Pairs({"image": values, "audio": values}, {"image": items.labels, "audio": items.labels})

    class Real:
        def sample(self, given, num, **how):
            return pairs.rows(0, num)[0]

    figures = coherence(Real(), {"image": judge}, pairs, Direction(("audio",), ("image",)), 300)
    assert figures["image"] == pytest.approx(ceiling(judge, c, "image", modality))


RESULT = {
    "ceilings": {"image": 0.99, "text": 1.0},
    "rows": [
        {"given": [], "generated": ["image", "text"], "left_out": [], "condition": "clean",
         "figures": {"joint": {"mean": 0.5, "std": 0.01}}},
        {"given": ["text"], "generated": ["image"], "left_out": [], "condition": "replace",
         "figures": {"image": {"mean": 0.25, "std": 0.125}, "joint": {"mean": 0.25, "std": 0.125}}},
    ],
}  # fmt: skip


def test_table_and_picture_show_every_row():
    lines = markdown(RESULT).splitlines()
    assert len(lines) == 5 and lines[3] == "| nothing |  | clean |  |  | 0.500 ± 0.010 |"
    assert lines[4] == "| text |  | replace | 0.250 ± 0.125 |  | 0.250 ± 0.125 |"
    image = np.asarray(picture(RESULT))
    assert image.shape[0] > 3 * 26 and number(None) == ""
    assert (image.reshape(-1, 3) != 255).any(1).mean() > 0.02


def test_frechet_distance_of_gaussians():
    """Between N(0, I) and N(m, s^2 I) it is |m|^2 + n (s - 1)^2."""
    g = torch.Generator().manual_seed(0)
    a = torch.randn(200000, 4, generator=g, dtype=torch.float64)
    b = 1.5 * torch.randn(200000, 4, generator=g, dtype=torch.float64) + 0.5
    assert frechet(a, b) == pytest.approx(4 * 0.25 + 4 * 0.25, rel=0.02)
    assert frechet(a, a) == pytest.approx(0, abs=1e-6)
    labels = torch.arange(200000) % 2
    shifted = b + 10 * labels[:, None]
    assert variety(shifted, labels, a, labels) == pytest.approx(2.25, rel=0.02)


def test_calibration_of_known_histograms():
    classes = torch.tensor([[0, 0, 0, 1], [1, 1, -1, -1]])
    p = histogram(classes, 2)
    assert torch.allclose(p, torch.tensor([[3.5 / 5, 1.5 / 5], [0.5 / 3, 2.5 / 3]]).double())
    scores = calibration(p, torch.tensor([0, 0]))
    assert scores["nll"] == pytest.approx(-(math.log(0.7) + math.log(0.5 / 3)) / 2)
    assert scores["brier"] == pytest.approx((2 * 0.3**2 + 2 * (2.5 / 3) ** 2) / 2)
    assert scores["accuracy"] == 0.5 and scores["ece"] == pytest.approx(0.5 * 0.3 + 0.5 * 2.5 / 3)
    g = torch.Generator().manual_seed(0)
    sure = torch.rand(200000, generator=g, dtype=torch.float64)
    honest = torch.stack([sure, 1 - sure], 1)
    truth = (torch.rand(200000, generator=g) > sure).long()
    assert calibration(honest, truth)["ece"] < 0.01
