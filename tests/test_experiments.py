"""Every experiment's --quick runs, makes its files, and goes on where it was stopped."""

import functools
import json
import os
import runpy
import sys
import types

import PIL.Image
import pytest
import torch
from conftest import ROOT
from test_data import write_backgrounds
from test_readme import SMALL, run

import jointdiff
from jointdiff import build, state
from jointdiff import config as cfg
from jointdiff.evaluate import judge
from jointdiff.evaluate.judge import SHIPPED

FOLDER = ROOT / "experiments"


def quick(name, tmp_path, *more, script="run.py", data=None):
    words = [sys.executable, str(FOLDER / name / script), "--quick", "--outdir=out", *more]
    return run(words, tmp_path, JOINTDIFF_DATA=str(data or tmp_path / "data"))


@pytest.fixture(scope="module")
def tiny_model(tmp_path_factory):
    """A keypad model that was hardly trained."""
    folder = tmp_path_factory.mktemp("tiny")
    os.symlink(ROOT / "configs", folder / "configs")
    run([sys.executable, "-m", "jointdiff.main", "--config=configs/keypad.py", "--workdir=run", *SMALL], folder)
    return folder / "run"


SCENE = ["--config.data.scene.options.source=handwritten", "--config.train.stages=()"]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A data root with a judge of the digits in sums, hardly trained."""
    folder = tmp_path_factory.mktemp("data")
    config = cfg.from_file(ROOT / "configs" / "sums.py")
    config.data.scene.options.source, config.data.root = "handwritten", str(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(judge, "train_judge", functools.partial(judge.train_judge, updates=20))
        judge.build_judge(config, "first", build.modalities(config)["first"])
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("name, options, files", [
    ("sums", [], {"pairs.png", "samples.png"}),
    ("bounce", ["--config.data.scene.options.train=80", "--config.data.scene.options.test=40"], {"films.png", "film.gif"}),
])  # fmt: skip
def test_scenes(name, options, files, tmp_path, data):
    """On the digits that ship with scikit-learn."""
    os.symlink(ROOT / "configs", tmp_path / "configs")
    train = [
        sys.executable,
        "-m",
        "jointdiff.main",
        f"--config=configs/{name}.py",
        "--workdir=run",
        *SMALL,
        *SCENE,
        *options,
    ]
    run(train, tmp_path, JOINTDIFF_DATA=str(data))
    table = quick(name, tmp_path, "--model=run", data=data)
    result = json.loads((tmp_path / "out" / "result.json").read_text())
    assert len(result["questions"]) >= 8 and {p.name for p in (tmp_path / "out").iterdir()} == {
        "result.json",
        "result.md",
        *files,
    }
    if name == "bounce":
        levels = [sys.executable, str(FOLDER / name / "levels.py"), "--model=run", "--num=4", "--outdir=levels"]
        assert run(levels, tmp_path, JOINTDIFF_DATA=str(data)).count("\n") >= 8
    else:
        assert quick(name, tmp_path, "--models", "run", script="reading.py", data=data).count("\n") == 3
        (tmp_path / "out" / "reading.json").unlink(), (tmp_path / "out" / "reading.md").unlink()
    assert quick(name, tmp_path, "--model=run", data=data) == table  # all questions were answered


def test_weights_between_two_networks(tmp_path):
    """Of a network and itself they are its own; halfway to another they are the means."""
    one, other = jointdiff.load("digits"), jointdiff.load("digits")
    with torch.no_grad():
        for p in other.denoiser.network.parameters():
            p.add_(0.25)
    state.export(other, tmp_path / "other.safetensors")
    for second, share, moved in (("digits", 0.3, 0.0), (tmp_path / "other.safetensors", 0.5, 0.125)):
        out = tmp_path / f"{share}.safetensors"
        words = ["--models", "digits", str(second), f"--share={share}", f"--out={out}"]
        run([sys.executable, str(FOLDER / "between.py"), *words], tmp_path)
        between = jointdiff.load(out).denoiser.network.state_dict()
        for name, value in one.denoiser.network.state_dict().items():
            assert torch.allclose(between[name], value + moved, atol=2e-3), name


@pytest.mark.slow
def test_new_modality(tmp_path, tiny_model):
    """For a keypad model, which has these pictures already: twice the same data are two modalities."""
    quick("new_modality", tmp_path, f"--base={tiny_model}", "--workdir=runs")
    result = json.loads((tmp_path / "out" / "result.json").read_text())
    assert set(result["arms"]) == {"5, teacher", "5, nothing", "5, replay"} and len(result["before"]) == 6
    assert all(len(arm["new"]) == 6 and len(arm["old"]) == 6 for arm in result["arms"].values())


@pytest.mark.slow
def test_exactness(tmp_path):
    table = quick("exactness", tmp_path)
    rows = json.loads((tmp_path / "out" / "result.json").read_text())["rows"]
    find = lambda p, n, c, s: next(
        r for r in rows if (r["problem"], r["network"], r["condition"], r["sampler"]) == (p, n, c, s)
    )
    exact = find("gaussian .9", "exact", "clean", "dpm_solver")
    assert exact["kl"] < 0.01 and find("gaussian .9", "exact", "replace", "ddim")["kl"] > 0.05
    assert find("mixture", "exact", "clean", "dpm_solver")["coherence"] > 0.99
    assert {p.name for p in (tmp_path / "out").iterdir()} == {
        "result.json", "result.md", "error_by_cost.png", "what_samples_look_like.png"}  # fmt: skip
    assert quick("exactness", tmp_path) == table  # all rows were there


@pytest.mark.slow
def test_solvers(tmp_path, tiny_model):
    quick("solvers", tmp_path, f"--model={tiny_model}")
    rows = json.loads((tmp_path / "out" / "result.json").read_text())["rows"]
    assert {(r["method"], r["evaluations"]) for r in rows} >= {("DDIM", 4), ("Heun", 7), ("DPM-Solver++ 2M", 8)}
    assert (tmp_path / "out" / "coherence_by_cost.png").exists()


@pytest.mark.slow
def test_few_evaluations(tmp_path, tiny_model):
    table = quick("solvers", tmp_path, f"--model={tiny_model}", script="few.py")
    rows = json.loads((tmp_path / "out" / "few.json").read_text())["rows"]
    assert {(r["grid"], r["steps"]) for r in rows} >= {("usual", 1), ("usual, to 0.5", 2), ("least loss, to 0.5", 2)}
    assert all(len(r["ratios"]) == 1 for r in rows if r["grid"].startswith("least"))
    assert {p.name for p in (tmp_path / "out").iterdir()} == {"few.json", "few.md", "few.png", "few_samples.png"}
    assert quick("solvers", tmp_path, f"--model={tiny_model}", script="few.py") == table  # all rows were there


@pytest.mark.slow
@pytest.mark.parametrize("name, names, files", [
    ("baselines", {"jointdiff", "one time", "score_sde"}, set()),
    ("fusion", {"early", "late", "tokens"}, {"cost.md", "cost.png"}),
    ("mnist_cifar10", {w + more for w in ("the paper's way", "ours") for more in ("", ", rate falling")}, {"samples.png"}),
])  # fmt: skip
def test_contenders(name, names, files, tmp_path):
    table = quick(name, tmp_path, "--workdir=runs")
    result = json.loads((tmp_path / "out" / "result.json").read_text())
    assert {r["contender"] for r in result["rows"]} >= names
    for row in result["rows"]:
        assert len(row["figures"]) == 2 and row["rows"] > 0
        assert len(row["figures"][0]) == (3 if name == "mnist_cifar10" else 10)
        assert row["frechet"].keys() == ({"digit", "picture"} if name == "mnist_cifar10" else {"image", "audio"})
    assert {p.name for p in (tmp_path / "out").iterdir()} == {"result.json", "result.md", "curves.png", *files}
    assert quick(name, tmp_path, "--workdir=runs") == table  # nothing was trained or judged again


@pytest.mark.slow
def test_single_modality(tmp_path):
    table = quick("single_modality", tmp_path, "--workdir=runs", "--seeds=2")
    rows = json.loads((tmp_path / "out" / "result.json").read_text())["rows"]
    assert [r["modality"] for r in rows] == ["image", "image", "text", "text", "audio", "audio"]
    assert all(("bits, given the others" in r["figures"]) == (r["network"] == "company") for r in rows)
    assert quick("single_modality", tmp_path, "--workdir=runs", "--seeds=2") == table  # nothing was left to do


def test_photographs_in_company(tmp_path):
    table = quick("single_modality", tmp_path, "--workdir=runs", "--seeds=2", script="photographs.py")
    rows = json.loads((tmp_path / "out" / "photographs.json").read_text())["rows"]
    assert [r["network"] for r in rows] == ["company", "company, picture weighed", "picture"]
    cells = [line.split(" | ") for line in table.splitlines() if line.startswith("| picture")]
    assert [c[1] for c in cells] == ["alone", "company", "company, picture weighed"]


@pytest.mark.slow
def test_led(tmp_path, tiny_model):
    arguments = ["any_direction", tmp_path, f"--model={tiny_model}", "--led=image"]
    table = quick(*arguments, script="led.py")
    assert {p.name for p in (tmp_path / "out").iterdir()} == {"led.json", "led.md", "led.png"}
    cost = {r["way"]: r["evaluations"] for r in json.loads((tmp_path / "out" / "led.json").read_text())["rows"]}
    assert list(cost.values()) == [2, 4, 4, 4]
    assert quick(*arguments, script="led.py") == table  # nothing was left to do
    (judge,) = SHIPPED.glob("handwritten-*.safetensors")
    assert quick(*arguments, f"--judge={judge}", "--name=other", script="led.py") == table  # it is the same judge
    assert json.loads((tmp_path / "out" / "other.json").read_text())["judge"] == judge.name


@pytest.mark.slow
def test_asked(tmp_path, tiny_model):
    arguments = ["any_direction", tmp_path, f"--model={tiny_model}"]
    table = quick(*arguments, script="asked.py")
    rows = json.loads((tmp_path / "out" / "asked.json").read_text())["rows"]
    assert [(r["given"], r["evaluations"]) for r in rows] == [(n, e) for n in ("image", "audio") for e in (2, 4, 16)]
    assert all(f["all"] <= f["text"] and r["given"] not in f for r in rows for f in r["figures"])
    assert quick(*arguments, script="asked.py") == table  # nothing was left to do


def test_what_is_heard_lowers_the_error_by_what_it_says(tmp_path, tiny_model):
    """Two numbers with a correlation of .8, estimated exactly."""
    from jointdiff.analytic import gaussian
    from jointdiff.layout import Layout
    from jointdiff.sde import VP

    heard = runpy.run_path(str(FOLDER / "any_direction" / "heard.py"))
    count, sde = 20000, VP()
    joint = gaussian(torch.zeros(2), torch.tensor([[1.0, 0.8], [0.8, 1.0]]))
    exact = joint.denoiser(sde)
    estimate = lambda self, x, t: exact(x.double(), t)
    denoiser = type("Exact", (), {"sde": sde, "data_std": torch.ones(2), "__call__": estimate})()
    model = types.SimpleNamespace(layout=Layout({"a": 1, "b": 1}, (1, 1)), denoiser=denoiser)
    draw = lambda seed: (
        joint.sample(count, torch.Generator().manual_seed(seed)).float().view(count, 2, 1, 1).split(1, 1)
    )
    right, wrong = (dict(zip("ab", draw(seed))) for seed in (0, 1))
    for level in (0.5, 2.0):
        found = heard["errors"](model, right, wrong, "a", "b", level, 0)
        posterior = lambda variance, level=level: 1 / (1 / variance + 1 / level**2)
        weight = posterior(0.36) / 0.36 * 0.8  # of what is given, in the estimate
        wanted = {"none": posterior(1), "right": posterior(0.36), "wrong": posterior(0.36) + 2 * weight**2}
        assert found == pytest.approx(wanted, rel=0.05)
    arguments = ["any_direction", tmp_path, f"--model={tiny_model}", "--given=text", "--drawn=image"]
    table = quick(*arguments, script="heard.py")
    assert table.count("\n| ") == 6 and quick(*arguments, script="heard.py") == table  # nothing was left to do


def test_the_linear_estimate_is_that_of_least_squares_and_a_model_is_measured_by_it(tmp_path, tiny_model):
    photographs = runpy.run_path(str(FOLDER / "photographs" / "run.py"))
    generator = torch.Generator().manual_seed(0)
    mixing = torch.randn(4, 4, generator=generator)
    x = (torch.randn(20000, 4, generator=generator) @ mixing + 3).view(-1, 1, 2, 2)
    for noise in (0.3, 2.0):
        y = (x + noise * torch.randn(x.shape, generator=generator)).flatten(1)
        y = torch.cat([y, torch.ones(len(y), 1)], 1)
        best = torch.linalg.lstsq(y, x.flatten(1)).solution
        error = float((y @ best - x.flatten(1)).square().mean())
        assert photographs["linear_error"](photographs["spectrum"](x), noise) == pytest.approx(error, rel=0.03)
    arguments = ["photographs", tmp_path, f"--model={tiny_model}", "--given=text", "--drawn=image"]
    table = quick(*arguments)
    found = json.loads((tmp_path / "out" / "result.json").read_text())["models"][tiny_model.name]
    assert all(k["0.125"]["none"] > 1 for k in found["known"])  # hardly trained: the linear one is better
    assert f"| {tiny_model.name} |" in table and quick(*arguments) == table  # nothing was left to do


@pytest.mark.slow
def test_little_noise_takes_little_of_what_is_shown(tmp_path, tiny_model):
    arguments = ["any_direction", tmp_path, f"--model={tiny_model}", "--given=text", "--drawn=image"]
    table = quick(*arguments, script="kept.py")
    found = json.loads((tmp_path / "out" / "kept.json").read_text())["levels"]
    kept = [sum(f["with"] + f["alone"] for f in figures) / 4 for figures in found.values()]
    far = [sum(f["with, Frechet"] + f["alone, Frechet"] for f in figures) for figures in found.values()]
    assert kept[0] > kept[-1] and far[0] < far[-1]
    assert quick(*arguments, script="kept.py") == table  # nothing was left to do


FOUR = """
import runpy
from jointdiff.config import modality


