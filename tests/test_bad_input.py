"""Every bad input that users were thought to try: each has one clear error, loses nothing and leaves nothing half-written."""

import resource
import types

import numpy as np
import PIL.Image
import pytest
import torch
from absl.testing import flagsaver
from conftest import ROOT
from scipy.io import wavfile
from test_manifest import folder, own

from jointdiff import build, main, state
from jointdiff import config as cfg
from jointdiff.modalities import Array
from jointdiff.page import session
from jointdiff.trainer import Trainer

FLAGS = [
    ({"given": ["word=seven"]}, "unknown modality 'word'; this model has image, text, audio"),
    ({"given": ["text=sevenths"]}, "8 characters; 6 fit"),
    ({"given": ["text=Zürich"]}, "possible are the characters"),
    ({"given": ["text="]}, "the text is empty; to draw without it, leave it out"),
    ({"given": ["image=nowhere.png"]}, "no picture at 'nowhere.png'"),
    ({"given": ["image=setup.py"]}, "not a picture"),
    ({"given": ["audio=setup.py"]}, "not a WAV file"),
    ({"given": ["image=class:12"]}, "expected a class from 0 to 9"),
    ({"given": ["image=class:x"]}, "expected a class from 0 to 9"),
    ({"given": ["text=one", "text=two"]}, "stands twice"),
    ({"given": ["text=one", "image", "audio"]}, "nothing is left to generate"),
    ({"given": ["text=one"], "leave_out": ["text"]}, "both given and left out"),
    ({"leave_out": ["images"]}, "unknown modality 'images'"),
    ({"steps": [4, 2]}, "steps = [4, 2]: one number a turn needs an order"),
    ({"order": ["text"], "steps": [4, 2, 2]}, "3 numbers of steps for 2 turns; expected one, or one each"),
    ({"sampler": "dpm"}, "unknown sampler 'dpm'; there are ddim, dpm_solver"),
    ({"given": ["text=one"], "condition": "gibbs"}, "unknown condition 'gibbs'; there are clean, replace"),
    ({"given": ["text=one"], "grid": "cosine"}, "unknown grid of times 'cosine'; there are karras"),
    ({"given": ["text=one"], "grid": "1,2"}, "a grid of noise-to-signal ratios decreases, between 152 and"),
    ({"given": ["text=one"], "grid": "2,1", "steps": [9]}, "9 steps, but a grid of 3: the beginning and 2 ratios"),
    ({"given": ["text=one"], "given_noise": ["text=loud"]}, "expected NAME=NUMBER or NAME=auto"),
    ({"given": ["text=one"], "given_noise": ["text=-1"]}, "must be a finite number from 0 on"),
    ({"given": ["text=one"], "given_noise": ["image=0.5"]}, "which is not given"),
    ({"given": ["text=one"], "given_noise": ["text=1"], "condition": "replace"}, "needs the condition 'clean'"),
    ({"given": ["text=one"], "condition": "twisted", "sampler": "heun"}, "has no transition density"),
    ({"num": 0}, "--num=0; expected at least 1"),
    ({"order": ["text", "text"]}, "'text' stands twice in the order"),
    ({"order": ["word"]}, "unknown modality 'word'"),
    ({"order": ["text"], "given": ["text=one"]}, "'text' stands in the order, and is given or left out"),
    ({"order": ["image"], "given": ["text=one"], "given_noise": ["text=1"]}, "an order needs clean conditions"),
    ({"workdir": "nothing_here"}, "no checkpoint in nothing_here"),
    ({"model": "digits"}, "name either --workdir=FOLDER or --model=NAME"),
    ({"workdir": None}, "name either --workdir=FOLDER or --model=NAME"),
    ({"workdir": None, "model": "imagenet"}, "unknown model 'imagenet'"),
]

