import contextlib
import copy
import math
import pickle
import threading

import pytest
import torch
from test_training import tiny

import jointdiff
from jointdiff import build, state
from jointdiff.condition import CONDITIONS
from jointdiff.model import Model
from jointdiff.samplers import SAMPLERS
from jointdiff.sde import SDES


@pytest.fixture
def model():
    c = tiny()
    modalities = build.modalities(c)
    denoiser = build.denoiser(c, build.layout(c, modalities))
    draws = torch.Generator().manual_seed(0)
    for p in denoiser.network.parameters():
        torch.nn.init.normal_(p, std=0.1, generator=draws)
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


@pytest.mark.parametrize("condition", CONDITIONS)
def test_given_channels_come_back_unchanged(model, condition, generator):
    y = torch.randn(3, 1, 8, 8, generator=generator)
    assert torch.equal(model.sample({"image": y}, num=3, steps=4, condition=condition)["image"], y)


def test_every_step_is_told_and_the_last_is_the_result(model):
    seen = []
    drawn = model.sample(num=2, steps=4, on_step=seen.append)
    assert len(seen) == 4 and all(torch.equal(seen[-1][n], drawn[n]) for n in drawn)
    assert not torch.equal(seen[0]["image"], seen[1]["image"])
    seen.clear()
    model.sample({"image": torch.zeros(1, 1, 8, 8)}, num=2, steps=4, condition="twisted", on_step=seen.append)
    assert all(v.shape[0] == 2 for state in seen for v in state.values())  # not a particle each


def test_left_out_values_do_not_matter_to_the_rest(model):
    """What is left out is noise of its own stream: with other noise there, but the same elsewhere, the rest differs only
    by that noise, and giving nothing else is allowed."""
    drawn = model.sample(num=2, leave_out=["audio"])
    assert drawn["image"].isfinite().all()
    with pytest.raises(ValueError, match="nothing is left"):
        model.sample({"image": torch.zeros(1, 1, 8, 8)}, leave_out=["audio"])
    with pytest.raises(ValueError, match="unknown modality"):
        model.sample(leave_out=["text"])


def test_sampling_leaves_the_global_randomness_alone(model):
    torch.manual_seed(0)
    before = torch.get_rng_state()
    model.sample(num=1)
    assert torch.equal(before, torch.get_rng_state())


def test_load_takes_a_workdir_a_file_or_a_name(model, tmp_path):
    state.export(model, tmp_path / "x.safetensors")
    assert jointdiff.load(tmp_path / "x.safetensors").layout.names == model.layout.names
    with pytest.raises(ValueError, match="unknown model 'nothing'"):
        jointdiff.load("nothing")
    with pytest.raises(ValueError, match="no weights at"):
        jointdiff.load("nothing.safetensors")
    with pytest.raises(ValueError, match="no checkpoint in"):
        jointdiff.load(tmp_path)
    with pytest.raises(AttributeError, match="it has load, train, push_to_hub"):
        jointdiff.lod  # noqa: B018


def test_a_folder_does_not_hide_shipped_weights(tmp_path, monkeypatch):
    (tmp_path / "sums").mkdir()
    monkeypatch.chdir(tmp_path)
    assert jointdiff.load("sums").layout.names == ("first", "second", "answer", "rationale")
    with pytest.raises(ValueError, match="no checkpoint in sums"):
        jointdiff.load("./sums")


def test_every_public_name_is_there():
    assert all(getattr(jointdiff, name) is not None for name in jointdiff.__all__)


