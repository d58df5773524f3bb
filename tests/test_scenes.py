"""Scenes: their geometry and arithmetic are known exactly, and so is what fits what."""

import math
from types import SimpleNamespace

import numpy as np
import PIL.Image
import pytest
import torch
from conftest import script
from test_data import write_backgrounds
from test_training import tiny

from jointdiff import build
from jointdiff import config as cfg
from jointdiff.data import SCENES, SOURCES, shown
from jointdiff.data.bounce import BOX, FRAMES, PITCH, RATE, SIDE, caption, film, knocks, motion, small
from jointdiff.data.sources import DIGITS
from jointdiff.evaluate.coherence import Direction, coherence, fitting
from jointdiff.evaluate.judge import build_judges
from jointdiff.trainer import Trainer
from jointdiff.training import fit


def sums(split="train", **options):
    return SCENES["sums"](None, split, source="handwritten", **options)


def test_every_sum_is_right_and_every_picture_is_used_once():
    scene, items = sums(), SOURCES["handwritten"](None, "train")
    rows = np.arange(len(scene.worlds))
    assert len(rows) == len(items.labels) // 2
    first, second = scene.items("first"), scene.items("second")
    for row in (0, 5, len(rows) - 1):
        a, b = first.labels[row], second.labels[row]
        assert scene.make["answer"](rows[row : row + 1]) == [str(a + b)]
        assert scene.make["rationale"](rows[row : row + 1]) == [f"{a}\nand\n{b}"]
    used = np.concatenate([first.raw[0:], second.raw[0:]])
    assert len(np.unique(used.reshape(len(used), -1), axis=0)) >= 0.99 * len(used)
    pictures = {p.tobytes(): l for p, l in zip(items.raw, items.labels)}
    assert all(pictures[p.tobytes()] == l for p, l in zip(first.raw[:50], first.labels[:50]))


def test_train_and_test_share_no_picture():
    train, test = (
        {p.tobytes() for part in ("first", "second") for p in sums(split).items(part).raw[0:]}
        for split in ("train", "test")
    )
    assert not train & test


def test_a_question_says_what_the_answer_answers():
    scene = sums(questions=("sum", "larger", "difference"))
    rows = np.arange(60)
    a, b = scene.items("first").labels[:60], scene.items("second").labels[:60]
    asked, answers = scene.make["question"](rows), [int(x) for x in scene.make["answer"](rows)]
    assert set(asked) == {"sum", "larger", "difference"}
    for x, y, question, answer in zip(a, b, asked, answers):
        assert answer == {"sum": x + y, "larger": max(x, y), "difference": abs(x - y)}[question]
    with pytest.raises(ValueError, match="unknown questions"):
        sums(questions=("product",))
    with pytest.raises(ValueError, match="unknown part 'third'"):
        scene.items("third")


def test_what_fits_is_what_some_world_shows():
    """Against arithmetic, for every pair of digits and every sum."""
    shows = {n: torch.from_numpy(v) for n, v in sums().shows.items()}
    a, b, s = (x.flatten() for x in torch.meshgrid(*[torch.arange(n) for n in (10, 10, 19)], indexing="ij"))
    assert torch.equal(fitting({"first": a, "second": b, "answer": s}, shows), a + b == s)
    assert torch.equal(fitting({"first": a, "answer": s}, shows), (s - a >= 0) & (s - a <= 9))
    assert torch.equal(fitting({"rationale": a * 10 + b, "first": a, "answer": s}, shows), a + b == s)
    assert not fitting({"first": torch.tensor([-1]), "answer": torch.tensor([3])}, shows).any()


def scene_config(name, **options):
    c = tiny(steps=2)
    c.data.scene.name, c.data.scene.options = name, cfg.ConfigDict({"source": "handwritten", **options})
    c.modality = cfg.ConfigDict()
    c.modality.first = cfg.modality("image", "first")
    c.modality.answer = cfg.modality("text", "answer", {"cell": (7, 14), "alphabet": "0123456789 "})
    c.data.modalities, c.data.grid = ("first", "answer"), (16, 16)
    return c


