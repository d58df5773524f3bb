"""Turns, parts and the best of several, against joints whose every conditional is known."""

import types

import pytest
import torch
from test_partners import exact

from jointdiff.analytic import Mixture
from jointdiff.best import best
from jointdiff.config import default
from jointdiff.layout import Layout
from jointdiff.model import Model
from jointdiff.sde import SDES


def exact_model(joint, layout, kinds):
    """The model whose denoiser is the joint's own."""
    sde = SDES["vp"]()
    std = joint.moments()[1].diagonal().sqrt().float()

    class Exact(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.sde, self.layout, self.denoise = sde, layout, joint.denoiser(sde)
            self.register_buffer("data_std", std)

        def precision(self):
            return torch.autocast("cpu", enabled=False)

        def moments(self):
            return torch.zeros(1, len(std), 1, 1), std.view(1, -1, 1, 1)

        def forward(self, x, t):
            return self.denoise(x, t.expand(-1, len(std), 1, 1) if t.ndim else t).to(x)

    return Model(default(), Exact(), kinds)


class Letter:
    """A text of one letter: the sign of its only channel."""

    rate = None

    def decode(self, channels):
        return ["+" if v > 0 else "-" for v in channels.flatten(1).mean(1)]


def classes(weights=(0.15, 0.35, 0.5), n=4, seed=0):
    """A mixture over n numbers whose classes are far apart, of covariances of their own."""
    g = torch.Generator().manual_seed(seed)
    means = 2.0 * torch.randn(len(weights), n, generator=g, dtype=torch.float64)
    factors = 0.4 * torch.randn(len(weights), n, n, generator=g, dtype=torch.float64)
    covariances = factors @ factors.transpose(1, 2) + 0.05 * torch.eye(n).double()
    return Mixture(torch.tensor(weights), means, covariances)


@pytest.mark.parametrize("order", [["a", "b", "c"], ["c", "b", "a"], [("a", "c"), "b"], ["b"]])
def test_a_mixture_drawn_in_turns_is_the_mixture(order):
    """Also where one turn decides which class it is: classes as often as they are, and each of its mean and spread."""
    joint = classes()
    model = exact_model(joint, Layout({"a": 1, "b": 2, "c": 1}, (1, 1)), dict.fromkeys("abc", types.SimpleNamespace()))
    drawn = model.sample(num=3000, batch=3000, steps=60, sampler="dpm_solver", order=order)
    x = torch.cat([drawn[n] for n in "abc"], 1).double()
    share = joint.responsibilities(x)
    assert torch.allclose(share.mean(0), joint.weights, atol=0.03)
    real = joint.sample(3000, torch.Generator().manual_seed(1))
    error = (joint.log_prob(real).mean() - joint.log_prob(x).mean()).abs()
    assert error < 0.12, error
    for k in range(3):
        mine = x.flatten(1)[share.argmax(1) == k]
        assert torch.allclose(mine.mean(0), joint.means[k], atol=0.1)
        assert torch.allclose(torch.cov(mine.T), joint.covariances[k], atol=0.12)


def test_apart_is_the_product_of_the_conditionals():
    """p(a) p(b | a) p(c | a): the joint where a is all that b and c share, and otherwise one of that product's covariance."""
    mean, a, how = torch.zeros(3).double(), torch.tensor([0.8, 0.6]).double(), {"num": 3000, "batch": 3000, "steps": 40}
    for extra in (0.0, 0.3):  # what b and c share besides
        covariance = torch.eye(3).double()
        covariance[0, 1:] = covariance[1:, 0] = a
        covariance[1, 2] = covariance[2, 1] = a.prod() + extra
        joint = Mixture([1.0], mean[None], covariance[None])
        model = exact_model(
            joint, Layout(dict.fromkeys("abc", 1), (1, 1)), dict.fromkeys("abc", types.SimpleNamespace())
        )
        drawn = model.sample(order=["a", {"c", "b"}], sampler="dpm_solver", **how)
        assert drawn.info["order"] == [["a"], [["b"], ["c"]]] and list(drawn) == ["a", "b", "c"]
        covariance[1, 2] = covariance[2, 1] = a.prod()
        assert torch.allclose(
            torch.cov(torch.cat([drawn[n] for n in "abc"], 1).flatten(1).T).double(), covariance, atol=0.05
        )
    drawn = model.sample(order=[frozenset({("a", "c"), "b"})], sampler="dpm_solver", **how)
    found = torch.cov(torch.cat([drawn[n] for n in "abc"], 1).flatten(1).T)
    assert abs(found[0, 2] - 0.6) < 0.05 and found[1].abs()[[0, 2]].max() < 0.05
    assert drawn.info["evaluations"] == 2 * model.cost(given=False, steps=40, sampler="dpm_solver")
    with pytest.raises(ValueError, match="twice"):
        model.sample(order=["a", {"a", "b"}])


def test_given_frames_are_a_condition_like_any_other():
    """Of a film of four frames two are given: the others, and the class, have the mixture's own conditional."""
    joint = classes()
    model = exact_model(joint, Layout({"film": 4}, (1, 1), parts={"film": 4}), {"film": types.SimpleNamespace()})
    known = joint.sample(1, torch.Generator().manual_seed(5)).float()[0]
    rest = joint.conditional(torch.tensor([True, False, True, False]), known.flatten()[[0, 2]])
    mean, covariance = rest.moments()
    given = {"film[0]": known[:1], "film[2]": known[2:3]}
    x = model.sample(given, 3000, batch=3000, steps=60, sampler="dpm_solver")["film"].flatten(1).double()
    assert torch.equal(x[:, [0, 2]].float(), known.flatten()[[0, 2]].expand(3000, 2))
    assert torch.allclose(x[:, [1, 3]].mean(0), mean, atol=0.06)
    assert torch.allclose(torch.cov(x[:, [1, 3]].T), covariance, atol=0.06)


def test_in_turns_is_at_once():
    """The chain rule: a and then b has the exact joint, as a and b together has, and in every order."""
    model, _ = exact(0.8, 3)
    how = {"num": 1500, "batch": 1500, "steps": 40, "sampler": "dpm_solver"}
    for order in (["a", "b"], ["b", "a"], [("a", "b")], ["b"]):
        drawn = model.sample(order=order, seed=3, **how)
        a, b = drawn["a"].flatten(), drawn["b"].flatten()
        assert float(a.std()) == pytest.approx(0.5, rel=0.03) and float(b.std()) == pytest.approx(0.5, rel=0.03)
        assert float((a * b).mean()) == pytest.approx(0.25 * 0.8, rel=0.04), order
    assert drawn.info["order"] == [["b"], ["a"]] and drawn.info["evaluations"] == 2 * model.cost(
        steps=40, sampler="dpm_solver"
    )
    one = model.sample(num=1, order=["b"], steps=4, seed=3)
    two = model.sample(num=2, order=["b"], steps=4, seed=3)
    assert torch.equal(one["a"][0], two["a"][0]) and one.given == ()
    for order, given, message in (
        (["b", "b"], {}, "twice"), (["a"], {"a": torch.zeros(1, 1, 3, 3)}, "given or left out"), (["c"], {}, "unknown modality"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=message):
            model.sample(given, order=order)


def letters(rho=0.9):
    """A sign, "a", and what is seen of it, "b"."""
    covariance = torch.tensor([[1.0, rho], [rho, 1.0]]).double()
    joint = Mixture([1.0], torch.zeros(1, 2), covariance[None])
    return exact_model(joint, Layout({"a": 1, "b": 1}, (1, 1)), {"a": Letter(), "b": types.SimpleNamespace()})


def test_a_vote_finds_the_likelier_answer():
    """p(+ | b = 1) = Phi(rho / sqrt(1 - rho^2)): .98 for one draw at rho = .9; a majority of 9 at .6 is right more often."""
    model = letters(0.6)
    b = torch.ones(400, 1, 1, 1)
    single = float(torch.special.ndtr(torch.tensor(0.6 / 0.8)))
    one = model.sample({"b": b}, steps=60, sampler="dpm_solver").texts("a").count("+") / 400
    assert one == pytest.approx(single, abs=0.06)
    of = 9
    voted = model.best({"b": b}, of=of, steps=60, sampler="dpm_solver")
    binomial = torch.distributions.Binomial(of, torch.tensor(single))
    expected = float(sum(binomial.log_prob(torch.tensor(float(k))).exp() for k in range(of // 2 + 1, of + 1)))
    assert voted.texts("a").count("+") / 400 == pytest.approx(expected, abs=0.03)
    assert all(len(voted.info[k]) == 400 for k in ("share", "seeds"))
    share = torch.tensor(voted.info["share"])
    assert (share > 0.5).all() and voted.info["evaluations"] == 9 * model.cost(steps=60, sampler="dpm_solver")
    assert share.mean().item() == pytest.approx(
        float(sum(max(k, of - k) / of * binomial.log_prob(torch.tensor(float(k))).exp() for k in range(of + 1))),
        abs=0.03,
    )


def test_likelihood_finds_the_draw_that_explains_best():
    """log p(b | a) falls with |b - rho a|^2: of 8 draws the one where that is smallest is chosen, or one as good."""
    rho = 0.8
    model, values = exact(rho, 8)
    b = values["b"][:30]
    how = {"steps": 30, "sampler": "dpm_solver"}
    chosen = model.best({"b": b}, of=8, by="likelihood", levels=60, **how)
    every = model.sample({"b": b.repeat_interleave(8, 0)}, **how)["a"].view(30, 8, -1)
    gap = (b.view(30, 1, -1) - rho * every).square().sum(2) / (2 * 0.25 * (1 - rho**2))
    mine = (b - rho * chosen["a"]).flatten(1).square().sum(1) / (2 * 0.25 * (1 - rho**2))
    lost = mine - gap.min(1).values  # nats
    assert lost.median() < 0.5 < 3 < (gap.mean(1) - gap.min(1).values).median()


def test_a_function_finds_the_draw_that_it_scores_highest():
    """By log p(b | a), which is known, the draw with the least |b - rho a|; its share is its weight among all of its row's."""
    rho = 0.8
    model, values = exact(rho, 8)
    b = values["b"][:30]
    how = {"steps": 10, "sampler": "dpm_solver"}

    def explains(rows):
        return -(rows["b"] - rho * rows["a"]).flatten(1).square().sum(1) / (2 * 0.25 * (1 - rho**2))

    chosen = model.best({"b": b}, of=8, by=explains, **how)
    every = model.sample({"b": b.repeat_interleave(8, 0)}, **how)
    weight = explains(every).view(30, 8).softmax(1)
    assert torch.equal(chosen["a"], every["a"].unflatten(0, (30, 8))[torch.arange(30), weight.argmax(1)])
    assert torch.allclose(torch.tensor(chosen.info["share"]), weight.max(1).values) and chosen.info["by"] == "explains"
    assert model.best(num=2, of=2, by=explains, steps=3)["a"].shape == (
        2,
        *every["a"].shape[1:],
    )  # of both, from nothing


def test_what_is_no_text_is_voted_on_by_distance():
    """Two clusters, .8 and .2: the draw closest to all others is of the larger one."""
    joint = Mixture([0.8, 0.2], torch.tensor([[0.0, 2.0], [0.0, -2.0]]), 0.05 * torch.eye(2).double().expand(2, 2, 2))
    model = exact_model(
        joint,
        Layout({"a": 1, "b": 1}, (1, 1)),
        dict.fromkeys("ab", types.SimpleNamespace(rate=None, decode=lambda c: c.numpy())),
    )
    drawn = model.best({"a": torch.zeros(200, 1, 1, 1)}, of=15, steps=30)
    assert (drawn["b"] > 0).float().mean() > 0.97
    with pytest.raises(ValueError, match="name the target of the vote: a, b"):
        model.best(num=2)
    assert model.best(num=2, order=["a", "b"], steps=3).info["order"] == [["a"], ["b"]]


@pytest.mark.parametrize(
    "how, message",
    [
        ({"by": "beauty"}, "by vote or likelihood or a function"),
        ({"of": 0}, "expected one or more"),
        ({"by": "likelihood"}, "something must be given"),
        ({"given": {"b": torch.zeros(1, 1, 1, 1)}, "target": "b"}, "'b' is not drawn; drawn are a"),
        ({"target": "c"}, "unknown modality 'c'"),
    ],
)
def test_bad_votes_are_said(how, message):
    with pytest.raises(ValueError, match=message):
        best(letters(), steps=2, **how)
