"""Models by name, also from the Hugging Face hub: weights, config and card in a repository (extra `hub`)."""

import functools
import os
import pathlib
import re

from . import build, state
from .model import Model

FILE = "jointdiff.safetensors"
HEAD = "---\nlibrary_name: jointdiff\ntags: [diffusion, multimodal]\n---\n\n"  # what the hub reads of a card


def load(name: str | os.PathLike, device=None, precision: str = "auto") -> Model:
    """A model by the name of shipped weights, a run's workdir, the path of a safetensors file, or a hub id "USER/NAME".

    A folder that has the name of shipped weights is meant by a path: "./digits".
    precision: "fp32", "bf16", or "auto", which is bf16 where the hardware is fast at it.
    """
    path, shipped = pathlib.Path(name), state.shipped()
    if name in shipped:
        return state.load_weights(shipped[name], device, precision)
    if path.is_dir():
        whole = path / FILE
        return (
            state.load_weights(whole, device, precision) if whole.is_file() else state.load_run(path, device, precision)
        )
    if path.suffix == ".safetensors":
        return state.load_weights(path, device, precision)
    if re.fullmatch(r"[\w-][\w.-]*/[\w-][\w.-]*", str(name)):
        hub = mixin()
        try:
            return hub.from_pretrained(str(name), device=device, precision=precision).model
        except Exception as error:  # of many kinds: offline, no such repository, no such file, no access
            reason = str(error).strip().splitlines()[0]
            raise ValueError(
                f"{name!r} is no shipped model, workdir or file, and the hub gave none: {reason}"
            ) from None
    return state.load_weights(build.lookup(shipped, str(name), "model"), device, precision)


def push_to_hub(model: Model, name: str, results: str = "", **how) -> str:
    """Put a model on the hub as "USER/NAME", with its card; `results` are the card's figures, and `how` goes to
    `huggingface_hub.ModelHubMixin.push_to_hub`. Returns its URL."""
    return mixin()(model, model.card(name, results)).push_to_hub(name, **how)


def save_pretrained(model: Model, folder: str | os.PathLike, results: str = "") -> pathlib.Path:
    """What `push_to_hub` uploads, as a folder, which `load` reads as well."""
    folder = pathlib.Path(folder)
    mixin()(model, model.card(folder.name, results)).save_pretrained(folder)
    return folder


@functools.cache
def mixin():
    """A `Model` as `huggingface_hub.ModelHubMixin` wants it; ValueError when the package is missing."""
    try:
        from huggingface_hub import ModelHubMixin, hf_hub_download
    except ImportError:
        raise ValueError("the hub needs huggingface_hub; type: pip install 'jointdiff[hub]'") from None

    class HubModel(ModelHubMixin, library_name="jointdiff"):
        def __init__(self, model=None, card=""):
            self.model, self.card = model, card

        def _save_pretrained(self, save_directory):
            state.export(self.model, pathlib.Path(save_directory) / FILE)
            (pathlib.Path(save_directory) / "README.md").write_text(HEAD + self.card)

        @classmethod
        def _from_pretrained(cls, *, model_id, device=None, precision="auto", **how):
            known = ("revision", "cache_dir", "force_download", "local_files_only", "token")
            path = hf_hub_download(model_id, FILE, **{k: how[k] for k in known if k in how})
            return cls(state.load_weights(pathlib.Path(path), device, precision))

    return HubModel
