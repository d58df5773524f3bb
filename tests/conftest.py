import functools
import importlib.util
import os
import pathlib
import shutil
import sys

import pytest
import torch
from absl import flags
from absl.testing import flagsaver

ROOT = pathlib.Path(__file__).parent.parent
needs_browser = pytest.mark.skipif(
    not (shutil.which("chromedriver") or "CI" in os.environ),
    reason="needs a browser: apt-get install chromium chromium-driver",
)
torch.set_num_threads(min(2, torch.get_num_threads()))
if not flags.FLAGS.is_parsed():
    flags.FLAGS([sys.argv[0]])


def pytest_collection_modifyitems(items):
    """What takes minutes comes first, so that with a process a core none of them ends long after the others."""
    items.sort(key=lambda item: (item.get_closest_marker("slow") is None, "first_command" not in item.name))


def script(path):
    """A module made of a script of the experiments, which may import what lies beside all of them."""
    if str(ROOT / "experiments") not in sys.path:
        sys.path.append(str(ROOT / "experiments"))
    spec = importlib.util.spec_from_file_location(path.replace("/", "_"), ROOT / "experiments" / f"{path}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def generator():
    return torch.Generator().manual_seed(0)


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    """A run of a model that is small but real in every part."""
    from test_training import tiny

    from jointdiff import config as cfg
    from jointdiff.trainer import Trainer
    from jointdiff.training import fit

    c = tiny(steps=2)
    c.data.modalities = ("image", "text", "audio")
    c.data.grid = (16, 16)
    c.modality.text = cfg.modality("text", "words", {"cell": (5, 8)})
    c.modality.audio = cfg.modality("audio", "dtmf", {"seconds": 0.25, "fold": (4, 1)}, {"count": 5})
    c.sample.steps = 3
    folder = tmp_path_factory.mktemp("run")
    fit(Trainer(c, folder))
    return folder


@pytest.fixture
def quick_judges(tmp_path, monkeypatch):
    """Judges of the test's own, after two updates."""
    from jointdiff.evaluate import classifiers, judge

    monkeypatch.setattr(judge, "SHIPPED", tmp_path)
    monkeypatch.setitem(judge.TRAINERS, "small", functools.partial(classifiers.train_small, updates=2))


@pytest.fixture
def command(workdir, tmp_path, monkeypatch):
    """Runs main with flags, by default on `workdir` and into `tmp_path / "out"`."""
    monkeypatch.setenv("JOINTDIFF_DATA", str(tmp_path / "data"))

    from jointdiff import main

    def run(**given):
        with flagsaver.flagsaver(**{"workdir": str(workdir), "outdir": str(tmp_path / "out"), **given}):
            main.main(["jointdiff"])
        return tmp_path / "out"

    return run


@pytest.fixture(scope="session")
def driver(tmp_path_factory):
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    profile = tmp_path_factory.mktemp("profile")
    for flag in (
        "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
        "--disable-background-networking", "--disable-component-update", "--disable-dev-shm-usage",
        f"--user-data-dir={profile}",
    ):  # fmt: skip
        options.add_argument(flag)
    downloads = tmp_path_factory.mktemp("downloads")
    options.add_experimental_option("prefs", {"download.default_directory": str(downloads)})
    driver = webdriver.Chrome(options, webdriver.ChromeService(shutil.which("chromedriver")))
    driver.downloads = downloads
    yield driver
    driver.quit()