BAD_ROWS = [
    ("0.png", lambda p: (p / "0.png").unlink(), "line 2, photo: no picture at"),
    ("0.png", lambda p: (p / "0.png").write_bytes(b"not a picture"), "line 2, photo: .* is not a picture"),
    (
        "0.png",
        lambda p: (p / "0.png").write_bytes((p / "0.png").read_bytes()[:60]),
        "line 2, photo: .* is not a picture",
    ),
    ("0.png", lambda p: (p / "0.png").write_bytes(b""), "line 2, photo: .* is not a picture"),
    ("b3.npy", lambda p: (p / "b3.npy").unlink(), "line 5, bands: no array at"),
    ("b3.npy", lambda p: (p / "b3.npy").write_bytes(b"\x93NUMPY"), "line 5, bands"),
    ("b3.npy", lambda p: np.save(p / "b3.npy", np.zeros((3, 12, 8))), r"line 5, bands: an array is \(2, h, w\)"),
    ("b3.npy", lambda p: np.save(p / "b3.npy", np.full((2, 12, 8), np.nan)), "line 5, bands: .*not finite"),
    ("b3.npy", lambda p: np.save(p / "b3.npy", np.array(["a"])), "line 5, bands"),
    ("b3.npy", lambda p: np.save(p / "b3.npy", np.array([{}], dtype=object)), "line 5, bands"),
    ("4.wav", lambda p: (p / "4.wav").unlink(), "line 6, sound: no sound at"),
    ("4.wav", lambda p: (p / "4.wav").write_bytes(b"RIFF"), "line 6, sound: .* is not a WAV file"),
    ("4.wav", lambda p: (p / "4.wav").write_bytes(b""), "line 6, sound"),
]


TABLES = [
    ("t.csv", None, "no manifest at"),
    ("t.csv", "", "has no rows with values"),
    ("t.csv", "a,b\n", "has no rows with values"),
    ("t.csv", "a,b\n,\n,\n", "has no rows with values"),
    ("t.csv", "label,split\n1,train\n", "has no rows with values"),
    ("t.csv", "a,a\none,two\n", "empty or repeated names"),
    ("t.csv", "a,\none,two\n", "empty or repeated names"),
    ("t.csv", "a,b\none\n", "line 2: 1 cells; the header has 2"),
    ("t.csv", "a,b\none,two,three\n", "line 2: 3 cells; the header has 2"),
    ("t.csv", 'a,b\none,"two\n', "line 2"),
    ("t.csv", b"\xff\xfe\x00a", "cannot be read"),
    ("t.csv", "a,split\none,val\n", "line 2: split is 'val'; expected train or test"),
    ("t.csv", "a,b\nx.png,y.png\n", "no cell of the column 'a' can be read; the first is 'x.png' in line 2"),
    ("t.csv", "a,split\none,test\n", "has no row for the train split"),
    ("t.csv", "a,b,split\none,,train\ntwo,two,test\n", "the column 'b' .* is empty in all rows of the train split"),
    ("t.csv", f"a,b\n{'x' * 500},y\n", "the texts of the column 'a' do not fit"),
    ("t.jsonl", "{", "line 1: no JSON"),
    ("t.jsonl", "[1]\n", "line 1: expected an object, got list"),
    ("t.jsonl", '{"a": "x"}\n{"a": \n', "line 2: no JSON"),
    ("t.jsonl", "", "has no rows with values"),
    ("t.jsonl", '{"a": [[1, 2], [3]], "b": "x"}', "no cell of the column 'a'"),
    ("t.jsonl", '{"a": [[1, null]], "b": "x"}', "no cell of the column 'a'"),
    ("t.jsonl", '{"a": [[]], "b": "x"}', "no cell of the column 'a'"),
]

FIELDS = [
    ({"data.modalities": ("words",)}, "has no column 'words'; it has photo, depth"),
    ({"data.on_error": "ignore"}, "expected stop or skip"),
    ({"data.nothing": 1}, "unknown field 'data.nothing'"),
    ({"steps": 1}, "unknown field 'steps'"),
    ({"train.steps.more": 1}, "unknown field 'train.steps.more'"),
    ({"modality.word.options.cell": (2, 2)}, "too small for letters"),
    ({"modality.bands.options.low": (1e9, 1e9)}, "must be below high"),
]

