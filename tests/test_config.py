import functools
import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from conftest import ROOT
from test_data import write_backgrounds, write_speech

from jointdiff import build
from jointdiff import config as cfg
from jointdiff.data import SOURCES, Items
from jointdiff.evaluate import classifiers, judge
from jointdiff.trainer import Trainer
from jointdiff.training import fit

CONFIGS = sorted((ROOT / "configs").glob("*.py"))


@pytest.fixture
def fake_data(monkeypatch, tmp_path):
    """Random pictures in place of downloads; the rest is real."""

    def pictures(shape):
        rng = np.random.default_rng(0)
        return lambda root, split: Items(rng.integers(0, 256, (40, *shape), dtype=np.uint8), np.arange(40) % 10)

    for name, shape in (("mnist", (28, 28)), ("fashion_mnist", (28, 28)), ("cifar10", (32, 32, 3))):
        monkeypatch.setitem(SOURCES, name, pictures(shape))
    write_speech(tmp_path)
    write_backgrounds(tmp_path, side=64)
    monkeypatch.setitem(judge.TRAINERS, "small", functools.partial(classifiers.train_small, updates=2))
    monkeypatch.setenv("JOINTDIFF_DATA", str(tmp_path))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda p: p.stem)
def test_every_config_builds_and_trains_two_steps(path, fake_data, tmp_path):
    c = cfg.from_file(path)
    if path.name == "own.py":
        (tmp_path / "own.csv").write_text("text,number\n" + "".join(f"{w},{w}\n" for w in ("one", "two")) * 8)
        c.data.manifest = str(tmp_path / "own.csv")
    assert path.read_text().startswith('"""'), "a config begins with its command, time and expected result"
    assert f"--config=configs/{path.name}" in path.read_text()
    for name in c.modality:
        if "variants" in c.modality[name].source_options:
            c.modality[name].source_options.variants = 1
    if c.data.scene.name in ("bounce", "quadrants"):
        c.data.scene.options.update({"train": 64, "test": 16})
    c.train.update({"steps": 2, "batch": 8, "evaluate_every": 0})
    trainer = Trainer(c, tmp_path / "run")
    before = {n: p.detach().clone() for n, p in trainer.denoiser.network.named_parameters()}
    fit(trainer)
    moved = [n for n, p in trainer.denoiser.network.named_parameters() if not torch.equal(p, before[n])]
    assert trainer.step == 2 and len(moved) > 0.9 * len(before)


def test_configs_survive_json_and_name_their_differences():
    c = cfg.from_file(CONFIGS[0])
    assert cfg.differences(c, cfg.from_json(cfg.to_json(c))) == []
    other = cfg.from_json(cfg.to_json(c))
    other.sde.name = "ve"
    other.data.grid = (8, 8)
    assert [line.split(":")[0] for line in cfg.differences(c, other)] == ["data.grid", "sde.name"]


def test_a_config_from_before_a_field_existed_gets_its_default():
    c = cfg.from_file(ROOT / "configs" / "keypad.py")
    old = c.to_dict()
    del old["data"]["manifest"], old["sample"]["tweedie"], old["train"]["init"]
    whole = cfg.complete(cfg.from_json(json.dumps(old)))
    assert cfg.differences(whole, c) == []


def test_unknown_choices_list_what_there_is():
    c = cfg.from_file(ROOT / "configs" / "keypad.py")
    for field, name in (("sde", "vp, subvp, ve"), ("backbone", "unet, tokens, late, mlp")):
        wrong = c.copy_and_resolve_references()
        wrong[field].name = "nothing"
        layout = build.layout(wrong, build.modalities(wrong))
        with pytest.raises(ValueError, match=name):
            build.denoiser(wrong, layout)
    with pytest.raises(ValueError, match="clean, replace"):
        build.condition(c, None, None, None, "nothing")
    with pytest.raises(ValueError, match="ddim, dpm_solver"):
        build.sampler(c, None, "nothing")
    c.data.modalities = ("image,text",)
    with pytest.raises(ValueError, match=r"unknown modality 'image,text'.*\('image','text'\)"):
        build.modalities(c)
    c.data.modalities = ()
    with pytest.raises(ValueError, match="empty"):
        build.modalities(c)


def test_a_misspelt_argument_of_a_component_is_an_error():
    c = cfg.from_file(ROOT / "configs" / "keypad.py")
    c.modality.audio.options = {"secnds": 1.0}
    with pytest.raises(TypeError, match="secnds"):
        build.modalities(c)


def test_the_layout_follows_the_names_not_the_alphabet():
    c = cfg.from_file(ROOT / "configs" / "digits.py")
    c.data.modalities = ("text", "image")
    layout = build.layout(c, build.modalities(c))
    assert layout.names == ("text", "image")


def test_importing_the_package_is_light():
    """No data library, no plotting, no tensorboard before they are needed."""
    heavy = ("torch", "torchvision", "sklearn", "matplotlib", "tensorboard")
    code = f"import sys, jointdiff.main; print([m for m in {heavy} if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert out.stdout.strip() == "[]"


def test_a_variant_of_a_file_is_named_as_on_the_command_line():
    path = ROOT / "configs" / "mnist_cifar10.py"
    assert cfg.from_file(path).loss.pattern.joint == cfg.from_file(f"{path}:paper").loss.pattern.joint == 1.0
    assert cfg.from_file(f"{path}:ours").loss.pattern.joint < 1
    with pytest.raises(ValueError, match="unknown way 'theirs'"):
        cfg.from_file(f"{path}:theirs")
    with pytest.raises(ValueError, match="no config file at .*none.py"):
        cfg.from_file("none.py:ours")
    sums = ROOT / "configs" / "sums.py"
    stages = {"questions": 1, "reading": 2, "all": 2, "draw": 1}
    assert {name: len(cfg.staged(cfg.from_file(f"{sums}:{name}"))) for name in stages} == stages
    words = {"": (0.12, 0.06), ":beside": (0.23, 0.14)}  # rows in which both are clean, and a view beside them
    for variant, shares in words.items():
        c = cfg.staged(cfg.from_file(f"{ROOT / 'configs' / 'quadrants.py'}{variant}"))[-1]
        times = build.patterns(c, build.layout(c, build.modalities(c))).draw(
            50_000, 5, torch.Generator().manual_seed(0)
        )
        clean = (times.ratio == 0) & ~times.absent
        both = clean[:, 3] & clean[:, 4]
        found = float(both.float().mean()), float((both & clean[:, :3].any(1)).float().mean())
        assert found == pytest.approx(shares, abs=0.006), variant
    reading = cfg.staged(cfg.from_file(f"{ROOT / 'configs' / 'joint.py'}:reading"))
    assert len(reading) == 1 and [n for n, w in reading[0].loss.given.items() if w] == ["picture", "text"]
    noisy = cfg.from_file(f"{ROOT / 'configs' / 'joint.py'}:noisy")
    assert noisy.data.missing and noisy.sample.reading.to_dict() == {"picture": 25.0}
    assert [c.modality.first.moved for c in cfg.staged(cfg.from_file(f"{sums}:reading"))] == [0, 2]
