"""Every command and every piece of code in the README runs; the first command is also run whole, to its promised end."""

import json
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
import urllib.request

import numpy as np
import PIL.Image
import pytest
import torch
from conftest import ROOT, script

from jointdiff.build import precision

README = (ROOT / "README.md").read_text(encoding="utf-8")
COMMANDS = [line for block in re.findall(r"```bash\n(.*?)```", README, re.S) for line in block.splitlines() if line]
CODE = re.findall(r"```python\n(.*?)```", README, re.S)
SMALL = [
    "--config.train.steps=3", "--config.train.batch=8", "--config.train.evaluate_every=0", "--config.backbone.unet.widths=(8,16)",
    "--config.backbone.unet.heads=2", "--config.backbone.unet.blocks=(1,1)", "--config.backbone.unet.attention=(False,True)",
]  # fmt: skip


def run(command, cwd, **extra):
    env = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", **extra}
    done = subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True)
    assert done.returncode == 0, f"{command}\n{done.stdout[-2000:]}\n{done.stderr[-3000:]}"
    return done.stdout


def jointdiff_commands():
    """The README's own commands, in order, each as a list of words that start with the interpreter."""
    for line in COMMANDS:
        for part in line.split(" && "):
            words = shlex.split(part)
            if words[0] == "jointdiff":
                yield [sys.executable, "-m", "jointdiff.main", *words[1:]]
            elif words[:3] == ["python", "-m", "jointdiff.main"]:
                yield [sys.executable, *words[1:]]
            elif words[0] == "torchrun":
                yield [sys.executable, "-m", "torch.distributed.run", *words[1:]]
            else:
                assert words[0] in ("pip", "pytest"), f"no test knows how to run {part!r}"


def own_data(folder):
    """The README's table, with ten rows."""
    folder.mkdir()
    head, first, second = re.search(r"```\n(photo,.*?)```", README, re.S)[1].splitlines()
    (folder / "pairs.csv").write_text("\n".join([head, *[first, second] * 5, first.replace("train", "test")]) + "\n")
    rng = np.random.default_rng(0)
    for name in ("a.jpg", "b.jpg"):
        PIL.Image.fromarray(rng.integers(0, 255, (24, 32, 3), dtype=np.uint8)).save(folder / name)
    np.save(folder / "a_depth.npy", rng.normal(size=(24, 32)))
    (folder / "digits").mkdir()
    for i in range(3):
        PIL.Image.fromarray(rng.integers(0, 255, (28, 28), dtype=np.uint8)).save(folder / "digits" / f"{i}.png")


def serves(words, cwd):
    """The command prints its address and answers there."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    env = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen([*words, f"--port={port}"], cwd=cwd, env=env, stdout=subprocess.PIPE, text=True)
    try:
        line = next(line for line in process.stdout if "http" in line)
        address = re.search(r"http://127\.0\.0\.1:\d+/", line)[0]
        with urllib.request.urlopen(address, timeout=30) as answer:
            assert b"gradio" in answer.read()
    finally:
        process.terminate()
        process.wait(30)


def test_the_readmes_commands_run_in_their_order(tmp_path):
    """Training is made tiny, and evaluation short; sampling is as written."""
    os.symlink(ROOT / "configs", tmp_path / "configs")
    own_data(tmp_path / "my")
    ran = 0
    for words in jointdiff_commands():
        if any(w.startswith("--config=") for w in words):
            words = [*words, *SMALL]
        elif "--mode=serve" in words:
            serves(words, tmp_path)
            continue
        elif "--mode=evaluate" in words:
            words = [*words, "--num=2", "--seeds=1", "--sampler=ddim", "--steps=2"]
        run(words, tmp_path, JOINTDIFF_DATA=str(tmp_path / "data"))
        ran += 1
    assert ran >= 6
    made = {str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*") if p.is_file()}
    assert "runs/keypad/samples/000/grid.png" in made and "samples/digits/000/samples.npz" in made
    assert any(p.endswith("coherence.md") for p in made)


def test_the_readmes_python_runs(tmp_path):
    out = run([sys.executable, "-c", CODE[0]], tmp_path)
    words = eval(out.splitlines()[0])
    assert len(words) == 4 and all(isinstance(w, str) for w in words) and "tensor" in out
    assert (tmp_path / "sevens" / "grid.png").exists()


def test_the_readmes_own_modality_trains(tmp_path):
    (tmp_path / "mine.py").write_text(CODE[1])
    run([sys.executable, "-m", "jointdiff.main", "--config=mine.py", "--workdir=run", *SMALL], tmp_path)
    check = """import numpy as np, mine
