"""Grids of times that lose least, against all choices there are, closed forms, and what then is drawn."""

import itertools

import pytest
import torch
from test_order import classes, exact_model
from test_partners import exact

from jointdiff.layout import Layout
from jointdiff.samplers.grids import at_ratios, least_loss
from jointdiff.sde import SDES


@pytest.mark.parametrize("steps", [1, 2, 3, 5, 7])
def test_least_loss_is_the_least_of_all_choices(steps):
    g = torch.Generator().manual_seed(steps)
    ratios = torch.rand(9, generator=g, dtype=torch.float64).cumsum(0).flip(0) + 0.1
    errors = torch.rand(9, generator=g, dtype=torch.float64)

    def loss(chosen):
        ends = [*chosen[1:], 8]
        return sum(float(errors[i] * (ratios[j] ** -2 - ratios[i] ** -2)) for i, j in zip(chosen, ends))

    best = min(((0, *rest) for rest in itertools.combinations(range(1, 8), steps - 1)), key=loss)
    assert least_loss(ratios, errors, steps).tolist() == ratios[list(best)].tolist()


def test_least_loss_refuses_what_it_cannot_choose_from():
    ratios = torch.tensor([4.0, 2.0, 1.0])
    for steps in (0, 3):
        with pytest.raises(ValueError, match="expected 1 to 2"):
            least_loss(ratios, torch.ones(3), steps)
    with pytest.raises(ValueError, match="decrease"):
        least_loss(ratios.flip(0), torch.ones(3), 1)


@pytest.mark.parametrize("given", [(), ("a",)])
def test_errors_of_an_exact_model_are_the_posterior_variance(given):
    model, values = exact(0.8)
    ratios = torch.tensor([0.1, 0.5, 2.0, 20.0], dtype=torch.float64)
    found = model.errors(values, ratios, given)
    shrunk = lambda variance: variance * ratios**2 / (variance + ratios**2)
    if given:
        assert not found["a"].any()
        assert torch.allclose(found["b"], shrunk(0.25 * (1 - 0.8**2)), rtol=0.08)
    else:
        want = (shrunk(0.25 * 1.8) + shrunk(0.25 * 0.2)) / 2
        assert all(torch.allclose(v, want, rtol=0.08) for v in found.values())


@pytest.mark.parametrize("steps", [2, 4, 6])
def test_the_grid_of_a_gaussian_is_even_in_log_one_plus_snr(steps):
    """Its error is v / (1 + v s) at signal-to-noise s: the sum of (u' - u) / u, u = 1 + v s, is least where all u' / u are one."""
    model, values = exact(0.0)
    found = torch.tensor(model.grid(values, steps, lowest=0.1), dtype=torch.float64)
    last = 1 + 0.25 / 0.1**2
    u = last ** (torch.arange(1, steps, dtype=torch.float64) / steps)
    assert torch.allclose(found.log(), (0.25 / (u - 1)).log() / 2, atol=0.08)


def test_a_models_own_samples_stand_for_data():
    model, values = exact(0.0)
    found = torch.tensor(model.grid(values, 4, lowest=0.1))
    drawn = torch.tensor(model.grid(model.sample(num=100, steps=40), 4, lowest=0.1))
    assert torch.allclose(drawn.log(), found.log(), atol=0.15)


def test_few_steps_draw_better_on_it():
    """Three numbers of a mixture: in three steps fewer samples lie where the data never do than on the usual grid."""
    joint = classes(n=3)
    layout = Layout({"a": 1, "b": 1, "c": 1}, (1, 1))
    model = exact_model(
        joint.__class__(joint.weights, joint.means, joint.covariances, (3, 1, 1)), layout, dict.fromkeys("abc")
    )
    x = joint.sample(256, torch.Generator().manual_seed(0)).float().view(-1, 3, 1, 1)
    values = {n: x[:, i : i + 1] for i, n in enumerate("abc")}
    grid = model.grid(values, 3, lowest=0.2)

    def far(**how):
        drawn = model.sample(num=2000, guidance=0.0, **how)
        assert drawn.info["evaluations"] == drawn.info["steps"] == 3
        rows = torch.cat([drawn[n].flatten(1) for n in "abc"], 1).double()
        distance = [
            (((rows - m) @ torch.linalg.inv(c)) * (rows - m)).sum(1) for m, c in zip(joint.means, joint.covariances)
        ]
        return float((torch.stack(distance).amin(0) > 16).double().mean())

    model.config.sample.lowest = 0.2
    assert far(grid=grid) < 0.6 * far(steps=3)


def test_a_grid_of_ratios():
    model, _ = exact(0.5)
    for grid in ((4.0, 2, 1), [4, 2, 1], "4,2,1"):
        drawn = model.sample(num=3, grid=grid)
        assert drawn.info["evaluations"] == drawn.info["steps"] == 4 and drawn.info["grid"] == grid
    assert torch.equal(model.sample(num=3, grid="4,2,1")["a"], model.sample(num=3, grid=(4, 2, 1), steps=4)["a"])
    times = at_ratios(SDES["vp"](), "4,2,1")
    assert times[0] == 1 and torch.allclose(SDES["vp"]().ratio(times[1:]), torch.tensor([4.0, 2, 1]).double())
    with pytest.raises(ValueError, match="5 steps, but a grid of 4"):
        model.sample(grid="4,2,1", steps=5)
    for bad in ("1,2", "4,,1", "4,2,0", "9999,2", (2, "x"), "4,nan"):
        with pytest.raises(ValueError, match="decreases, between 152 and"):
            model.sample(grid=bad)
    with pytest.raises(ValueError, match="2 at least"):
        model.grid({}, 1)
