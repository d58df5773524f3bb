"""Conflict and calibration, where the right answer is known: three modalities of two pixels, two classes."""

import sys
import types

import pytest
import torch
from conftest import ROOT, script
from test_partners import exact_model

from jointdiff.analytic import Mixture
from jointdiff.data import Pairs
from jointdiff.evaluate.calibration import histogram, repeated, scores
from jointdiff.evaluate.conflict import classed, conflict, opponents
from jointdiff.streams import stream

SPREAD = 0.1  # standard deviation within a class; classes are at -.5 and .5 of every pixel
HOW = {"sampler": "dpm_solver", "steps": 30}
SIGN = types.SimpleNamespace(judge=lambda x: (x.flatten(1).mean(1) > 0).long())


@pytest.fixture(scope="module")
def world():
    """The exact model of modalities a, b and c, and rows of them."""
    means = [[-0.5] * 12, [0.5] * 12]
    joint = Mixture([0.5, 0.5], means, [SPREAD**2 * torch.eye(12).double()] * 2, (3, 2, 2))
    x = joint.sample(400, torch.Generator().manual_seed(0)).float()
    labels = (x.flatten(1).mean(1) > 0).long().numpy()
    pairs = Pairs({n: x[:, i : i + 1] for i, n in enumerate("abc")}, dict.fromkeys("abc", labels))
    return joint, exact_model(joint, "abc"), pairs


def truth(values, noise):
    """p(class 1 | noisy a, noisy b), exactly."""
    log = 0
    for x, level in zip(values, noise):
        log = log + (2 * 0.5 / (SPREAD**2 + level**2) * x.flatten(1)).sum(1)
    return torch.sigmoid(log)


@pytest.mark.parametrize("noise", [(1.0, 1.0), (0.5, 1.5), (2.0, 0.8)])
def test_noise_that_is_known_gives_each_its_exact_weight(world, noise):
    joint, model, pairs = world
    num = 400
    found = conflict(model, SIGN, pairs, ("a", "b"), "c", num, seed=3, noise=noise, **HOW)
    values, _, labels, _ = pairs.rows(0, num)
    other = opponents(labels)
    a = values["a"] + noise[0] * torch.randn(values["a"].shape, generator=stream(3, 92, 0))
    b = values["b"][other] + noise[1] * torch.randn(values["b"].shape, generator=stream(3, 92, 1))
    p = truth((a, b), noise)
    first = float(torch.where(labels == 1, p, 1 - p).mean())
    assert abs(found["a"] - first) < 3.5 * 0.5 / num**0.5, (found, first)
    assert found["a"] + found["b"] == pytest.approx(1) and abs(found["neither"]) < 1e-9
    wrong = conflict(model, SIGN, pairs, ("a", "b"), "c", num, seed=3, noise=noise[::-1], **HOW)
    if noise[0] != noise[1]:  # the measure sees who has the noise
        assert (wrong["a"] > wrong["b"]) != (found["a"] > found["b"])


def test_opponents_are_of_another_class():
    labels = torch.tensor([0, 0, 0, 1, 2, 2])
    other = opponents(labels)
    assert other.tolist() == [3, 3, 3, 4, 0, 0] and (labels[other] != labels).all()
    with pytest.raises(ValueError, match="one class cannot be in conflict"):
        opponents(torch.zeros(4))


def test_repeated_draws_have_the_posteriors_frequencies(world):
    joint, model, pairs = world
    values, _, labels, _ = pairs.rows(0, 40)
    level = torch.full((40,), 1.5)
    noisy = values["a"] + 1.5 * torch.randn(values["a"].shape, generator=torch.Generator().manual_seed(1))
    classes = repeated(model, SIGN, {"a": noisy}, "c", 50, noise={"a": level}, **HOW)
    assert classes.shape == (40, 50)
    p = truth((noisy,), (1.5,))
    assert (classes.float().mean(1) - p).abs().mean() < 1.2 * (p * (1 - p) / 50).sqrt().mean()
    found = scores(classes, labels, 2)
    assert found["coherence"] == pytest.approx(float((classes == labels[:, None]).double().mean()))
    own = torch.where(labels == 1, p, 1 - p)
    assert found["nll"] == pytest.approx(float(-own.log().mean()), abs=0.1)
    assert histogram(classes, 2).sum(1).allclose(torch.ones(40).double())


def test_rows_without_a_class_or_a_modality_are_passed_over():
    rows = types.SimpleNamespace(rows=lambda start, num: (
        {"a": torch.arange(start, start + num), "b": torch.arange(start, start + num)},
        torch.tensor([[True, True], [True, False], [True, True], [False, True]]),
        torch.tensor([3, 4, -1, 5]), None))  # fmt: skip
    for names, wanted in (((), [0, 1, 3]), (("a",), [0, 1]), (("b",), [0, 3]), (("a", "b"), [0])):
        values, labels = classed(rows, names, 4, start=10)
        assert values["a"].tolist() == [10 + k for k in wanted] and labels.tolist() == [
            (3, 4, -1, 5)[k] for k in wanted
        ]


def test_bayes_rule_and_a_judges_temperature(monkeypatch, world):
    """Known classes with noise beside a posterior of another modality, as in the exact mixture; a planted temperature."""
    monkeypatch.syspath_prepend(ROOT / "experiments" / "conflict")
    cure = script("conflict/cure")
    monkeypatch.delitem(sys.modules, "run")
    means = torch.tensor([-0.5, 0.5])[:, None, None, None].expand(2, 1, 2, 2)
    a, b = (torch.randn(50, 1, 2, 2, generator=torch.Generator().manual_seed(k)) for k in (0, 1))
    log = torch.stack([torch.zeros(50), 1 / SPREAD**2 * b.flatten(1).sum(1)], 1).log_softmax(1)
    noise = (1.2**2 - SPREAD**2) ** 0.5  # as far as 1.2 from a class without a spread of its own
    assert torch.allclose(cure.bayes(means, a, 1.2, log)[:, 1], truth((a, b), (noise, 0.0)), atol=1e-5)
    logits = 3 * torch.randn(20000, 5, generator=torch.Generator().manual_seed(2))
    labels = torch.multinomial((logits / 2).softmax(1), 1, generator=torch.Generator().manual_seed(3))[:, 0]
    assert cure.temperature(logits, labels) == pytest.approx(2, rel=0.05)