curve, raw = mine.Curve((16, 16)), mine.waves(None, 'test').raw
print(np.abs(curve.decode(curve.encode(raw)) - raw).max())"""
    assert float(run([sys.executable, "-c", check], tmp_path)) < 0.1


@pytest.mark.parametrize("name", ["digits", "keypad"])
def test_the_tables_of_all_directions_are_those_of_the_result_files(name):
    from jointdiff.evaluate.table import markdown

    folder = ROOT / "experiments" / "any_direction"
    assert markdown(json.loads((folder / f"{name}.json").read_text())) == (folder / f"{name}.md").read_text()


def test_the_tables_are_those_of_the_result_files(tmp_path, monkeypatch, capsys):
    """And a figure that somebody typed is found."""
    tables = script("tables")
    monkeypatch.setattr(sys, "argv", ["tables.py", "--check"])
    tables.main()
    assert "all tables" in capsys.readouterr().out
    for page in tables.PAGES:
        (tmp_path / page).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / page, tmp_path / page)
    monkeypatch.setattr(tables, "ROOT", tmp_path)
    for page, name in [(page, name) for page, names in tables.PAGES.items() for name in names]:
        right = (tmp_path / page).read_text(encoding="utf-8")
        at = re.compile(r"\.\d\d").search(right, tables.block(name).search(right).start()).start()
        (tmp_path / page).write_text(right[:at] + ".5x" + right[at + 3 :], encoding="utf-8")
        with pytest.raises(SystemExit, match=f"not what the result files say: {name} in {page};"):
            tables.main()
        with monkeypatch.context() as typed:
            typed.setattr(sys, "argv", ["tables.py"])
            tables.main()
        assert (tmp_path / page).read_text(encoding="utf-8") == right


def test_every_file_the_readme_names_exists():
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        if not target.startswith("http"):
            assert (ROOT / target).exists(), target


@pytest.mark.slow
def test_the_experiment_of_all_directions_runs_quickly(tmp_path):
    config = str(ROOT / "configs" / "keypad.py")
    run([sys.executable, "-m", "jointdiff.main", f"--config={config}", "--workdir=run", *SMALL], tmp_path)
    script = str(ROOT / "experiments" / "any_direction" / "run.py")
    for more in ([], ["--overhead"]):
        run([sys.executable, script, "--quick", "--model=run", "--name=tiny", "--outdir=out", *more], tmp_path,
            JOINTDIFF_DATA=str(tmp_path / "data"))  # fmt: skip
    result = json.loads((tmp_path / "out" / "tiny.json").read_text())
    assert len(result["rows"]) == 25 and result["overhead"][0]["evaluations"] == 35
    assert {p.name for p in (tmp_path / "out").iterdir()} == {
        "tiny.json", "tiny.md", "tiny_coherence.png", "tiny_directions.png"}  # fmt: skip


@pytest.mark.slow
def test_the_first_command_reaches_what_it_promises(tmp_path):
    """The keypad model trained as the README says, and evaluated in all directions; on all cores, or as many as the tests may take.

    Half as long where bfloat16 is only emulated and a step takes nearly three times as long; there a little less is asked
    from nothing.
    """
    os.symlink(ROOT / "configs", tmp_path / "configs")
    env = {
        "JOINTDIFF_DATA": str(tmp_path / "data"),
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", str(os.cpu_count() or 1)),
    }
    commands = list(jointdiff_commands())
    native = precision("auto", torch.device("cpu")) == torch.bfloat16
    run(commands[0] + ([] if native else ["--config.train.steps=1600"]), tmp_path, **env)
    evaluate = [sys.executable, "-m", "jointdiff.main", "--mode=evaluate", "--workdir=runs/keypad", "--outdir=out"]
    run([*evaluate, "--num=150", "--seeds=2", "--condition=clean"], tmp_path, **env)
    result = json.loads((tmp_path / "out" / "coherence.json").read_text())
    for row in result["rows"]:
        for name, figure in row["figures"].items():
            if row["given"] and not row["left_out"] and name != "joint":
                assert figure["mean"] >= 0.92, (row["given"], name, figure)
    nothing = result["rows"][0]
    assert nothing["given"] == [] and nothing["figures"]["joint"]["mean"] >= (0.87 if native else 0.8)
