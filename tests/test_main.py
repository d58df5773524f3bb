"""The command line, on a model that is small but real in every part."""

import json
import os
import re
import time

import numpy as np
import PIL.Image
import pytest
import torch
from absl.testing import flagsaver
from conftest import needs_browser
from scipy.io import wavfile

import jointdiff
from jointdiff import build, main, state
from jointdiff import config as cfg


def files(folder):
    return sorted(p.name for p in folder.iterdir())


def test_a_word_gives_pictures_and_sounds(command, capsys):
    out = command(mode="sample", given=["text=seven"], num=3, seed=5)
    assert files(out) == ["audio_000.wav", "audio_001.wav", "audio_002.wav", "grid.png", "samples.json", "samples.npz"]
    arrays = np.load(out / "samples.npz")
    assert arrays["given"].tolist() == ["text"]
    assert arrays["image"].shape == (3, 1, 16, 16) and arrays["image_raw"].shape == (3, 16, 16)
    assert arrays["image_raw"].dtype == np.uint8 and arrays["text_raw"].tolist() == ["seven"] * 3
    assert arrays["audio"].shape == (3, 4, 16, 16) and arrays["audio_raw"].shape == (3, 2000)
    rate, wave = wavfile.read(out / "audio_000.wav")
    assert rate == 8000 and len(wave) == 2000
    summary = json.loads((out / "samples.json").read_text())
    assert summary["text"] == {"text": ["seven"] * 3} and summary["evaluations"] == 3
    assert summary["seeds"] == [[5, 0], [5, 1], [5, 2]] and summary["sampler"] == "ddim" and summary["seconds"] > 0
    assert PIL.Image.open(out / "grid.png").mode == "RGB"
    said = capsys.readouterr().out
    assert "3 network evaluations, about" in said and said.index("evaluations") < said.index("written to")


def test_of_three_draws_the_one_is_kept_whose_parts_belong_together_best(command, workdir, tmp_path, monkeypatch):
    from jointdiff.evaluate.towers import build_towers, train_towers

    monkeypatch.setattr(train_towers, "__defaults__", (0, 20, 32, "cpu"))
    kept = np.load(command(mode="sample", given=["text=two"], num=2, best_of=3, by="agreement") / "samples.npz")
    model = jointdiff.load(workdir)
    pairs = build.data(model.config, model.modalities, "train")
    every = model.sample({"text": "two"}, 6)
    agreement = build_towers(model.config, pairs).agreement(every).view(2, 3)
    chosen = agreement.argmax(1) + torch.tensor([0, 3])
    assert np.allclose(kept["image"], every["image"][chosen], atol=1e-5)
    summary = json.loads((tmp_path / "out" / "samples.json").read_text())
    assert (summary["best_of"], summary["by"]) == (3, "agreement")
    assert summary["share"] == pytest.approx(agreement.softmax(1).max(1).values.tolist(), abs=1e-4)
    with pytest.raises(SystemExit, match="--best_of, --given.* are for sampling"):
        command(mode="evaluate", best_of=3)


def test_the_given_part_comes_back_bit_for_bit_and_seeds_are_a_samples_own(command, tmp_path):
    from jointdiff.modalities import Text

    many = np.load(command(mode="sample", given=["text=two"], num=5, seed=1) / "samples.npz")
    assert np.array_equal(many["text"], Text((16, 16), (5, 8)).encode(["two"] * 5).numpy())
    few = np.load(
        command(mode="sample", given=["text=two"], num=2, seed=1, batch=1, outdir=str(tmp_path / "two")).parent
        / "two"
        / "samples.npz"
    )
    assert np.allclose(many["image"][:2], few["image"], atol=1e-5)
    assert not np.allclose(many["image"][0], many["image"][1])


def test_nothing_given_is_joint_sampling_in_a_new_folder(command, workdir):
    command(mode="sample", num=2, outdir=None)
    command(mode="sample", num=2, outdir=None)
    assert {"000", "001"} <= set(files(workdir / "samples"))
    assert np.load(workdir / "samples" / "000" / "samples.npz")["given"].size == 0


@pytest.mark.parametrize("sampler", ["heun", "euler_maruyama", "predictor_corrector"])
@pytest.mark.parametrize("condition", ["clean", "replace"])
def test_every_sampler_and_condition_by_flags(command, sampler, condition):
    out = command(mode="sample", given=["image"], num=1, sampler=sampler, condition=condition, steps=[4])
    summary = json.loads((out / "samples.json").read_text())
    assert (summary["sampler"], summary["condition"], summary["steps"]) == (sampler, condition, 4)


def test_a_grid_of_ratios_by_a_flag(command):
    out = command(mode="sample", given=["image"], num=1, grid="4,2,1")
    summary = json.loads((out / "samples.json").read_text())
    assert (summary["grid"], summary["steps"], summary["evaluations"]) == ("4,2,1", 4, 4)


def test_pictures_sounds_and_examples_as_conditions(command, tmp_path):
    PIL.Image.new("RGB", (50, 40), (255, 255, 255)).save(tmp_path / "photo.png")
    wavfile.write(tmp_path / "tone.wav", 44100, (np.sin(np.arange(8000) * 0.1) * 9000).astype(np.int16))
    out = command(mode="sample", given=[f"image={tmp_path / 'photo.png'}", f"audio={tmp_path / 'tone.wav'}"], num=1)
    assert (np.load(out / "samples.npz")["image"] > 0.999).all()
    command(mode="sample", given=["image=class:7", "audio"], num=4, outdir=str(tmp_path / "b"))
    assert np.load(tmp_path / "b" / "samples.npz")["given"].tolist() == ["audio", "image"]