@pytest.mark.parametrize("sampler", [s for s in SAMPLERS if s != "adaptive"])
def test_cost_is_what_sampling_takes(model, sampler):
    image = torch.zeros(1, 1, 8, 8)
    assert (
        model.cost(False, sampler=sampler, steps=5) == model.sample(num=3, sampler=sampler, steps=5).info["evaluations"]
    )
    for condition in CONDITIONS:
        if condition == "twisted" and sampler not in ("ddim", "euler_maruyama"):
            continue
        took = model.sample({"image": image}, 3, sampler=sampler, steps=5, condition=condition).info["evaluations"]
        assert model.cost(sampler=sampler, steps=5, condition=condition) == took
    guided = model.sample({"image": image}, 3, sampler=sampler, steps=5, guidance=1.0).info["evaluations"]
    assert guided == model.cost(sampler=sampler, steps=5, guidance=1.0) == 2 * model.cost(sampler=sampler, steps=5)


def test_sampling_ends_where_the_config_says(model):
    """The estimate at that noise-to-signal ratio is the last one that is asked for."""
    model.config.sample.lowest = 0.5
    asked = []
    inner = model.denoiser.forward
    model.denoiser.forward = lambda x, t: asked.append(float(t.flatten()[0])) or inner(x, t)
    model.sample(num=1, steps=4)
    assert model.denoiser.sde.ratio(torch.tensor(asked[-1], dtype=torch.float64)) == pytest.approx(0.5)
    for wrong in (0.0, 1e6):
        model.config.sample.lowest = wrong
        with pytest.raises(ValueError, match="expected a noise-to-signal ratio above 0 and below"):
            model.sample(num=1, steps=4)


def test_adaptive_costs_at_least_what_is_said(model):
    assert model.sample(num=2, sampler="adaptive", steps=3).info["evaluations"] >= model.cost(
        False, sampler="adaptive", steps=3
    )


def test_twisted_reports_the_evidence(model):
    info = model.sample({"image": torch.zeros(1, 1, 8, 8)}, 3, steps=4, condition="twisted").info
    assert len(info["log_evidence"]) == 3 and torch.tensor(info["log_evidence"]).isfinite().all()


@pytest.mark.parametrize("way", ["drawn", "held"])
def test_known_noise_reaches_the_network(model, way):
    """The levels that the network sees are those that were named, sample by sample and modality by modality."""
    seen = []
    model.config.sample.given_noise = way
    network = model.denoiser.network
    hook = network.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[1].detach()))
    given = {"audio": torch.zeros(2, model.layout.channels["audio"], 8, 8)}
    drawn = model.sample(given, noise={"audio": torch.tensor([0.5, 2.0])}, steps=3)
    hook.remove()
    place = model.layout.names.index("audio")
    want = (torch.tensor([0.5, 2.0]) / float(model.denoiser.data_std[place])).log() / 4
    own, others = torch.stack(seen)[:, :, place], torch.stack(seen)[:, :, 1 - place]
    assert torch.allclose(own[0], want, atol=1e-4)
    if way == "held":
        assert len(seen) == 3 and (own == own[0]).all() and (others.diff(dim=0) < 0).all()
    else:  # first the noise goes, with the other absent; then the other comes, with this clean
        assert len(seen) == 6 and (own[:3].diff(dim=0) < 0).all() and (others[:3] == others[3]).all()
        assert (own[3:] == own[3:].min()).all() and (others[3:].diff(dim=0) < 0).all()
    assert torch.equal(drawn["audio"], given["audio"]) and drawn.info["noise"] == {"audio": [0.5, 2.0]}
    assert drawn.info["evaluations"] == len(seen) == model.cost(steps=3, noisy=True)
    with pytest.raises(ValueError, match="'auto'"):
        model.sample(given, noise={"audio": "much"})
    with pytest.raises(ValueError, match="must be a finite number"):
        model.sample(given, noise={"audio": -0.1})


def test_what_is_given_comes_back_without_noise_when_asked(model):
    image = torch.zeros(3, 1, 8, 8)
    how = {"noise": {"image": 0.5}, "denoise_given": True, "steps": 3}
    denoised = model.sample({"image": image}, **how)
    assert not torch.equal(denoised["image"], image) and denoised["image"].isfinite().all()
    assert torch.allclose(denoised["image"][:1], model.sample({"image": image[:1]}, **how)["image"], atol=1e-5)
    others = [n for n in model.layout.names if n != "image"]
    alone = model.sample({"image": image}, leave_out=others, **how)
    assert list(alone) == ["image"] and alone.info["evaluations"] == 3
    model.config.sample.given_noise = "held"
    with pytest.raises(ValueError, match="given_noise = 'drawn' only"):
        model.sample({"image": image}, **how)
    model.config.sample.given_noise = "mixed"
    with pytest.raises(ValueError, match="there are drawn, held"):
        model.sample({"image": image}, **how)