WAVE = np.sin(np.arange(1000) / 3).astype(np.float32)
VALUES = [
    ("image", 3, "expected the path of a picture"),
    ("image", None, "expected the path of a picture"),
    ("image", b"bytes", "expected the path of a picture"),
    ("image", "", "not a picture|no picture"),
    ("image", ".", "not a picture"),
    ("image", np.zeros((8, 8)), "uint8"),
    ("image", np.zeros(8, np.uint8), "uint8"),
    ("image", np.zeros((8, 8, 2), np.uint8), "uint8"),
    ("image", np.zeros((2, 8, 8, 3), np.uint8), "uint8"),
    ("image", torch.zeros(1, 2, 8, 8), "float channels"),
    ("image", torch.zeros(1, 1, 16, 16, dtype=torch.int64), "float channels"),
    ("image", torch.full((1, 16, 16), torch.nan), "not finite"),
    ("image", [], "is empty"),
    ("audio", WAVE, "a waveform with its rate"),
    ("audio", 7, "a waveform with its rate"),
    ("audio", (WAVE, 0), "a rate of 0 Hz"),
    ("audio", (WAVE, -8000), "a rate of -8000 Hz"),
    ("audio", (WAVE[:0], 8000), "expected .n,. or .n, k. samples"),
    ("audio", (WAVE.reshape(10, 10, 10), 8000), "expected .n,. or .n, k. samples"),
    ("audio", (np.full(10, np.nan), 8000), "not finite"),
    ("audio", (np.zeros(80000), 8000), "lasts 10.00 s; 0.25 s fit"),
    ("text", 7, "expected a text"),
    ("text", "one ", "ends in a space"),
    ("text", "\n", "possible are the characters"),
    ("text", "\U0001f600", "possible are the characters"),
    ("speech", WAVE, "unknown modality 'speech'; this model has image, text, audio"),
]

ARRAYS = [
    (lambda p: p / "two.npz", "holds 2 arrays"),
    (lambda p: p / "none.npy", "no array at"),
    (lambda p: p / "pickled.npy", "cannot be read"),
    (lambda p: np.zeros((2, 4, 6)), r"an array is \(1, h, w\)"),
    (lambda p: np.zeros(4), r"an array is \(1, h, w\)"),
    (lambda p: np.array([["a"]]), "numbers"),
    (lambda p: 3, "expected the path of an array"),
]

DRAWN = PIL.Image.new("RGB", (64, 64), "black")
PAGE = [
    ("image", None, "draw something as image"),
    ("image", {"background": None, "layers": [], "composite": None}, "draw something as image"),
    ("image", {"composite": DRAWN}, "draw something as image"),
    ("text", "", "type something as text"),
    ("text", None, "type something as text"),
    ("text", "wörd", "possible are the characters"),
    ("text", "sevenths", "8 characters; 6 fit"),
    ("audio", None, "record a sound as audio"),
    ("audio", np.zeros(800, np.int16), "is silent"),
    ("audio", np.zeros(0, np.int16), "is silent"),
    ("audio", (30000 * np.sin(np.arange(80000))).astype(np.int16), "lasts 10.00 s; 0.25 s fit"),
    ("audio", "no sound", "is not a WAV file"),
]


CONFIG = [
    (
        "train.step=5",
        "unknown field 'train.step' of the config; did you mean 'train.steps'? There are accumulate, batch",
    ),
    ("backbon.name=mlp", "did you mean 'backbone.name'?"),
    ("nonsense=3", "unknown field 'nonsense' of the config. There are backbone, data"),
    ("sample.ddim.etta=1", "did you mean 'sample.ddim.eta'?"),
]


