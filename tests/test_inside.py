"""What goes on inside: where modalities meet, on features whose neighbours are known."""

import itertools
import math

import pytest
import torch

import jointdiff
from jointdiff import build
from jointdiff.evaluate.inside import alike, alike_by_chance, probe, recall
from jointdiff.evaluate.towers import Towers, train_towers


def test_partners_are_found_and_what_is_in_common_is_no_help(generator):
    a, labels = torch.randn(200, 16, generator=generator), torch.arange(200) % 10
    found = recall(a, a + 0.1 * torch.randn(a.shape, generator=generator) + 50, labels, labels)
    assert found["item at 1"] == 1 and found["class at 1"] == 1
    chance = recall(a, torch.randn(200, 16, generator=generator), labels, labels)
    for k in (1, 5, 10):
        expected = 1 - math.comb(180, k) / math.comb(200, k)
        assert abs(chance[f"class at {k}"] - expected) < 4 * math.sqrt(expected * (1 - expected) / 200)
        assert abs(chance[f"item at {k}"] - k / 200) < 4 * math.sqrt(k / 200 / 200)


def test_features_are_alike_up_to_rotation_and_scale_and_no_more(generator):
    a = torch.randn(400, 6, generator=generator)
    turn = torch.linalg.qr(torch.randn(6, 6, generator=generator)).Q
    assert alike(a, 3 * a @ turn + 2) == pytest.approx(1, abs=1e-5)
    b = torch.randn(400, 6, generator=generator)
    assert alike(a, b) < 0.1
    half = torch.cat([a[:, :3], b[:, :3]], 1)  # of six equal directions three are shared: 3 / 6
    assert alike(a, half) == pytest.approx(0.5, abs=0.1)


def test_shared_classes_are_told_from_chance(generator):
    labels = torch.arange(300) % 10
    means = 2 * torch.randn(10, 8, generator=generator)
    noise = lambda: torch.randn(300, 8, generator=generator)
    p, chance = alike_by_chance(means[labels] + noise(), means[labels] + noise(), labels, 99)
    assert p == pytest.approx(0.01) and len(chance) == 99
    values = []
    for _ in range(20):  # classes that have nothing to do with each other: any p is as likely
        other = 2 * torch.randn(10, 8, generator=generator)
        values.append(alike_by_chance(means[labels] + noise(), other[labels] + noise(), labels, 19)[0])
    assert 0.25 < sum(values) / 20 < 0.8 and len(set(values)) > 5


def test_a_probe_reads_what_is_linear_and_nothing_else(generator):
    labels = torch.randint(3, (3000,), generator=generator)
    means = torch.eye(3)[labels]
    x = 5 + torch.cat([means, torch.zeros(3000, 4)], 1) + 0.1 * torch.randn(3000, 7, generator=generator)
    assert probe(x[:2000], labels[:2000], x[2000:], labels[2000:]) == 1
    noise = torch.randn(3000, 7, generator=generator)
    assert abs(probe(noise[:2000], labels[:2000], noise[2000:], labels[2000:]) - 1 / 3) < 0.06
    sign = torch.randint(2, (3000, 2), generator=generator)  # exclusive or: no line tells it
    xor = (2 * sign - 1).float() + 0.1 * torch.randn(3000, 2, generator=generator)
    assert abs(probe(xor[:2000], sign[:2000].sum(1) % 2, xor[2000:], sign[2000:].sum(1) % 2) - 0.5) < 0.06


@torch.no_grad()
def test_the_loss_of_towers_is_that_of_a_guess_and_of_a_certainty():
    towers, rows = Towers({"a": 1, "b": 1}).eval(), torch.randn(8, 1, 16, 16)
    all_there = torch.ones(8, 2, dtype=torch.bool)
    same = towers.loss({"a": rows[:1].expand(8, -1, -1, -1), "b": rows}, all_there)
    assert float(same) > math.log(8) - 0.1  # all of one side are equal: no row is told from another
    towers.towers["b"] = towers.towers["a"]
    with torch.no_grad():
        towers.scale.fill_(12.0)
    assert float(towers.loss({"a": rows, "b": rows}, all_there)) < 1e-3