def test_examples_of_a_class_are_test_items_of_it(workdir):
    from jointdiff.data.sources import handwritten
    from jointdiff.generate import read_given

    model = state.load_run(workdir)
    x = read_given(model, ["image=class:7"], 40, 0)["image"]
    items = handwritten(None, "test")
    sevens = model.modalities["image"].encode(items.raw[items.labels == 7])
    assert all((sevens - row).abs().amax((1, 2, 3)).min() < 0.01 for row in x)


def test_in_turns_by_a_flag(command):
    out = command(mode="sample", order=["text+audio", "image"], num=3)
    about = json.loads((out / "samples.json").read_text())
    assert about["order"] == [["text", "audio"], ["image"]] and about["evaluations"] == 6
    assert set(np.load(out / "samples.npz").files) >= {"image", "text", "audio"}


def test_apart_by_a_flag(command, capsys):
    out = command(mode="sample", order=["text", "audio/image"], steps=[4, 1], num=3)
    assert "3 samples of image, text, audio from nothing: 6 network evaluations, about" in capsys.readouterr().out
    about = json.loads((out / "samples.json").read_text())
    assert about["order"] == [["text"], [["image"], ["audio"]]]
    assert (about["steps"], about["evaluations"]) == ([4, 1], 6)


def test_leaving_a_modality_out(command):
    out = command(mode="sample", given=["text=one"], leave_out=["audio"], num=2)
    arrays = np.load(out / "samples.npz")
    assert "audio" not in arrays and "image" in arrays and not list(out.glob("*.wav"))


def test_an_existing_folder_is_never_written_over(command, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("precious")
    with pytest.raises(SystemExit, match="exists already"):
        command(mode="sample", num=1)
    assert files(tmp_path / "out") == ["mine.txt"]


def test_training_needs_config_and_workdir():
    with flagsaver.flagsaver(workdir=None, mode="train"), pytest.raises(SystemExit, match="needs --config"):
        main.main(["jointdiff"])
    with pytest.raises(SystemExit, match="unexpected argument 'config'"):
        main.main(["jointdiff", "config"])


def test_evaluation_covers_every_direction(command, quick_judges, capsys):
    out = command(mode="evaluate", num=4, seeds=2)
    assert files(out) == ["coherence.json", "coherence.md", "coherence.png"]
    result = json.loads((out / "coherence.json").read_text())
    clean = [r for r in result["rows"] if r["condition"] == "clean"]
    assert len(clean) == 3**3 - 2**3 and len(result["rows"]) == 19 + 6
    roles = {(tuple(r["given"]), tuple(r["generated"]), tuple(r["left_out"])) for r in clean}
    assert len(roles) == 19 and all(sorted(g + a + o) == ["audio", "image", "text"] for g, a, o in roles)
    assert set(result["ceilings"]) == {"image", "text", "audio"} and result["ceilings"]["text"] == 1.0
    assert "| text | audio | clean |" in (out / "coherence.md").read_text()
    assert "±" in capsys.readouterr().out


@pytest.fixture
def report(command, quick_judges):
    return command(mode="evaluate", num=4, seeds=1, condition="clean", report=True) / "report.html"


def test_the_report_is_whole_and_says_what_was_measured(report):
    text = report.read_text()
    for part in ("Samples", "Every direction", "Noise", "Conflict", "Calibration", "Memorisation", "Model card"):
        assert f"<h2>{part}</h2>" in text
    outside = re.sub(r'src="data:[^"]*"', "", text)
    assert "<script" not in text and "src=" not in outside and "href=" not in outside and "url(" not in outside
    assert text.count("<audio") == 4 * 4 and text.count("image → text") == 3  # in noise, its curve, and calibration


@needs_browser
def test_the_report_opens_without_a_network(report, driver):
    driver.get(report.as_uri())
    every = "return [...document.querySelectorAll('{}')].map(e => {})"
    assert min(driver.execute_script(every.format("img", "e.complete ? e.naturalWidth : 0"))) > 0
    sounds = lambda: driver.execute_script(every.format("audio", "e.duration"))
    until = time.monotonic() + 60
    while not all(sounds()) and time.monotonic() < until:
        time.sleep(0.2)
    assert len(sounds()) == 16 and all(abs(s - 0.25) < 0.05 for s in sounds())
    fetched = "return performance.getEntriesByType('resource').map(r => r.name).filter(n => !n.startsWith('data:'))"
    assert driver.execute_script(fetched) == []
    assert driver.execute_script("return document.documentElement.scrollWidth - window.innerWidth") <= 0
    if folder := os.environ.get("SCREENSHOTS"):
        driver.set_window_size(1200, 3000)
        driver.save_screenshot(f"{folder}/report.png")


def test_published_weights_give_the_same_samples(workdir, tmp_path):
    model = state.load_run(workdir)
    state.export(model, tmp_path / "tiny.safetensors")
    again = state.load_weights(tmp_path / "tiny.safetensors")
    assert cfg.differences(model.config, again.config) == []
    a, b = model.sample(num=2), again.sample(num=2)
    assert all(torch.allclose(a[n], b[n], atol=0.05) for n in a)