@pytest.mark.parametrize("field,message", CONFIG)
def test_fields_that_are_misspelt_are_one_line_with_the_nearest(field, message):
    with pytest.raises(SystemExit) as stop:
        main.parse(["jointdiff", f"--config={ROOT}/configs/keypad.py", f"--config.{field}"])
    assert message in str(stop.value.code) and "\n" not in str(stop.value.code)


@pytest.mark.parametrize(
    "field,value",
    [("loss.weight.audio", "2.5"), ("loss.given.image", "3.0"), ("modality.image.source_options.variants", "2")],
)
def test_fields_that_a_config_does_not_have_yet_are_set(field, value, monkeypatch):
    monkeypatch.setattr("sys.argv", ["jointdiff"])
    with flagsaver.flagsaver():
        main.parse(["jointdiff", f"--config={ROOT}/configs/keypad.py", f"--config.{field}={value}"])
        assert str(cfg.flat(main.FLAGS.config.to_dict())[field]) == value


def damaged(name, value):
    return lambda about, tensors: about.update(
        config=cfg.to_json(cfg.changed(cfg.from_json(about["config"]), {name: value}))
    )


STRANGERS = [
    (lambda about, tensors: about.clear(), "holds no weights of this package"),
    (lambda about, tensors: about.update(config="{"), "holds no weights of this package"),
    (damaged("modality.image.kind", "hologram"), "unknown kind of modality 'image' 'hologram'"),
    (damaged("backbone.name", "gan"), "unknown backbone 'gan'"),
    (damaged("backbone.unet.widths", (10**9, 10**9)), "at most 1000000 is plausible"),
    (damaged("backbone.unet.widths", (90000, 90000)), "its config wants"),
    (damaged("backbone.unet.blocks", (1, 10**6)), "is not plausible for the tensors"),
    (damaged("data.grid", (900000, 900000)), "is not plausible for the tensors"),
    (damaged("data.root", "/etc"), "names a folder of data"),
    (damaged("data.manifest", "secret.csv"), "names a folder of data"),
    (lambda about, tensors: tensors.pop("data_std"), "data_std is None"),
    (lambda about, tensors: tensors.update({"network.more": torch.zeros(2)}), "network.more is"),
]


@pytest.mark.parametrize("damage,message", STRANGERS)
def test_weights_from_strangers_are_refused_before_memory_is_taken(model, damage, message, tmp_path):
    from safetensors import safe_open
    from safetensors.torch import save_file

    state.export(model, tmp_path / "good.safetensors")
    with safe_open(tmp_path / "good.safetensors", framework="pt") as file:
        about, tensors = file.metadata(), {n: file.get_tensor(n) for n in file.keys()}  # noqa: SIM118
    damage(about, tensors)
    save_file(tensors, tmp_path / "bad.safetensors", metadata=about)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ValueError, match="bad.safetensors holds no weights") as stop:
        state.load_weights(tmp_path / "bad.safetensors")
    assert message in str(stop.value) and "\n" not in str(stop.value)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # KB


@pytest.mark.parametrize("cell", ["../secret.png", "/etc/secret.png", "a/../../secret.npy"])
def test_a_manifest_stays_in_its_folder(tmp_path, cell):
    (tmp_path / "t.csv").write_text(f"photo,word\n{cell},one\n")
    with pytest.raises(ValueError, match="line 2, photo: .* outside of the manifest's folder.*data.outside=true"):
        Trainer(own(tmp_path / "t.csv"), tmp_path / "run")
    with pytest.raises(ValueError, match="no cell of the column 'photo' can be read"):
        Trainer(own(tmp_path / "t.csv", **{"data.outside": True}), tmp_path / "run")


def test_a_hundred_were_tried():
    assert len(FLAGS) + len(BAD_ROWS) + len(TABLES) + len(FIELDS) + len(VALUES) + len(ARRAYS) + len(PAGE) >= 100


