"""Runs that are stopped and go on, and several processes that train, sample and evaluate as one."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from conftest import ROOT
from test_training import equal

from jointdiff import state
from jointdiff.evaluate.judge import build_judges

CONFIG = ROOT / "tests" / "tiny_config.py"
COMMAND = [sys.executable, "-m", "jointdiff.main", f"--config={CONFIG}"]
ENV = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")])}


def wait_for(condition, seconds=300):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "took too long"
        time.sleep(0.05)


LONG = [*COMMAND, "--config.train.steps=150", "--config.train.checkpoint_every=20"]


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    subprocess.run([*LONG, f"--workdir={folder}"], env=ENV, cwd=folder, check=True, capture_output=True)
    return state.load_checkpoint(folder)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_stopped_run_goes_on_and_ends_the_same(number, tmp_path, uninterrupted):
    """Interrupted, terminated or killed in the middle: the same command again ends with the same weights."""
    command = [*LONG, f"--workdir={tmp_path}"]
    process = subprocess.Popen(command, env=ENV, cwd=tmp_path, stderr=subprocess.PIPE)
    wait_for(lambda: len(state.checkpoints(tmp_path)) >= 2)
    process.send_signal(number)
    code = process.wait(60)
    stderr = process.stderr.read().decode()
    at = state.load_checkpoint(tmp_path)["step"]
    assert 40 <= at < 150, stderr
    if number != signal.SIGKILL:
        assert code == 0 and f"stopped at step {at}" in stderr
    subprocess.run(command, env=ENV, cwd=tmp_path, check=True, capture_output=True)
    assert equal(state.load_checkpoint(tmp_path), uninterrupted)


TWO = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", "-m", "jointdiff.main"]
ONE = [sys.executable, "-m", "jointdiff.main"]


@pytest.mark.parametrize("more", [[], ["--config.loss.align.modality=image", "--config.loss.align.rows=6"]])
def test_two_processes_train_as_one(tmp_path, more):
    extra = [f"--config={CONFIG}", "--config.train.steps=6", "--config.backbone.unet.dropout=0.0", *more]
    for command, name in ((TWO, "two"), (ONE, "one")):
        words = [*command, f"--workdir={tmp_path / name}", *extra]
        subprocess.run(words, env=ENV, cwd=tmp_path, check=True, capture_output=True, timeout=900)
    one, two = (state.load_checkpoint(tmp_path / n) for n in ("one", "two"))
    assert one["step"] == two["step"] == 6
    for name, value in one["network"].items():
        assert torch.allclose(value, two["network"][name], atol=2e-4), name


def test_divided_weights_train_as_whole_ones_and_their_checkpoints_are_each_others(tmp_path):
    """Two processes with a part of the weights each, then one with all of them, then two again: as one all along."""
    common = [f"--config={CONFIG}", "--config.backbone.unet.dropout=0.0", "--config.train.evaluate_every=0"]
    common += ["--config.loss.align.modality=image", "--config.loss.align.rows=4"]
    common += ["--config.train.checkpoint_every=2", "--config.train.steps=6", "--config.train.keep=9"]

    def run(command, folder, *more):
        words = [*command, f"--workdir={folder}", *common, *more]
        return subprocess.run(words, env=ENV, cwd=tmp_path, check=True, capture_output=True, timeout=900)

    one, two = tmp_path / "one", tmp_path / "two"
    run(ONE, one)
    run(TWO, two, "--config.train.shard=full")
    assert [p.name for p in state.checkpoints(two)] == ["step_00000002", "step_00000004", "step_00000006"]
    whole, parts = state.load_checkpoint(one), state.load_checkpoint(two)
    assert whole.keys() == parts.keys() and parts["step"] == 6
    for field in ("network", "ema"):
        for name, value in whole[field].items():
            assert torch.allclose(value, parts[field][name], atol=2e-4), name
    a, b = whole["optimizers"][1]["state"], parts["optimizers"][1]["state"]
    assert a.keys() == b.keys() and all(a[k]["momentum_buffer"].shape == b[k]["momentum_buffer"].shape for k in a)
    for last, command, more in ((4, ONE, []), (2, TWO, ["--config.train.shard=full"])):  # from the other's checkpoint
        source = {4: two, 2: one}[last]
        for path in state.checkpoints(source):
            if int(path.stem.split("_")[1]) > last:
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        assert f"going on from step {last}" in run(command, source, *more).stderr.decode()
        again = state.load_checkpoint(source)
        assert again["step"] == 6
        for name, value in whole["network"].items():
            assert torch.allclose(value, again["network"][name], atol=2e-4), name


def test_two_machines_train_as_one(tmp_path):
    """Two agents that find each other, each with a process of its own, as the README starts them on two machines."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        place = f"127.0.0.1:{free.getsockname()[1]}"
    extra = [f"--config={CONFIG}", "--config.train.steps=4", "--config.backbone.unet.dropout=0.0"]
    agents = []
    for node in range(2):
        words = [*TWO[:3], "--nnodes=2", f"--node_rank={node}", "--nproc_per_node=1", "--rdzv_backend=c10d"]
        words += [f"--rdzv_endpoint={place}", *TWO[5:], f"--workdir={tmp_path / 'two'}", *extra]
        agents.append(subprocess.Popen(words, env=ENV, cwd=tmp_path, stderr=subprocess.PIPE))
    said = [agent.communicate(timeout=900)[1].decode() for agent in agents]
    assert [agent.returncode for agent in agents] == [0, 0], said
    subprocess.run(
        [*ONE, f"--workdir={tmp_path / 'one'}", *extra], env=ENV, cwd=tmp_path, check=True, capture_output=True
    )
    one, two = (state.load_checkpoint(tmp_path / n) for n in ("one", "two"))
    for name, value in one["network"].items():
        assert torch.allclose(value, two["network"][name], atol=2e-4), name