def test_rows_of_a_scene_train_and_are_judged(tmp_path, monkeypatch, quick_judges):
    monkeypatch.setenv("JOINTDIFF_DATA", str(tmp_path / "data"))
    c = scene_config("sums")
    trainer = Trainer(c, tmp_path / "run")
    fit(trainer)
    model, data = trainer.model(), build.data(c, trainer.modalities, "test")
    judges = build_judges(c, trainer.modalities, trainer.batches.pairs)
    kept = [f.name.split("-")[0] for f in (tmp_path / "data" / "classifiers").iterdir()]
    assert kept == ["handwritten"]  # the digits' own judge
    assert (
        judges["answer"].judge(data.rows(0, 40).values["answer"]).tolist()
        == shown(data, "answer", data.rows(0, 40).labels).tolist()
    )

    class Real:
        layout = model.layout

        def sample(self, given, num, **how):
            return data.rows(0, num).values

    figures = coherence(Real(), judges, data, Direction(("first",), ("answer",)), 100)
    assert figures == {"answer": 1.0, "joint": 1.0}
    with pytest.raises(ValueError, match="unknown scene 'products'"):
        build.data(cfg.changed(c, {"data.scene.name": "products"}), trainer.modalities, "test")


def test_the_digit_flies_straight_and_bounces_elastically():
    flight = motion("train", 200)
    room = BOX - SIDE
    times = np.linspace(0, FRAMES - 1, 3001)
    position = flight.position(times)
    assert position.min() >= 0 and position.max() <= room
    speed = np.diff(position, axis=1) / np.diff(times)[:, None]
    assert np.allclose(np.median(abs(speed), axis=1), abs(flight.velocity))
    for row in range(200):
        turns = [
            (times[i + 1], a)
            for a in range(2)
            for i in np.flatnonzero(np.diff(np.sign(speed[row, :, a])))
            if i + 2 < len(times)
        ]
        expected = [(t, int(wall == "side")) for t, wall in flight.impacts(row)]
        inside = lambda pairs: sorted(pair for pair in pairs if 0.03 < pair[0] < FRAMES - 1 - 0.03)
        turns, expected = inside(turns), inside(expected)
        assert len(turns) == len(expected)
        for (t, axis), (e, wall) in zip(turns, expected):
            assert axis == wall and abs(t - e) < 0.02
    for row in range(50):  # at an impact the digit touches the wall that is named
        for time, wall in flight.impacts(row):
            y, x = flight[row : row + 1].position(np.array([time]))[0, 0]
            distance = {"floor": room - y, "ceiling": y, "side": min(x, room - x)}[wall]
            assert abs(distance) < 1e-9


def test_the_first_wall_above_or_below_says_where_it_flies():
    flight = motion("test", 300)
    for row in range(300):
        first = next(wall for _, wall in flight.impacts(row) if wall != "side")
        assert (first == "floor") == (flight.velocity[row, 0] > 0)


def test_the_film_shows_the_digit_where_it_is():
    digits = small(np.full((3, 28, 28), 200, np.uint8))
    flight = motion("train", 3)
    frames = film(digits, flight.position(np.arange(FRAMES)))
    assert frames.shape == (3, FRAMES, BOX, BOX)
    mass = frames.astype(float)
    centre = (
        np.stack([(mass.sum(3) * np.arange(BOX)).sum(2), (mass.sum(2) * np.arange(BOX)).sum(2)], -1)
        / mass.sum((2, 3))[..., None]
    )
    assert np.allclose(centre, flight.position(np.arange(FRAMES)) + (SIDE - 1) / 2, atol=0.05)


def test_a_knock_has_its_moment_and_its_walls_pitch():
    for wall, pitch in PITCH.items():
        wave = knocks([(4.0, wall)])
        assert np.flatnonzero(abs(wave) > 1e-3)[0] == pytest.approx(4 / FRAMES * RATE, abs=3)
        power = abs(np.fft.rfft(wave))
        assert np.argmax(power) == pytest.approx(pitch, rel=0.03)


def test_captions_and_rows_that_do_not_depend_on_how_many_there_are():
    assert caption(7, np.array([-1.0, 2.0])) == "seven\nup\nright"
    few, many = motion("test", 10), motion("test", 100)
    assert np.array_equal(few.start, many.start[:10]) and np.array_equal(few.velocity, many.velocity[:10])
    assert not np.array_equal(motion("train", 10).start, few.start)


@pytest.fixture
def views(tmp_path):
    write_backgrounds(tmp_path, 3, side=70)
    return lambda split: SCENES["quadrants"](tmp_path, split, "handwritten", train=600, test=50)