def test_given_values_are_natural(model, tmp_path):
    import numpy as np
    import PIL.Image
    from scipy.io import wavfile

    picture = PIL.Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8) * 3)
    picture.save(tmp_path / "a.png")
    forms = [picture, np.asarray(picture), tmp_path / "a.png", str(tmp_path / "a.png"), [picture]]
    encoded = [model.encode("image", form) for form in forms]
    assert all(torch.equal(e, encoded[0]) for e in encoded)
    assert torch.equal(model.encode("image", encoded[0][0]), encoded[0])
    assert model.encode("image", [picture, picture]).shape[0] == 2
    rate = model.modalities["audio"].rate
    wave = np.sin(np.arange(rate // 8) / 3).astype(np.float32)
    wavfile.write(tmp_path / "a.wav", rate, wave)
    sounds = [model.encode("audio", form) for form in ((wave, rate), (rate, wave), tmp_path / "a.wav")]
    assert all(torch.allclose(s, sounds[0]) for s in sounds)


def test_numbers_of_samples_follow_what_is_given(model):
    many = torch.zeros(3, 1, 8, 8)
    assert len(model.sample({"image": many}, steps=2)["audio"]) == 3
    assert len(model.sample({"image": many[0]}, 2, steps=2)["audio"]) == 2
    with pytest.raises(ValueError, match="3 values of 'image' are given for 2 samples"):
        model.sample({"image": many}, 2)
    with pytest.raises(ValueError, match="num = 0"):
        model.sample(num=0)


def test_log_prob_and_classify_by_name(model):
    """Chain rule and normalisation hold for any network; what they say of data is tested on exact ones."""
    for p in model.denoiser.network.parameters():
        p.data.mul_(0.5)  # smooth enough for the solver's tolerance to be one of the result
    values = {n: torch.zeros(2, model.layout.channels[n], 8, 8) for n in model.layout.names}
    joint = model.log_prob(values)
    assert joint.shape == (2,) and joint.isfinite().all()
    assert torch.allclose(joint[:1], model.log_prob({n: v[:1] for n, v in values.items()}), atol=0.2)
    given = {"audio": values["audio"]}
    assert model.log_prob({"image": values["image"]}, given).isfinite().all()
    with pytest.raises(ValueError, match="stands on both sides"):
        model.log_prob(values, given)
    options = [torch.zeros(model.layout.channels["audio"], 8, 8), torch.ones(model.layout.channels["audio"], 8, 8)]
    for method in ("likelihood", "sampling"):
        p = model.classify({"image": values["image"]}, {"audio": options}, method, num=4)
        assert p.shape == (2, 2) and torch.allclose(p.sum(1), torch.ones(2))
    with pytest.raises(ValueError, match="unknown method"):
        model.classify({"image": values["image"]}, {"audio": options}, "guess")


@pytest.mark.parametrize("scale", [1.0, 3.0])
def test_an_exact_model_classifies_and_finds_noise(scale):
    """A model whose denoiser is a mixture's: classes, densities and noise levels through the names, at any scale inside."""
    from jointdiff.analytic import Mixture
    from jointdiff.layout import Layout

    class Exact(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.layout, self.sde = Layout({"a": 1, "b": 1}, (2, 2), {"a": scale}), SDES["vp"]()
            means = torch.cat([torch.full((2, 4), 0.6), torch.tensor([[0.8], [-0.8]]).expand(2, 4)], 1)
            means[1, :4] = -0.6
            inside = torch.tensor([scale] * 4 + [1.0] * 4).double()
            self.joint = Mixture([0.5, 0.5], means.double() * inside, [0.09 * (inside**2).diag()] * 2, (2, 2, 2))
            self.register_buffer("data_std", torch.ones(2))

        def moments(self):
            return torch.zeros(1, 2, 1, 1), torch.ones(1, 2, 1, 1)

        def precision(self):
            return contextlib.nullcontext()

        def forward(self, x, t):
            return self.joint.denoiser(self.sde)(x, t)

    exact = Exact()
    model = Model(tiny(), exact, {"a": None, "b": None})
    x = exact.joint.sample(64, torch.Generator().manual_seed(0)).float()
    a, b = x[:, :1] / scale, x[:, 1:]
    truth = exact.joint.responsibilities(x)[:, 0]
    options = [torch.full((1, 2, 2), 0.8), torch.full((1, 2, 2), -0.8)]
    likely = model.classify({"a": a}, {"b": options}, num=64)[:, 0]
    drawn = model.classify({"a": a}, {"b": options}, "sampling", num=32)[:, 0]
    assert ((likely > 0.5) == (truth > 0.5)).float().mean() > 0.95 and (
        (drawn > 0.5) == (truth > 0.5)
    ).float().mean() > 0.95
    log_prob = exact.joint.log_prob(x) + 4 * math.log(scale)
    assert (model.log_prob({"a": a, "b": b}, probes=64) - log_prob).abs().mean() / 8 < 0.1
    drawn = model.sample(num=256, sampler="dpm_solver", steps=30)["a"]
    assert drawn.abs().mean() == pytest.approx(0.6, abs=0.05) and drawn.std() == pytest.approx(0.67, abs=0.05)
    for level in (0.3, 1.0, 2.5):
        g = torch.Generator().manual_seed(1)
        found = model.noise_level("a", a + level * torch.randn(a.shape, generator=g))
        assert found.log().clamp(min=-4).median().exp() == pytest.approx(level, rel=0.45)


def test_samples_show_and_save_what_they_hold(model, tmp_path):
    import numpy as np

    drawn = model.sample({"image": torch.zeros(1, 1, 8, 8)}, 2, steps=2)
    assert set(drawn) == set(model.layout.names) and len(drawn) == len(model.layout.names)
    assert [p.size for p in drawn.pictures("image")] == [(8, 8)] * 2
    (wave, rate), _ = drawn.sounds("audio")
    assert wave.ndim == 1 and rate == model.modalities["audio"].rate
    assert drawn.raw("image").dtype == np.uint8
    with pytest.raises(ValueError, match="is no text"):
        drawn.texts("image")
    with pytest.raises(ValueError, match="is no sound"):
        drawn.sounds("image")
    with pytest.raises(ValueError, match="unknown modality"):
        drawn.raw("video")
    shown = drawn._repr_html_()
    assert shown.count("<img") == 4 and shown.count("<audio") == 2 and "image (given)" in shown
    assert "given" in repr(drawn)
    folder = drawn.save(tmp_path / "out")
    assert {p.name for p in folder.iterdir()} == {
        "samples.npz",
        "grid.png",
        "samples.json",
        "audio_000.wav",
        "audio_001.wav",
    }
    with np.load(folder / "samples.npz") as saved:
        assert np.array_equal(saved["audio"], drawn["audio"].numpy()) and list(saved["given"]) == ["image"]
    with pytest.raises(ValueError, match="exists already"):
        drawn.save(tmp_path / "out")


def test_a_round_trip_through_the_hubs_form_offline(model, tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    folder = jointdiff.save_pretrained(model, tmp_path / "mine")
    assert (folder / "jointdiff.safetensors").is_file()
    again = jointdiff.load(folder, precision="fp32")
    a, b = model.sample(num=2, steps=3), again.sample(num=2, steps=3)
    assert all(torch.allclose(a[n], b[n], atol=0.05) for n in a)  # half precision
    with pytest.raises(ValueError, match="'nobody/nothing' is no shipped model, workdir or file, and the hub gave"):
        jointdiff.load("nobody/nothing")


def test_variations_start_from_what_there_was(model):
    """At a small strength hardly anything changes, at 1 nothing stays; what is given stays in any case."""
    first = model.sample(num=2, steps=6)
    near = model.sample(num=2, steps=6, seed=5, start=first, strength=0.02)
    far = model.sample(num=2, steps=6, seed=5, start=first, strength=1.0)
    anew = model.sample(num=2, steps=6, seed=5)
    for name in first:
        assert (near[name] - first[name]).abs().mean() < 0.25 * (far[name] - first[name]).abs().mean()
        assert torch.allclose(far[name], anew[name], atol=0.2)
    kept = model.sample({"image": first["image"]}, steps=6, start=first, strength=0.5)
    assert torch.equal(kept["image"], first["image"]) and not torch.equal(kept["audio"], first["audio"])
    with pytest.raises(ValueError, match="strength = 0"):
        model.sample(num=2, start=first, strength=0.0)
    with pytest.raises(ValueError, match="twisted condition starts from noise alone"):
        model.sample({"image": first["image"]}, start=first, strength=0.5, condition="twisted")


def test_a_gaussian_varied_stays_a_gaussian():
    """Draws from a Gaussian, noised to any time and carried back, are draws from it still."""
    from jointdiff.analytic import gaussian, gaussian_kl
    from jointdiff.samplers import sample

    cov = torch.tensor([[1.0, 0.8], [0.8, 1.0]]).double()
    joint, sde = gaussian(torch.zeros(2), cov), SDES["vp"]()
    g = torch.Generator().manual_seed(0)
    noise = lambda: torch.randn(20000, 2, 1, 1, generator=g, dtype=torch.float64)
    method, start = SAMPLERS["heun"](sde), joint.sample(20000, g)
    times = method.grid(sde, 40)
    times = torch.cat([torch.tensor([0.4]).double(), times[times < 0.4]])
    x = sample(joint.denoiser(sde), method, times, noise, start=start).flatten(1)
    assert gaussian_kl(torch.zeros(2), cov, x.mean(0), torch.cov(x.T)) < 0.002
    kept = float((x[:, 0] * start.flatten(1)[:, 0]).mean())
    assert 0.05 < kept < 0.95


def test_embeddings_of_a_class_lie_together(model):
    digits = jointdiff.load("digits")
    words = ["one", "two", "four", "seven", "eight"] * 8
    pictures = digits.sample({"text": words}, leave_out=["audio"], seed=3)["image"]
    close = digits.embed({"image": pictures})
    assert close.shape == (40, 192) and torch.equal(close, digits.embed({"image": pictures}))
    distance = torch.cdist(close, close).fill_diagonal_(torch.inf)
    right = [words[i] == words[j] for i, j in enumerate(distance.argmin(1).tolist())]
    assert sum(right) >= 36, sum(right)
    model.denoiser.network = torch.nn.Identity()
    with pytest.raises(ValueError, match="Identity has no levels to look into; the U-Net has"):
        model.embed({"image": torch.zeros(1, 1, 8, 8)})


def test_threads_share_a_model_and_it_can_be_copied(model):
    alone = {seed: model.sample(num=2, seed=seed, steps=3) for seed in range(4)}
    together = {}

    def draw(seed):
        together[seed] = model.sample(num=2, seed=seed, steps=3)

    threads = [threading.Thread(target=draw, args=(seed,)) for seed in alone]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        together[len(together)] = other.sample(num=2, seed=0, steps=3)
        alone[len(alone)] = alone[0]
    assert len(together) == 6
    for seed, drawn in alone.items():
        assert all(torch.equal(drawn[n], together[seed][n]) for n in drawn)


def test_a_model_says_what_it_is(model):
    assert repr(model).startswith("Model(Layout(") and "M parameters" in repr(model)


def test_the_card_says_what_a_model_is_and_goes_along(workdir, tmp_path):
    model = jointdiff.load(workdir)
    text = model.card("tiny", "| direction | coherence |")
    assert text.startswith("# Model card: `tiny`") and "| direction | coherence |" in text
    assert "| audio | audio | 4 | key tones of a telephone" in text and "    train.steps = 2" in text
    assert "sde.name" not in text  # a default
    folder = jointdiff.save_pretrained(model, tmp_path / "mine", "| measured |")
    assert "library_name: jointdiff" in (folder / "README.md").read_text()
    assert (
        "Model card: `mine`" in (folder / "README.md").read_text()
        and "| measured |" in (folder / "README.md").read_text()
    )
    from jointdiff.card import ABOUT
    from jointdiff.data import SOURCES

    assert set(ABOUT) == set(SOURCES)


def test_a_weaker_model_guides_and_is_counted(model):
    """The same model as its own guide changes nothing; another does, at two evaluations a step."""
    given, how = {"image": torch.zeros(1, 1, 8, 8)}, {"steps": 4, "num": 2}
    plain = model.sample(given, guidance=0.0, **how)
    same = model.sample(given, guidance=1.5, guide=model, **how)
    assert torch.allclose(plain["audio"], same["audio"], atol=1e-4)
    assert (
        same.info["evaluations"]
        == model.cost(steps=4, guidance=1.5, guide=model)
        == 2 * model.cost(steps=4, guidance=0.0)
    )
    other = Model(model.config, copy.deepcopy(model.denoiser), model.modalities)
    with torch.no_grad():
        for p in other.denoiser.network.parameters():
            p.add_(0.1 * torch.randn(p.shape, generator=torch.Generator().manual_seed(0)))
    assert not torch.allclose(plain["audio"], model.sample(given, guidance=1.5, guide=other, **how)["audio"], atol=1e-3)
    with pytest.raises(ValueError, match="the guide has Layout"):
        model.sample(num=1, guide=jointdiff.load("digits"), guidance=1.0)


def test_reading_leads_what_is_drawn_and_is_counted(model, monkeypatch):
    """An evaluation more for each modality that it leads; without anything given there is nothing to read."""
    given, how = {"image": torch.zeros(1, 1, 8, 8)}, {"steps": 4, "num": 2, "guidance": 0.0}
    plain, led = (model.sample(given, reading=r, **how) for r in ({}, {"audio": 5.0}))
    assert led.info["evaluations"] == model.cost(steps=4, guidance=0.0, reading={"audio": 5.0}) == 2 * 4
    assert model.cost(steps=4, guidance=0.0, reading={"image": 5.0}) == 2 * 4  # whatever is led
    assert led.info["reading"] == {"audio": 5.0} and not torch.allclose(plain["audio"], led["audio"], atol=1e-3)
    assert torch.allclose(model.sample(given, reading={"audio": 5.0}, batch=1, **how)["audio"], led["audio"], atol=1e-4)
    assert torch.equal(model.sample(given, reading={"image": 5.0}, **how)["audio"], plain["audio"])  # given, not drawn
    loud = model.sample(given, reading={"audio": 1e4}, **how)["audio"]
    assert loud.abs().max() == 1  # and no further, however strongly
    nothing = {"num": 1, "steps": 2, "guidance": 0.0}
    assert torch.equal(model.sample(reading={"audio": 5.0}, **nothing)["audio"], model.sample(**nothing)["audio"])
    with pytest.raises(ValueError, match="led by reading needs the condition 'clean', not 'replace'"):
        model.sample(given, reading={"audio": 5.0}, condition="replace", **how)
    with pytest.raises(ValueError, match="sight"):
        model.sample(given, reading={"sight": 5.0}, **how)
    monkeypatch.setattr(model.modalities["audio"], "exact", True, raising=False)  # as of arrays, beyond the range
    assert model.sample(given, reading={"audio": 1e4}, **how)["audio"].abs().max() > 10
