"""The command line, on a model that is small but real in every part."""

import json
import sys

import numpy as np
import PIL.Image
import pytest
import torch
from absl import flags
from absl.testing import flagsaver
from conftest import ROOT
from scipy.io import wavfile
from test_training import tiny

from jointdiff import config as cfg
from jointdiff import main, state
from jointdiff.training import Trainer

if not flags.FLAGS.is_parsed():
    flags.FLAGS([sys.argv[0]])


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    c = tiny(steps=2)
    c.data.modalities = ("image", "text", "audio")
    c.data.grid = (16, 16)
    c.modality.text = cfg.modality("text", "words", {"cell": (5, 8)})
    c.modality.audio = cfg.modality("audio", "dtmf", {"seconds": 0.25, "fold": (4, 1)}, {"count": 5})
    c.sample.steps = 3
    folder = tmp_path_factory.mktemp("run")
    Trainer(c, folder).run()
    return folder


@pytest.fixture
def command(workdir, tmp_path, monkeypatch):
    monkeypatch.setenv("JOINTDIFF_DATA", str(tmp_path / "data"))

    def run(**given):
        with flagsaver.flagsaver(**{"workdir": str(workdir), "outdir": str(tmp_path / "out"), **given}):
            main.main(["jointdiff"])
        return tmp_path / "out"

    return run


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
    out = command(mode="sample", given=["image"], num=1, sampler=sampler, condition=condition, steps=4)
    summary = json.loads((out / "samples.json").read_text())
    assert (summary["sampler"], summary["condition"], summary["steps"]) == (sampler, condition, 4)


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


def test_leaving_a_modality_out(command):
    out = command(mode="sample", given=["text=one"], leave_out=["audio"], num=2)
    arrays = np.load(out / "samples.npz")
    assert "audio" not in arrays and "image" in arrays and not list(out.glob("*.wav"))


@pytest.mark.parametrize(
    "given,message",
    [
        ({"given": ["word=seven"]}, "unknown modality 'word'; this model has image, text, audio"),
        ({"given": ["text=sevenths"]}, "8 characters; 6 fit"),
        ({"given": ["text=Zürich"]}, "possible are the characters"),
        ({"given": ["image=nowhere.png"]}, "no picture at 'nowhere.png'"),
        ({"given": ["image=setup.py"]}, "not a picture"),
        ({"given": ["audio=setup.py"]}, "not a WAV file"),
        ({"given": ["image=class:12"]}, "expected a class from 0 to 9"),
        ({"given": ["image=class:x"]}, "expected a class from 0 to 9"),
        ({"given": ["text=one", "text=two"]}, "stands twice"),
        ({"given": ["text=one", "image", "audio"]}, "nothing is left to generate"),
        ({"given": ["text=one"], "leave_out": ["text"]}, "both given and left out"),
        ({"leave_out": ["images"]}, "unknown modality 'images'"),
        ({"sampler": "dpm"}, "unknown sampler 'dpm'; there are ddim, dpm_solver"),
        ({"given": ["text=one"], "condition": "gibbs"}, "unknown condition 'gibbs'; there are clean, replace"),
        ({"given": ["text=one"], "grid": "cosine"}, "unknown grid of times 'cosine'; there are karras"),
        ({"given": ["text=one"], "given_noise": ["text=loud"]}, "expected NAME=NUMBER or NAME=auto"),
        ({"given": ["text=one"], "given_noise": ["text=-1"]}, "must be a finite number from 0 on"),
        ({"given": ["text=one"], "given_noise": ["image=0.5"]}, "which is not given"),
        ({"given": ["text=one"], "given_noise": ["text=1"], "condition": "replace"}, "needs the condition 'clean'"),
        ({"given": ["text=one"], "condition": "twisted", "sampler": "heun"}, "has no transition density"),
        ({"num": 0}, "--num=0; expected at least 1"),
        ({"workdir": "nothing_here"}, "no checkpoint in nothing_here"),
        ({"model": "digits"}, "name either --workdir=FOLDER or --model=NAME"),
        ({"workdir": None}, "name either --workdir=FOLDER or --model=NAME"),
        ({"workdir": None, "model": "imagenet"}, "unknown model 'imagenet'"),
    ],
)
def test_bad_flags_say_what_was_wrong_in_one_line_and_write_nothing(command, given, message, tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    before = set(ROOT.iterdir())
    with pytest.raises(SystemExit) as stop:
        command(mode="sample", **given)
    assert message in str(stop.value.code) and "\n" not in str(stop.value.code)
    assert not (tmp_path / "out").exists() and set(ROOT.iterdir()) == before
    assert not [p for p in tmp_path.iterdir() if p.name.startswith(".out")]


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


def test_evaluation_covers_every_direction(command, monkeypatch, capsys):
    monkeypatch.setattr("jointdiff.evaluate.judge.UPDATES", 2)
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


def test_published_weights_give_the_same_samples(workdir, tmp_path):
    model = state.load_run(workdir)
    state.export(model, tmp_path / "tiny.safetensors")
    again = state.load_weights(tmp_path / "tiny.safetensors")
    assert cfg.differences(model.config, again.config) == []
    a, b = model.sample(num=2), again.sample(num=2)
    assert all(torch.allclose(a[n], b[n], atol=0.05) for n in a)