def test_views_show_one_digit_in_one_quadrant_each_in_its_own_hand(views, tmp_path):
    scene, half = views("test"), 32
    rows = np.arange(50)
    words, places = scene.make["digit"](rows), scene.make["quadrant"](rows)
    every = [scene.make[f"view{i}"](rows) for i in range(3)]
    pictures = [np.asarray(PIL.Image.open(tmp_path / "polymnist_backgrounds" / f"{i}.png")) for i in range(3)]
    hands = 0
    for row in rows:
        world = scene.worlds[row]
        assert DIGITS[world // 4] == words[row] == DIGITS[scene.shows["digit"][world]]
        assert places[row] == ("upper", "lower")[world % 4 // 2] + "\n" + ("left", "right")[world % 2]
        inside = []
        for view, picture in zip(every, pictures):
            crops = [picture[y : y + 64, x : x + 64] for y in range(7) for x in range(7)]
            changed = [(view[row] != crop).any(2) for crop in crops]
            mask = min(changed, key=lambda m: m.sum())  # the crop that it is pasted on
            crop = crops[[m is mask for m in changed].index(True)]
            assert np.array_equal(view[row][mask], 255 - crop[mask]) and np.array_equal(view[row][~mask], crop[~mask])
            y, x = half * (world % 4 // 2), half * (world % 2)
            assert mask.any() and not mask[:y].any() and not mask[y + half :].any()
            assert not mask[:, :x].any() and not mask[:, x + half :].any()
            inside.append(mask[y : y + half, x : x + half])
        hands += not np.array_equal(inside[0], inside[1])
    assert hands > 40


def test_most_training_rows_lack_views_and_what_is_there_belongs_to_its_row(views, tmp_path, monkeypatch):
    scene = views("train")
    has = np.stack([scene.has[f"view{i}"] for i in range(3)], 1)
    counts = np.bincount(has.sum(1), minlength=4) / 600
    assert has.any(1).all() and np.abs(counts - [0, 0.5, 0.25, 0.25]).max() < 0.06
    assert all(views("test").has[f"view{i}"].all() for i in range(3))
    items = scene.items("view1")
    assert len(items.labels) == has[:, 1].sum() and np.array_equal(items.labels, scene.worlds[has[:, 1]])
    assert np.array_equal(items.raw[3:5], scene.make["view1"](np.flatnonzero(has[:, 1])[3:5]))
    monkeypatch.setenv("JOINTDIFF_DATA", str(tmp_path))
    c = tiny(steps=2)
    c.data.scene.name = "quadrants"
    c.data.scene.options = cfg.ConfigDict({"source": "handwritten", "train": 600, "test": 50})
    c.modality = cfg.ConfigDict()
    for name in ("view0", "view1"):
        c.modality[name] = cfg.modality("image", name, {"mode": "RGB"})
    c.modality.digit = cfg.modality("text", "digit", {"cell": (12, 20)})
    c.data.modalities, c.data.grid = ("view0", "view1", "digit"), (64, 64)
    data = build.data(c, build.modalities(c), "train")
    rows = data.rows(0, 600)
    order = data.plan(0)[0]["digit"]  # every row has its word: the row itself
    assert torch.equal(rows.present, torch.from_numpy(has[order][:, [0, 1, 0]]) | torch.tensor([False, False, True]))
    row = int(rows.present[:, 1].nonzero()[5])
    stored = torch.from_numpy(scene.make["view1"](order[row : row + 1].numpy())).permute(0, 3, 1, 2).float() / 127.5 - 1
    assert torch.allclose(rows.values["view1"][row], stored[0], atol=1e-5)
    fit(Trainer(c, tmp_path / "run"))


def test_what_counts_as_agreement_of_views():
    """A judge of a view names a world; what is left open is counted where the views agree."""
    runner = script("quadrants/run")
    judges = {n: SimpleNamespace(judge=lambda v: v) for n in (*runner.VIEWS, *runner.WORDS)}
    world = torch.tensor([4 * 7 + 2, 4 * 7 + 2, 4 * 3 + 1, 4 * 3 + 1])
    drawn = {"view0": world, "view1": world, "view2": torch.tensor([30, 29, 13, 13]), "digit": torch.tensor([7, 7, 3, 4]),
             "quadrant": torch.tensor([2, 2, 1, 1])}  # fmt: skip
    model = SimpleNamespace(sample=lambda y, num, seed: {n: v for n, v in drawn.items() if n not in y})
    data = SimpleNamespace(rows=lambda start, num: (drawn, None, world, None))
    figures, _ = runner.together(model, judges, data, (), 4, 0)
    assert figures == {
        "nothing → digit of all three views = word": 0.75,
        "nothing → quadrant of all three views = word": 0.75,
    }
    assert runner.together(model, judges, data, ("digit",), 4, 0) == (
        {"digit → three views agree on the quadrant": 0.75}, {"quadrant": [0, 2, 1, 0]})  # fmt: skip
    assert runner.together(model, judges, data, ("quadrant",), 4, 0)[1] == {"digit": [0, 0, 0, 2, 0, 0, 0, 2, 0, 0]}
    kl, even = runner.uneven([25, 25, 25, 25])
    assert kl == 0 < even < 0.04 and runner.uneven([100, 0, 0, 0])[0] == pytest.approx(math.log(4))