def get_config():
    c = runpy.run_path("configs/keypad.py")["get_config"]()
    c.modality.digit = c.modality.picture = modality("image", "handwritten")
    c.data.modalities, c.loss.given, c.loss.weight = ("digit", "picture", "text", "audio"), {}, {}
    return c
"""


@pytest.mark.slow
def test_the_first_picture(tmp_path):
    os.symlink(ROOT / "configs", tmp_path / "configs")
    (tmp_path / "four.py").write_text(FOUR)
    run([sys.executable, "-m", "jointdiff.main", "--config=four.py", "--workdir=run", *SMALL], tmp_path)
    quick("any_direction", tmp_path, "--model=run", script="first.py")
    width, height = PIL.Image.open(tmp_path / "out" / "first.png").size
    assert width > 2 * height  # four panels of two rows


@pytest.mark.slow
def test_noisy_text(tmp_path, tiny_model):
    quick("noisy_text", tmp_path, f"--model={tiny_model}")
    rows = json.loads((tmp_path / "out" / "result.json").read_text())["rows"]
    assert {r["method"] for r in rows} == {"clean", "held", "matched", "auto", "replace"} and len(rows) == 25
    assert (tmp_path / "out" / "calibration.png").exists()


@pytest.mark.slow
@pytest.mark.parametrize("name, files", [
    ("conflict", {"winners.png", "gaps.png"}),
    ("memorisation", {"run_closest.png"}),
    ("shared_features", {"depths.png"}),
    ("alignment", {"depths.png", "meeting.png", "graph.png", "graph.graphml"}),
])  # fmt: skip
def test_what_goes_on_in_a_model(name, files, tmp_path, tiny_model):
    table = quick(name, tmp_path, f"--model={tiny_model}")
    assert {p.name for p in (tmp_path / "out").iterdir()} == {"result.json", "result.md", *files}
    assert quick(name, tmp_path, f"--model={tiny_model}") == table  # nothing was left to do


@pytest.mark.slow
def test_missing_sensor(tmp_path):
    quick("missing_sensor", tmp_path)
    result = json.loads((tmp_path / "out" / "result.json").read_text())
    assert len(result["rows"]) == 16 and (tmp_path / "out" / "sensors.png").exists()


@pytest.mark.slow
def test_learning_speed(tmp_path):
    quick("learning_speed", tmp_path, "--workdir=runs")
    rows = json.loads((tmp_path / "out" / "result.json").read_text())["rows"]
    assert len(rows) == 7 and all("picture -> text" in r["figures"] for r in rows)
    assert (tmp_path / "out" / "curves.png").exists()


def small_run(name, change, tmp_path, data=None):
    """A workdir of this config, changed, on the digits that ship with scikit-learn, hardly trained."""
    lines = [
        "from jointdiff.config import from_file",
        "def get_config():",
        f"    c = from_file({str(ROOT / 'configs' / name)!r})",
    ]
    (tmp_path / "small.py").write_text("\n".join([*lines, f"    {change}", "    return c"]))
    train = [sys.executable, "-m", "jointdiff.main", "--config=small.py", "--workdir=run", *SMALL]
    run(train, tmp_path, JOINTDIFF_DATA=str(data or tmp_path / "data"))


@pytest.mark.slow
def test_polymnist(tmp_path):
    """On the digits that ship with scikit-learn, pasted on noise."""
    write_backgrounds(tmp_path / "data")
    small_run("polymnist.py", 'for entry in c.modality.values(): entry.source_options.source = "handwritten"', tmp_path)
    table = quick("polymnist", tmp_path, "--model=run")
    result = json.loads((tmp_path / "out" / "result.json").read_text())
    assert set(result["models"]["run"]["figures"][0]) >= {"4 given", "joint"}
    assert {p.name for p in (tmp_path / "out").iterdir()} == {"result.json", "result.md", "run.png"}
    assert quick("polymnist", tmp_path, "--model=run") == table  # nothing was left to do
    assert "| run, best of 2 | " in quick("polymnist", tmp_path, "--model=run", "--best_of=2")


@pytest.mark.slow
def test_shuffled_pairs(tmp_path):
    table = quick("shared_features", tmp_path, "--workdir=runs", script="shuffled.py")
    rows = json.loads((tmp_path / "out" / "shuffled.json").read_text())["rows"]
    assert {(r["model"], r["noise"]) for r in rows} == {(m, n) for m in ("pairs", "shuffled") for n in (0.0, 1.0)}
    assert {p.name for p in (tmp_path / "out").iterdir()} == {"shuffled.json", "shuffled.md", "shuffled.png"}
    assert quick("shared_features", tmp_path, "--workdir=runs", script="shuffled.py") == table  # nothing was left to do


@pytest.mark.slow
def test_a_cure_for_conflicts(tmp_path, tiny_model):
    arguments = f"--base={tiny_model}", "--workdir=runs"
    table = quick("conflict", tmp_path, *arguments, script="cure.py")
    result = json.loads((tmp_path / "out" / "cure.json").read_text())
    assert result["models"].keys() == {"shipped", "trained on", "mostly independent"}
    assert {p.name for p in (tmp_path / "out").iterdir()} == {"cure.json", "cure.md", "cure.png"}
    assert quick("conflict", tmp_path, *arguments, script="cure.py") == table  # nothing was trained or measured again


@pytest.mark.slow
def test_quadrants(tmp_path):
    """On the digits that ship with scikit-learn, pasted on noise."""
    write_backgrounds(tmp_path / "data", 3, side=70)
    change = 'c.train.stages = (); c.data.scene.options.update(source="handwritten", train=200, test=40)'
    small_run("quadrants.py", change, tmp_path)
    table = quick("quadrants", tmp_path, "--model=run")
    result = json.loads((tmp_path / "out" / "result.json").read_text())
    assert len(result["figures"]) == 2 and all(len(f) == 19 for f in result["figures"])
    ways = ("", ", words first", ", one by one", ", apart")
    counts = {what + way: n for what, n in (("quadrant", 4), ("digit", 10)) for way in ways}
    assert {name: len(count) for name, count in result["left_open"].items()} == counts
    assert {n: len(both) for n, both in result["steps"].items()} == {"2": 2, "3": 2}
    assert {p.name for p in (tmp_path / "out").iterdir()} == {"result.json", "result.md", "samples.png"}
    assert quick("quadrants", tmp_path, "--model=run") == table  # nothing was left to do


@pytest.mark.slow
def test_questions(tmp_path, data):
    """On the digits that ship with scikit-learn."""
    small_run("sums.py:questions", 'c.train.init = ""; c.data.scene.options.source = "handwritten"', tmp_path, data)
    table = quick("sums", tmp_path, "--model=run", script="questions.py", data=data)
    ways = json.loads((tmp_path / "out" / "questions.json").read_text())["ways"]
    assert all(sum(rows for rows, _ in counts.values()) == 24 for way in ways.values() for counts in way)
    assert quick("sums", tmp_path, "--model=run", script="questions.py", data=data) == table  # nothing was left to do


@pytest.mark.slow
def test_judges(tmp_path):
    quick("judges", tmp_path)
    assert all(r["accuracy"] > 0.8 for r in json.loads((tmp_path / "out" / "result.json").read_text()).values())


def test_every_experiment_has_its_page_and_its_results():
    index = (FOLDER / "README.md").read_text()
    for folder in FOLDER.iterdir():
        if folder.is_dir() and folder.name != "__pycache__":
            page = (folder / "README.md").read_text()
            assert f"]({folder.name})" in index and f"experiments/{folder.name}/run.py" in page
            measured = list(folder.glob("*.json")) or "Not measured yet" in page
            assert (folder / "run.py").exists() and measured