def test_two_processes_sample_and_evaluate_as_one(workdir, tmp_path, quick_judges, monkeypatch):
    """Every array of the samples, and every figure, is the same to the bit; what they say is said once."""
    monkeypatch.setenv("JOINTDIFF_DATA", str(tmp_path / "data"))
    model = state.load_run(workdir)
    build_judges(model.config, model.modalities)  # the processes find them
    env = {**ENV, "JOINTDIFF_DATA": str(tmp_path / "data"), "OMP_NUM_THREADS": "1"}
    sampled, said = {}, {}
    for command, name in ((ONE, "one"), (TWO, "two")):
        common = [*command, f"--workdir={workdir}", "--steps=3"]
        drawn = [*common, "--mode=sample", "--count=7", "--batch=2", "--given=text=two", f"--outdir={tmp_path / name}"]
        done = subprocess.run(drawn, env=env, cwd=tmp_path, check=True, capture_output=True, timeout=900)
        said[name] = done.stdout.decode().count("network evaluations")
        sampled[name] = np.load(tmp_path / name / "samples.npz")
        evaluated = [
            *common,
            "--mode=evaluate",
            "--count=5",
            "--batch=2",
            "--seeds=1",
            "--report",
            f"--outdir={tmp_path / name}-table",
        ]
        subprocess.run(evaluated, env=env, cwd=tmp_path, check=True, capture_output=True, timeout=900)
    assert said == {"one": 1, "two": 1}
    assert sampled["one"].files == sampled["two"].files
    assert all(np.array_equal(sampled["one"][n], sampled["two"][n]) for n in sampled["one"].files)
    one, two = ((tmp_path / f"{n}-table" / "coherence.json").read_text() for n in ("one", "two"))
    assert one == two
    pages = [(tmp_path / f"{n}-table" / "report.html").read_text() for n in ("one", "two")]
    noise = [page[page.index("<h2>Noise") : page.index("<h2>Memorisation")] for page in pages]
    assert noise[0] == noise[1]  # with calibration and conflict; what samples cost in seconds differs