@torch.no_grad()
def test_rows_that_lack_one_of_two_modalities_are_no_partners():
    towers, (a, b) = Towers({"a": 1, "b": 1}).eval(), torch.randn(2, 8, 1, 16, 16)
    present = torch.ones(8, 2, dtype=torch.bool)
    present[5:7, 0], present[7, 1] = False, False
    whole = torch.ones(5, 2, dtype=torch.bool)
    assert torch.allclose(
        towers.loss({"a": a, "b": b}, present), towers.loss({"a": a[:5], "b": b[:5]}, whole), atol=1e-6
    )
    assert float(towers.loss({"a": a, "b": b}, present & torch.tensor([True, False]))) == 0


def test_maps_are_those_of_the_levels_and_meet_on_the_way_up():
    """In `digits` the lowest level knows the class before the modalities meet; on the way up they have met."""
    model = jointdiff.load("digits")
    words = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
    pictures = model.sample({"text": words * 2}, 20, seed=3, leave_out=["audio"], steps=8)["image"]
    labels = torch.arange(20) % 10
    seen, text = model.maps({"image": pictures}), model.maps({"text": words})
    assert list(seen) == ["down 0", "down 1", "down 2", "up 2", "up 1", "up 0"]
    assert [v.shape[1] for v in seen.values()] == [48, 96, 192, 192, 96, 48]
    met = {depth: recall(seen[depth], text[depth], labels, labels[:10], (1,))["class at 1"] for depth in seen}
    assert met["up 2"] >= 0.9 and met["down 0"] < 0.5
    assert torch.equal(model.embed({"image": pictures}), seen["up 2"])
    far = model.maps({"image": pictures}, noise=20.0)["up 2"]  # nothing is left of it
    assert recall(far, text["up 2"], labels, labels[:10], (1,))["class at 1"] < 0.5
    levels = []
    handle = model.denoiser.network.register_forward_pre_hook(lambda module, given: levels.append(given[1][0].clone()))
    model.maps({"image": pictures[:2]}, noise=0.5)
    handle.remove()
    std = model.denoiser.data_std
    assert levels[0][0] == pytest.approx(math.log(0.5 / float(std[0])) / 4, abs=1e-3)


def test_what_is_only_noise_has_nothing_in_common():
    """Rows of two modalities under so much noise that nothing is left do not find each other: their noise is not the same."""
    model = jointdiff.load("digits")
    blank = {n: torch.zeros(60, c, 32, 32) for n, c in model.layout.channels.items()}
    seen = [model.maps({n: blank[n]}, noise=40.0)["up 2"] for n in ("image", "audio")]
    found = recall(*seen, torch.arange(60), torch.arange(60))
    assert found["item at 1"] <= 4 / 60 and found["item at 10"] <= 20 / 60


def test_towers_learn_to_meet_from_pairs(tmp_path, monkeypatch):
    from test_training import tiny

    monkeypatch.setenv("JOINTDIFF_DATA", str(tmp_path))
    c = tiny()
    modalities = build.modalities(c)
    train, test = (build.data(c, modalities, split) for split in ("train", "test"))
    towers = train_towers(train, updates=60, batch=64)
    values, _, labels, _ = test.rows(0, 100)
    a_name = next(iter(values))
    a, b = (towers.embed(n, values[n]) for n in list(values)[:2])
    assert recall(a, b, labels, labels)["class at 1"] > 0.5
    aside = {n: v.roll(7 * i, 0) for i, (n, v) in enumerate(values.items())}
    assert (towers.agreement(values) > towers.agreement(aside)).float().mean() > 0.8
    one = {n: v[:1] for n, v in values.items()}
    seen = [towers.embed(n, v)[0] for n, v in one.items()]
    total = sum(float(p @ q) for p, q in itertools.combinations(seen, 2)) * float(towers.scale.detach().exp())
    assert float(towers.agreement(one)) == pytest.approx(total, rel=1e-5)
    assert float(towers.agreement({a_name: one[a_name]})) == 0
    again = train_towers(train, updates=2, batch=16), train_towers(train, updates=2, batch=16)
    assert all(torch.equal(x, y) for x, y in zip(again[0].state_dict().values(), again[1].state_dict().values()))