@pytest.mark.parametrize("given,message", FLAGS)
def test_bad_flags_say_what_was_wrong_in_one_line_and_write_nothing(command, given, message, tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    before = set(ROOT.iterdir())
    with pytest.raises(SystemExit) as stop:
        command(mode="sample", **given)
    assert message in str(stop.value.code) and "\n" not in str(stop.value.code)
    assert not (tmp_path / "out").exists() and set(ROOT.iterdir()) == before
    assert not [p for p in tmp_path.iterdir() if p.name.startswith(".out")]


@pytest.mark.parametrize("name,damage,message", BAD_ROWS, ids=lambda v: v if isinstance(v, str) else "")
def test_rows_that_cannot_be_read_are_named_or_skipped(name, damage, message, tmp_path):
    manifest = folder(tmp_path)
    damage(tmp_path)
    with pytest.raises(ValueError, match=message) as stop:
        Trainer(own(manifest), tmp_path / "run")
    assert "1 of 20 rows" in str(stop.value) and "on_error=skip" in str(stop.value)
    assert not (tmp_path / "run").exists()
    said = []
    c = build.resolve(own(manifest, **{"data.on_error": "skip"}), said.append)
    assert len(build.data(c, build.modalities(c), "train", said.append)) == 15
    assert any("1 of 20 rows" in line for line in said)


@pytest.mark.parametrize("file,text,message", TABLES)
def test_tables_that_are_none(file, text, message, tmp_path):
    if text is not None:
        (tmp_path / file).write_bytes(text if isinstance(text, bytes) else text.encode())
    before = set(tmp_path.iterdir())
    with pytest.raises(ValueError, match=message):
        Trainer(own(tmp_path / file), tmp_path / "run")
    assert set(tmp_path.iterdir()) == before


@pytest.mark.parametrize("fields,message", FIELDS)
def test_fields_that_do_not_fit(fields, message, tmp_path):
    manifest = folder(tmp_path)
    with pytest.raises(ValueError, match=message):
        c = build.resolve(own(manifest, **{k: v for k, v in fields.items() if not k.startswith("modality")}), print)
        Trainer(cfg.changed(c, {k: v for k, v in fields.items() if k.startswith("modality")}), tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.fixture(scope="module")
def model(workdir):
    return state.load_run(workdir)


@pytest.mark.parametrize("name,value,message", VALUES, ids=lambda v: v if isinstance(v, str) else "")
def test_values_that_are_none(model, name, value, message):
    with pytest.raises(ValueError, match=message):
        model.sample({name: value})


@pytest.mark.parametrize("value,message", ARRAYS)
def test_arrays_that_are_none(value, message, tmp_path):
    np.savez(tmp_path / "two.npz", np.zeros((4, 6)), np.zeros((4, 6)))
    np.save(tmp_path / "pickled.npy", np.array([{}], dtype=object))
    with pytest.raises(ValueError, match=message):
        Array((4, 6)).read(value(tmp_path))


@pytest.mark.parametrize("raw", [np.zeros((2, 4, 6)), np.zeros((1, 3, 4, 6)), np.full((1, 2, 4, 6), np.inf)])
def test_batches_of_arrays_that_are_none(raw):
    with pytest.raises(ValueError, match="array"):
        Array((4, 6), 2).encode(raw)


@pytest.mark.parametrize("name,value,message", PAGE)
def test_what_a_page_sends_that_is_none(model, name, value, message, tmp_path):
    if name == "audio" and value is not None:
        path = tmp_path / "sound.wav"
        path.write_text(value) if isinstance(value, str) else wavfile.write(path, 8000, value)
        value = str(path)
    with pytest.raises(ValueError, match=message):
        session.read_value(model, name, value)


@pytest.mark.parametrize("num,steps", [(0, 3), (9, 3), (1, 0), (1, 201)])
def test_the_limits_of_the_page(num, steps):
    with pytest.raises(ValueError, match="this page"):
        session.draw(types.SimpleNamespace(), {}, {}, (), num, 0, {"steps": steps})
