"""Measures without classes, where the truth is known."""

import json
import types

import pytest
import torch
from test_manifest import folder, own

from jointdiff import main
from jointdiff.analytic import gaussian
from jointdiff.config import default
from jointdiff.evaluate.partners import distances, glance, intervals, likelihood_ranks, ranks, sample_ranks
from jointdiff.layout import Layout
from jointdiff.model import Model
from jointdiff.sde import SDES
from jointdiff.trainer import Trainer
from jointdiff.training import fit


def exact_model(joint, names):
    """The model whose denoiser is the exact one of a joint `(len(names), n, n)`."""
    sde = SDES["vp"]()

    class Exact(torch.nn.Module):
        layout = Layout(dict.fromkeys(names, 1), joint.shape[1:])

        def __init__(self):
            super().__init__()
            self.sde, self.denoise = sde, joint.denoiser(sde)
            self.register_buffer("data_std", torch.full((len(names),), 0.5))

        def precision(self):
            return torch.autocast("cpu", enabled=False)

        def moments(self):
            return torch.zeros(1, len(names), 1, 1), torch.full((1, len(names), 1, 1), 0.5)

        def forward(self, x, t):
            return self.denoise(x, t).to(x)

    return Model(default(), Exact(), {n: types.SimpleNamespace(exact=True) for n in names})


def exact(rho, n=4):
    """The exact model of two modalities of n x n independent pixels, each pixel correlated `rho` with its partner's."""
    size = n * n
    eye = torch.eye(size).double()
    covariance = 0.25 * torch.cat([torch.cat([eye, rho * eye], 1), torch.cat([rho * eye, eye], 1)])
    joint = gaussian(torch.zeros(2 * size), covariance, (2, n, n))
    x = joint.sample(400, torch.Generator().manual_seed(0)).float()
    return exact_model(joint, "ab"), {"a": x[:, :1], "b": x[:, 1:]}


class Rows:
    """Aligned values as rows that are all there."""

    def __init__(self, values):
        self.values = values

    def __len__(self):
        return 400

    def rows(self, start, count):
        at = torch.arange(start, start + count) % 400
        return {n: v[at] for n, v in self.values.items()}, torch.ones(count, len(self.values)), None, None


def test_ranks_share_places():
    score = torch.tensor([[3.0, 1.0, 2.0], [1.0, 1.0, 0.0], [5.0, 4.0, 3.0]])
    assert ranks(score).tolist() == [1.0, 1.5, 3.0]


@pytest.mark.parametrize("rho,first", [(0.9, (0.9, 1.0)), (0.0, (0.0, 0.2))])
def test_true_partners_are_found_as_far_as_there_is_anything_to_find(rho, first):
    model, values = exact(rho)
    values = {n: v[:32] for n, v in values.items()}
    for rank in (
        likelihood_ranks(model, values, "a", "b"),
        sample_ranks(model, values, "a", "b", steps=30, sampler="dpm_solver"),
    ):
        assert first[0] <= (rank <= 1).float().mean() <= first[1]
    if not rho:
        assert abs(likelihood_ranks(model, values, "a", "b").mean() - 16.5) < 4


def test_exact_intervals_hold_and_the_error_is_regressions():
    model, values = exact(0.8)
    known, test = ({n: v[s] for n, v in values.items()} for s in (slice(0, 300), slice(300, 400)))
    found = intervals(model, known, test, ["a"], "b", steps=30, sampler="dpm_solver")
    # the mean of 19 draws has 1 + 1 / 19 of the variance left over
    assert found["error of regression"] == pytest.approx(0.5 * 0.6, rel=0.05)
    assert found["error"] == pytest.approx(0.5 * 0.6 * (20 / 19) ** 0.5, rel=0.05)
    assert found["inside of the 90 % interval"] == pytest.approx(0.9, abs=0.02)


def test_distances_see_what_is_off():
    """In features that nobody labelled: fresh samples of an exact model are near, those with half of the variance far."""
    model, values = exact(0.8, 8)
    rows = types.SimpleNamespace(values=values)
    for kind in model.modalities.values():
        kind.rate = None
    how = {"steps": 30, "sampler": "dpm_solver"}
    near = distances(model, rows, rows, 200, updates=60, **how)
    drawn = model.sample

    class Half:
        modalities = model.modalities
        sample = staticmethod(lambda **k: {n: v * 0.5**0.5 for n, v in drawn(**k).items()})

    far = distances(Half, rows, rows, 200, updates=60, **how)
    for a, b in zip(near, far):
        assert a["target"] == b["target"] and b["drawn"] > 2 * a["drawn"], (a, b)
        assert a["drawn"] < 3 * a["training"]


def test_training_on_rows_without_classes_says_how_often_partners_are_found(tmp_path):
    model, values = exact(0.9)
    found = glance(model, Rows(values), 16)
    assert found.keys() == {"a_to_b", "b_to_a"} and all(v > 0.5 for v in found.values())


def test_a_manifests_run_is_measured_by_labels_and_without(tmp_path, command, monkeypatch, quick_judges):
    monkeypatch.setenv("JOINTDIFF_DATA", str(tmp_path / "data"))
    (tmp_path / "own").mkdir()
    table = folder(tmp_path / "own")
    fields = {"data.modalities": ("photo", "bands", "word"), "train.evaluate_every": 2, "train.evaluate_num": 4}
    fit(Trainer(own(table, **fields), tmp_path / "run"))
    assert json.loads((tmp_path / "run" / "coherence.jsonl").read_text())["photo_to_word"] >= 0
    out = command(workdir=str(tmp_path / "run"), mode="evaluate", num=4, seeds=1, steps=[2])
    result = json.loads((out / "partners.json").read_text())
    assert {r["target"] for r in result["distances"]} == {"photo", "bands", "word"}
    assert len(result["ranks"]) == 6 and [r["target"] for r in result["intervals"]] == ["bands"]
    assert json.loads((out / "coherence.json").read_text())["ceilings"]["word"] == 1.0
    assert main.FLAGS.mode == "train"
