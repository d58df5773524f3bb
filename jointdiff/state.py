"""What is saved and restored: checkpoints of a run, and published weights.

A checkpoint is a dict of plain values and tensors, read with `weights_only=True`, written to a temporary file and moved
into place, so that a file which exists is whole. Published weights are safetensors with the config in their metadata.
"""

import functools
import os
import pathlib
import re
import shutil

import torch

from . import build, processes, sharding
from . import config as cfg
from .files import write_atomically
from .model import Model

VERSION = 1
LARGEST = 1_000_000  # of a number in the config of a file of weights


def checkpoints(workdir: pathlib.Path) -> list[pathlib.Path]:
    """The checkpoints of a run, oldest first."""
    folder = pathlib.Path(workdir) / "checkpoints"
    return sorted(p for p in folder.glob("step_*") if re.fullmatch(r"step_\d{8}(\.pt)?", p.name))


def save_checkpoint(workdir: pathlib.Path, step: int, values: dict, keep: int, divided: bool = False) -> pathlib.Path:
    """Write the checkpoint of a step and delete all but the last `keep`.

    A folder when weights are `divided` among processes: then all of them must call it, and each writes its own part.
    """
    path = pathlib.Path(workdir) / "checkpoints" / f"step_{step:08d}"
    values = {"version": VERSION, "step": step, **values}
    if divided:
        save_divided(path, values)
    else:
        path = path.with_suffix(".pt")
        write_atomically(path, lambda p: torch.save(values, p))
    if processes.rank() == 0:
        for old in checkpoints(workdir)[: -max(keep, 1)]:
            shutil.rmtree(old) if old.is_dir() else old.unlink()
    return path


def save_divided(path: pathlib.Path, values: dict) -> None:
    """A folder that is whole when it has its name."""
    temporary = path.with_name(f".{path.name}")
    if processes.rank() == 0:
        shutil.rmtree(temporary, ignore_errors=True)  # of a run that was killed
    processes.meet()
    sharding.save(values, temporary)
    processes.meet()
    if processes.rank() == 0:
        shutil.rmtree(path, ignore_errors=True)
        temporary.rename(path)
    processes.meet()


def load_checkpoint(workdir: pathlib.Path) -> dict | None:
    """The newest checkpoint of a run on the CPU, or None. A file that cannot be read is an error that names it."""
    found = checkpoints(workdir)
    if not found:
        return None
    try:
        read = (
            sharding.load
            if found[-1].is_dir()
            else functools.partial(torch.load, map_location="cpu", weights_only=True)
        )
        values = read(found[-1])
    except Exception as error:
        raise ValueError(f"{found[-1]} cannot be read ({error}); delete it to go on from the one before") from error
    if values.get("version") != VERSION:
        raise ValueError(f"{found[-1]} has format {values.get('version')}, this program writes {VERSION}")
    return values


def model_from(config, data_mean, data_std, weights: dict, rows: int, device=None, precision: str = "auto") -> Model:
    """A model with these weights of its network, which saw so many rows; on the GPU when there is one and no device is named."""
    device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    modalities = build.modalities(config)
    layout = build.layout(config, modalities)
    denoiser = build.denoiser(config, layout, data_mean, data_std, build.precision(precision, device))
    denoiser.network.load_state_dict(weights)
    return Model(config, denoiser.to(device), modalities, rows)


def load_run(workdir: pathlib.Path, device=None, precision: str = "auto") -> Model:
    """The model of a run with its averaged weights."""
    values = load_checkpoint(workdir)
    if values is None:
        folder = pathlib.Path(workdir) / "checkpoints"
        raise ValueError(f"no checkpoint in {folder}; train with --workdir={workdir} first")
    config = cfg.complete(cfg.from_json(values["config"]))
    rows = values.get("before", 0) + values["step"] * config.train.batch
    return model_from(config, values["data_mean"], values["data_std"], values["ema"], rows, device, precision)


def export(model: Model, path: pathlib.Path) -> None:
    """Weights in half precision and the config, as one safetensors file."""
    from safetensors.torch import save_file

    tensors = {
        f"network.{n}": p.detach().half().contiguous().cpu() for n, p in model.denoiser.network.state_dict().items()
    }
    config = cfg.changed(
        model.config, {"data.root": "", "data.manifest": "", "train.init": ""}
    )  # of the machine it was trained on
    tensors["data_mean"], tensors["data_std"] = model.denoiser.data_mean.cpu(), model.denoiser.data_std.cpu()
    about = {"config": cfg.to_json(config), "rows": str(model.rows)}
    write_atomically(pathlib.Path(path), lambda p: save_file(tensors, p, metadata=about))
    os.chmod(path, 0o644)  # safetensors keeps it from others


def checked(about: dict | None, shapes: dict[str, tuple]):
    """The config in a file's metadata; ValueError, before any memory is taken, when the file cannot be what it says.

    The network that the config describes is built without memory, and must have the tensors of these shapes.
    """
    config = cfg.complete(cfg.from_json((about or {})["config"]))
    if config.data.root or config.data.manifest:
        raise ValueError("its config names a folder of data; a file of weights has none")
    parts = {
        "data.grid": config.data.grid,
        "backbone": config.backbone.to_dict(),
        "modality": config.modality.to_dict(),
    }
    for name, value in cfg.flat(parts).items():
        for number in value if isinstance(value, tuple | list) else (value,):
            if isinstance(number, int | float) and not abs(number) <= LARGEST:
                raise ValueError(f"its config has {name} = {number}; at most {LARGEST} is plausible")
    if config.data.grid[0] * config.data.grid[1] > LARGEST or sum(config.backbone.unet.blocks) > len(shapes):
        raise ValueError("its grid or its number of blocks is not plausible for the tensors that it holds")
    layout = build.layout(config, build.modalities(config))
    with torch.device("meta"):
        network = build.denoiser(config, layout).network
    wanted = {f"network.{n}": tuple(v.shape) for n, v in network.state_dict().items()}
    wanted |= dict.fromkeys(("data_mean", "data_std"), (len(layout.names),))
    odd = next((n for n in (*wanted, *shapes) if wanted.get(n) != shapes.get(n)), None)
    if odd:
        raise ValueError(f"{odd} is {shapes.get(odd)}, its config wants {wanted.get(odd)}")
    return config


def load_weights(path: pathlib.Path, device=None, precision: str = "auto") -> Model:
    """The model of a file that `export` wrote."""
    from safetensors import SafetensorError, safe_open

    if not pathlib.Path(path).is_file():
        raise ValueError(f"no weights at {path}")
    try:
        with safe_open(path, framework="pt") as file:
            shapes = {n: tuple(file.get_slice(n).get_shape()) for n in file.keys()}  # noqa: SIM118
            config = checked(file.metadata(), shapes)
            rows = int(file.metadata().get("rows", config.train.batch * config.train.steps))
            tensors = {n: file.get_tensor(n) for n in shapes}
    except (SafetensorError, TypeError, KeyError, AttributeError, ValueError) as error:
        raise ValueError(f"{path} holds no weights of this package: {error}") from None
    weights = {n.removeprefix("network."): t.float() for n, t in tensors.items() if n.startswith("network.")}
    return model_from(config, tensors["data_mean"], tensors["data_std"], weights, rows, device, precision)


def shipped() -> dict[str, pathlib.Path]:
    """The weights that come with the package, by name."""
    return {p.stem: p for p in sorted((pathlib.Path(__file__).parent / "models").glob("*.safetensors"))}
