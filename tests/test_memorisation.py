"""Memorisation, with copies that were planted."""

import pytest
import torch
from test_partners import exact

import jointdiff
from jointdiff import hub
from jointdiff.evaluate.memorisation import measure, memorisation, nearest, without_variants


@pytest.fixture
def items(generator):
    """Items, of which any are as near to each other as to any others: samples, training and held-out ones."""
    x = torch.randn(2400, 1, 4, 4, generator=generator)
    return x[:200], x[200:1400], x[1400:]


def test_the_nearest_is_found_in_parts(items):
    drawn, train, _ = items
    distance, place = nearest(drawn, train, chunk=100)
    apart = (drawn[:, None] - train[None]).square().flatten(2).mean(2).sqrt()
    assert torch.equal(place, apart.argmin(1)) and torch.allclose(distance, apart.amin(1), atol=1e-4)
    kept = ((train.clamp(-1, 1) + 1) * 127.5).round().byte()  # as they are stored
    assert nearest(kept[:5].float() / 127.5 - 1, kept)[0].max() < 1e-3


def test_who_draws_anew_is_not_accused(items):
    found = memorisation(*items)
    assert abs(found["z"]) < 3 and abs(found["nearer"] - 0.5) < 3 * found["nearer error"]
    assert found["median"] == pytest.approx(found["median of held-out"], rel=0.05)


@pytest.mark.parametrize("share", [0.3, 1.0])
def test_copies_are_found(items, share):
    drawn, train, held_out = items
    copied = drawn.clone()
    some = int(share * len(drawn))
    copied[:some] = train[:some] + 0.2 * torch.randn(some, 1, 4, 4, generator=torch.Generator().manual_seed(2))
    found = memorisation(copied, train, held_out)
    assert found["z"] < -6 and found["nearer"] > 0.5 + share / 4
    assert share < 1 or (found["place"] == torch.arange(some)).float().mean() > 0.95


def test_what_is_worse_than_the_data_is_no_copy(items):
    drawn, train, held_out = items
    found = memorisation(drawn * 1.5, train, held_out)
    assert found["z"] > 6 and abs(found["nearer"] - 0.5) < 3 * found["nearer error"]


def test_a_model_is_measured_in_all_that_is_no_text(workdir, monkeypatch, tmp_path):
    monkeypatch.setenv("JOINTDIFF_DATA", str(tmp_path / "data"))
    figures, picture = measure(hub.load(workdir), 4, most=2)
    assert set(figures) == {"image", "audio"} and all(f["median"] > 0 for f in figures.values())
    assert picture.height > 2 * 100 * 2 and "place" not in figures["image"]


def test_draws_of_the_exact_model_are_no_copies():
    """The chance that a draw is nearer to one of n than to any of n others, of the same distribution, is a half."""
    model, values = exact(0.5)
    drawn = model.sample(num=200, seed=5, sampler="dpm_solver", steps=20)
    found = memorisation(drawn["a"], values["a"][:200], values["a"][200:])
    assert abs(found["nearer"] - 0.5) < 3 * found["nearer error"]


def test_variants_are_not_taken_for_memory(items):
    """Samples and training items with an offset that held-out ones lack: nothing is remembered, and the originals say so."""
    drawn, train, held_out = items
    assert memorisation(drawn + 1, train + 1, held_out)["nearer"] > 0.9
    found = memorisation(drawn + 1, train + 1, held_out, originals=train)
    assert abs(found["nearer"] - 0.5) < 3 * found["nearer error"]
    config = jointdiff.load("digits").config
    assert config.modality.audio.source_options.variants == 16
    assert without_variants(config).modality.audio.source_options.to_dict() == {"variants": 1}
