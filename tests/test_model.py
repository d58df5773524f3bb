import pytest
import torch
from test_train import tiny

import jointdiff
from jointdiff import config as cfg
from jointdiff import state
from jointdiff.model import Model


@pytest.fixture
def model():
    c = tiny()
    modalities = cfg.build_modalities(c)
    denoiser = cfg.build_denoiser(c, cfg.build_layout(c, modalities))
    for p in denoiser.network.parameters():
        torch.nn.init.normal_(p, std=0.1)
    return Model(c, denoiser, modalities)


def test_sample_i_depends_on_the_seed_and_i_alone(model):
    many = model.sample(num=5, seed=3, batch=5)
    one_by_one = model.sample(num=5, seed=3, batch=1)
    for name in many:
        assert torch.allclose(many[name], one_by_one[name], atol=1e-5)
        assert torch.equal(many[name][:2], model.sample(num=2, seed=3)[name]) or torch.allclose(
            many[name][:2], model.sample(num=2, seed=3)[name], atol=1e-5
        )
        assert not torch.allclose(many[name], model.sample(num=5, seed=4, batch=5)[name], atol=1e-2)


@pytest.mark.parametrize("condition", ["clean", "replace"])
def test_given_channels_come_back_unchanged(model, condition, generator):
    y = torch.randn(3, 1, 8, 8, generator=generator)
    assert torch.equal(model.sample({"image": y}, num=3, condition=condition)["image"], y)


def test_left_out_values_do_not_matter_to_the_rest(model):
    """What is left out is noise of its own stream: with other noise there, but the same elsewhere, the rest differs only
    by that noise, and giving nothing else is allowed."""
    drawn = model.sample(num=2, leave_out_names=["audio"])
    assert drawn["image"].isfinite().all()
    with pytest.raises(ValueError, match="nothing is left"):
        model.sample({"image": torch.zeros(1, 1, 8, 8)}, leave_out_names=["audio"])
    with pytest.raises(ValueError, match="unknown modality"):
        model.sample(leave_out_names=["text"])


def test_sampling_leaves_the_mode_and_the_global_randomness_alone(model):
    model.denoiser.train()
    torch.manual_seed(0)
    before = torch.get_rng_state()
    model.sample(num=1)
    assert model.denoiser.training and torch.equal(before, torch.get_rng_state())


def test_load_takes_a_workdir_a_file_or_a_name(model, tmp_path):
    state.export(model, tmp_path / "x.safetensors")
    assert jointdiff.load(tmp_path / "x.safetensors").layout.names == model.layout.names
    with pytest.raises(ValueError, match="unknown model 'nothing'"):
        jointdiff.load("nothing")
    with pytest.raises(ValueError, match="no weights at"):
        jointdiff.load("nothing.safetensors")
    with pytest.raises(ValueError, match="no checkpoint in"):
        jointdiff.load(tmp_path)
    with pytest.raises(AttributeError, match="it has load, Model"):
        jointdiff.lod  # noqa: B018


def test_every_public_name_is_there():
    assert all(getattr(jointdiff, name) is not None for name in jointdiff.__all__)
