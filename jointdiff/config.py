"""Every setting with its default, and `build`, which turns a config into objects.

A file in `configs/` calls `default()` and changes what differs. Components are chosen by `name`; their arguments stand
beside it under that name, so `--config.backbone.name=mlp` finds the arguments of the MLP ready.
"""

import importlib.util
import json
import os
import pathlib
from typing import Any

import torch
from ml_collections import ConfigDict

from .backbones import BACKBONES
from .condition import CONDITIONS
from .data import SOURCES, Manifest, Pairs, Table, encode_source
from .denoiser import Denoiser
from .layout import Layout
from .loss import TimePatterns
from .modalities import MODALITIES
from .samplers import GRIDS, SAMPLERS
from .sde import SDES


def default() -> ConfigDict:
    """The defaults. Every field that exists is here, except the modalities, which a config adds."""
    c = ConfigDict()
    c.seed = 0

    c.data = ConfigDict()
    c.data.root = ""  # where data sets lie or are downloaded to; $JOINTDIFF_DATA or ~/.cache/jointdiff when empty
    c.data.manifest = ""  # a table of your own data (see jointdiff.data.manifest) instead of sources
    c.data.on_error = "stop"  # at rows of it that cannot be read: stop, or skip them
    c.data.grid = (32, 32)  # height and width that all modalities share; (0, 0): as a manifest's files are
    # names, in the order of the channels, all of a manifest's when empty; ('image','text') on the command line
    c.data.modalities = ()
    c.modality = ConfigDict()  # one entry a name, made by `modality(...)`

    c.sde = ConfigDict()
    c.sde.name = "vp"  # vp, subvp, ve
    c.sde.vp = ConfigDict({"beta_min": 0.1, "beta_max": 20.0})
    c.sde.subvp = ConfigDict({"beta_min": 0.1, "beta_max": 20.0})
    c.sde.ve = ConfigDict({"sigma_min": 0.01, "sigma_max": 50.0})

    c.backbone = ConfigDict()
    c.backbone.name = "unet"  # unet, mlp
    c.backbone.unet = ConfigDict()
    c.backbone.unet.widths = (64, 128, 192)  # channels of each level; each halves the grid
    c.backbone.unet.blocks = (1, 2, 2)  # residual blocks of each level, down and up
    c.backbone.unet.attention = (False, False, True)  # which levels end in self-attention
    c.backbone.unet.patch = 2  # the first level works at 1/patch of the resolution
    c.backbone.unet.heads = 4
    c.backbone.unet.dropout = 0.0
    c.backbone.mlp = ConfigDict({"width": 128, "depth": 3})

    c.loss = ConfigDict()
    # how often each pattern of times is drawn (see jointdiff.loss); joint = 1 alone is the joint-diffusion paper
    c.loss.pattern = ConfigDict({"joint": 0.3, "conditional": 0.45, "independent": 0.1, "absent": 0.15})
    # mean and standard deviation of log(noise / signal); what is decided at high noise, the class, needs many of them
    c.loss.log_ratio = ConfigDict()
    c.loss.log_ratio.joint = (1.1, 1.6)
    c.loss.log_ratio.conditional = (1.1, 1.6)
    c.loss.log_ratio.independent = (1.1, 1.6)
    c.loss.log_ratio.absent = (1.1, 1.6)

    # which modality it is that is given alone, by name, 1 when not named: more of those that are hard to read; in
    # `conditional` then as many are given alone as in twos, threes ...; all subsets are drawn as often when empty
    c.loss.alone = ConfigDict()
    c.loss.weight = ConfigDict()  # of a modality's loss by its name, for modalities that are harder; 1 when not named

    c.loss.align = ConfigDict()  # see jointdiff.align
    c.loss.align.modality = ""  # whose judge teaches the network's lowest level; none when empty
    c.loss.align.weight = 0.5
    c.loss.align.below = 2.0  # noise-to-signal ratio, in the modality's own units, up to which it does

    c.optim = ConfigDict()
    c.optim.name = "muon"  # muon (matrices inside the network; AdamW for the rest) or adamw
    c.optim.lr = 1e-3  # AdamW
    c.optim.matrix_lr = 3e-3  # Muon, in AdamW's scale
    c.optim.weight_decay = 0.01
    c.optim.warmup = 200  # steps
    c.optim.decay = 0.5  # the last part of the run in which the rate falls to 0
    c.optim.clip = 1.0  # largest norm of the gradient; 0 turns clipping off

    c.train = ConfigDict()
    c.train.steps = 20000
    # weights to start from: a workdir, a safetensors file or the name of shipped ones; new when empty
    c.train.init = ""
    c.train.batch = 64  # rows a step, over all processes and accumulated parts
    c.train.accumulate = 1  # parts that a batch is split into, to save memory
    c.train.precision = "auto"  # auto, fp32, bf16
    c.train.ema = 0.9995  # decay of the averaged weights, after a warm-up
    c.train.log_every = 50
    c.train.checkpoint_every = 1000
    c.train.keep = 3  # checkpoints kept
    c.train.evaluate_every = 2000  # coherence of every direction on the held-out set, and samples; 0: never
    c.train.evaluate_num = 64

    c.sample = ConfigDict()
    c.sample.condition = "clean"  # clean, replace, langevin, repaint, guide, pigdm, tweedie, twisted
    # what is given with noise: "drawn" without it first, then given; "held" at the time whose noise it has
    c.sample.given_noise = "drawn"
    c.sample.guidance = 0.0  # how far beyond the estimate, away from one that knows less; 0 turns it off
    c.sample.guidance_between = (0.0, 1.0)  # times at which it acts
    # ancestral steps correct the network's errors on the way: at equal cost far more coherent than the ODE's solvers
    c.sample.sampler = "ddim"  # dpm_solver, heun, stochastic_heun, euler_maruyama, predictor_corrector, adaptive
    c.sample.steps = 18
    c.sample.grid = ""  # of times: karras, log_snr, uniform; the sampler's own when empty
    c.sample.ddim = ConfigDict({"eta": 1.0})  # 0: deterministic, 1: ancestral
    c.sample.dpm_solver = ConfigDict()
    c.sample.heun = ConfigDict()
    c.sample.stochastic_heun = ConfigDict({"churn": 0.4, "between": (0.05, 50.0), "excess": 1.0})
    c.sample.euler_maruyama = ConfigDict()
    c.sample.predictor_corrector = ConfigDict({"snr": 0.16, "corrections": 1})
    c.sample.adaptive = ConfigDict({"rtol": 1e-3, "atol": 1e-3})
    c.sample.clean = ConfigDict()
    c.sample.replace = ConfigDict()
    c.sample.langevin = ConfigDict({"snr": 0.5, "corrections": 1})
    c.sample.repaint = ConfigDict({"jump": 1, "times": 10})
    c.sample.guide = ConfigDict({"weight": 2.0})
    c.sample.pigdm = ConfigDict()
    c.sample.tweedie = ConfigDict({"iterations": 8, "tolerance": 1e-4})
    c.sample.twisted = ConfigDict({"particles": 16, "resample_below": 0.5})
    return c


def modality(
    kind: str,
    source: str,
    options: dict | None = None,
    source_options: dict | None = None,
    scale: float = 1.0,
    mirror: bool = False,
) -> ConfigDict:
    """A modality's entry: its `kind` with the arguments of its class, its data's `source` with those of the function.

    Its channels are multiplied by `scale` inside the joint tensor (see jointdiff.layout); with `mirror`, training sees half
    of its items mirrored.
    """
    return ConfigDict(
        {
            "kind": kind,
            "source": source,
            "options": options or {},
            "source_options": source_options or {},
            "scale": scale,
            "mirror": mirror,
        }
    )


def lookup(table: dict[str, Any], name: str, what: str):
    """`table[name]`; ValueError that lists the choices."""
    if name not in table:
        raise ValueError(f"unknown {what} {name!r}; there are {', '.join(table)}")
    return table[name]


def resolve(config, show=print) -> ConfigDict:
    """The config with what a manifest's files propose for the fields that are open: modalities, their kinds, the grid."""
    if not config.data.get("manifest"):
        return config
    config = ConfigDict(config.to_dict())
    manifest = Manifest.open(config.data.manifest)
    grid, proposed = manifest.propose(tuple(config.data.grid) if any(config.data.grid) else None)
    config.data.grid = grid
    config.data.modalities = tuple(config.data.modalities) or tuple(proposed)
    show(f"{config.data.manifest}: {len(manifest.lines)} rows on a grid of {grid[0]} x {grid[1]}")
    for name in config.data.modalities:
        if name not in config.modality:
            if name not in proposed:
                raise ValueError(f"{config.data.manifest} has no column {name!r}; it has {', '.join(proposed)}")
            kind, options = proposed[name]
            config.modality[name] = modality(kind, "manifest", options)
        entry = config.modality[name]
        there = sum(cell is not None for cell in manifest.cells[name])
        options = ", ".join(f"{k} {v}" for k, v in entry.options.items())
        show(f"  {name}: {entry.kind}{f' ({options})' if options else ''}, in {there} rows")
    return config


def names(config) -> tuple[str, ...]:
    """The modalities' names, checked."""
    wanted = tuple(config.data.modalities)
    for name in wanted:
        if name not in config.modality:
            hint = " (write --config.data.modalities=\"('image','text')\")" if "," in name else ""
            raise ValueError(f"unknown modality {name!r}; this config has {', '.join(config.modality)}{hint}")
    if not wanted:
        raise ValueError("config.data.modalities is empty; name at least one modality")
    return wanted


def build_modalities(config) -> dict[str, Any]:
    """`{name: modality}` in order."""
    out = {}
    for name in names(config):
        entry = config.modality[name]
        cls = lookup(MODALITIES, entry.kind, f"kind of modality {name!r}")
        out[name] = cls(tuple(config.data.grid), **plain(entry.options))
    return out


def build_layout(config, modalities: dict[str, Any]) -> Layout:
    scale = {n: config.modality[n].scale for n in modalities}
    return Layout({n: m.channels for n, m in modalities.items()}, tuple(config.data.grid), scale)


def build_denoiser(config, layout: Layout, data_mean=None, data_std=None, dtype=torch.float32) -> Denoiser:
    """A new denoiser with weights drawn from `config.seed`."""
    sde = build_sde(config)
    name = config.backbone.name
    cls = lookup(BACKBONES, name, "backbone")
    extra = {"grid": layout.grid} if name == "mlp" else {}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        network = cls(layout.shape[0], len(layout.names), **extra, **plain(config.backbone[name]))
    return Denoiser(network, sde, layout, data_mean, data_std, dtype)


def build_sde(config):
    cls = lookup(SDES, config.sde.name, "SDE")
    return cls(**plain(config.sde[config.sde.name]))


def build_sampler(config, sde, name: str | None = None):
    name = name or config.sample.sampler
    cls = lookup(SAMPLERS, name, "sampler")
    return cls(sde, **plain(config.sample[name]))


def build_grid(config, sampler, steps: int, name: str | None = None) -> torch.Tensor:
    """The times of `steps` steps."""
    name = name or config.sample.grid
    grid = lookup(GRIDS, name, "grid of times") if name else sampler.grid
    return grid(sampler.sde, steps)


def build_condition(config, denoiser: Denoiser, y, mask, name: str | None = None, **more):
    name = name or config.sample.condition
    cls = lookup(CONDITIONS, name, "condition")
    if name in ("pigdm", "twisted"):
        more["data_std"] = denoiser.moments()[1]
    return cls(denoiser.sde, y, mask, **plain(config.sample[name]), **more)


def build_weights(config) -> torch.Tensor:
    """The weight of every modality's loss, `(M,)`, with a mean of 1."""
    return by_name(config, "weight")


def by_name(config, field: str) -> torch.Tensor:
    """The weights `config.loss[field]` of all modalities, `(M,)`, with a mean of 1."""
    known, given = names(config), config.loss[field]
    for name in given:
        if name not in config.modality:
            raise ValueError(f"config.loss.{field} names {name!r}; this config has {', '.join(config.modality)}")
    weights = torch.tensor([float(given.get(n, 1.0)) for n in known])
    if (weights < 0).any() or weights.sum() <= 0:
        raise ValueError(f"config.loss.{field} must be non-negative and not all 0, got {weights.tolist()}")
    return weights / weights.mean()


def build_patterns(config) -> TimePatterns:
    alone = by_name(config, "alone") if config.loss.alone else None
    return TimePatterns(plain(config.loss.pattern), plain(config.loss.log_ratio), alone)


def precision(wanted: str, device: torch.device) -> torch.dtype:
    """`auto` is bfloat16 where the hardware multiplies it natively, float32 elsewhere."""
    if wanted == "auto":
        if device.type == "cuda":
            fast = torch.cuda.is_bf16_supported(including_emulation=False)
        else:
            abilities = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
            fast = abilities.get("avx512_bf16", False) or abilities.get("amx_bf16", False)
        return torch.bfloat16 if fast else torch.float32
    return lookup({"fp32": torch.float32, "bf16": torch.bfloat16}, wanted, "precision")


def data_root(config) -> pathlib.Path:
    return pathlib.Path(config.data.root or os.environ.get("JOINTDIFF_DATA") or "~/.cache/jointdiff").expanduser()


def build_items(config, split: str, name: str):
    """One modality's raw items of a split, "train" or "test"."""
    entry = config.modality[name]
    source = lookup(SOURCES, entry.source, f"data source of {name!r}")
    return source(data_root(config), split, **plain(entry.source_options))


def build_pairs(config, modalities: dict[str, Any], split: str, show=print) -> Pairs | Table:
    """The rows of a split, encoded."""
    if config.data.manifest:
        table = Manifest.open(config.data.manifest).table(modalities, split, config.seed, config.data.on_error, show)
        table.mirrored = mirrored(config, modalities, split)
        return table
    values, labels = {}, {}
    for name, kind in modalities.items():
        items = build_items(config, split, name)
        values[name], labels[name] = encode_source(kind, items), items.labels
    return Pairs(values, labels, config.seed, mirrored(config, modalities, split))


def mirrored(config, modalities, split: str) -> tuple[str, ...]:
    """The modalities of which training sees mirrored items."""
    return tuple(n for n in modalities if config.modality[n].mirror and split == "train")


def plain(config) -> dict:
    """A ConfigDict as a dict, with tuples for lists (JSON has no tuples)."""
    return {k: tuple(v) if isinstance(v, list) else v for k, v in config.to_dict().items()}


def to_json(config) -> str:
    return json.dumps(config.to_dict(), indent=1)


def from_json(text: str) -> ConfigDict:
    """The config that `to_json` wrote; lists become tuples."""
    return ConfigDict(_tuples(json.loads(text)))


def from_file(path) -> ConfigDict:
    """The config that a file's `get_config()` makes."""
    path = pathlib.Path(path)
    if not path.is_file():
        raise ValueError(f"no config file at {path}")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.get_config()


def changed(config, fields: dict[str, Any]) -> ConfigDict:
    """A copy with fields set by their dotted names; ValueError for one that does not exist."""
    config = ConfigDict(config.to_dict())
    for name, value in fields.items():
        *path, last = name.split(".")
        open_ended = path[:1] == ["modality"] or path in (["loss", "weight"], ["loss", "alone"])
        if path[:1] == ["modality"] and len(path) > 1 and path[1] not in config.modality:
            config.modality[path[1]] = modality("", "")
        at = config
        for part in path:
            at = at.get(part) if isinstance(at, ConfigDict) else None
        if not isinstance(at, ConfigDict) or last not in at and not open_ended:
            raise ValueError(f"unknown field {name!r} of the config; all fields are in jointdiff/config.py")
        at[last] = value
    return config


def complete(config) -> ConfigDict:
    """A saved config with today's defaults for the fields that it lacks."""
    out = default()
    out.update(config)
    for name, entry in out.modality.items():
        whole = modality("", "")
        whole.update(entry)
        out.modality[name] = whole
    return out


def _tuples(value):
    if isinstance(value, dict):
        return {k: _tuples(v) for k, v in value.items()}
    return tuple(_tuples(v) for v in value) if isinstance(value, list) else value


def differences(a, b, prefix: str = "") -> list[str]:
    """The fields in which two configs differ, as `name: a -> b`."""
    a, b = (c.to_dict() if isinstance(c, ConfigDict) else c for c in (a, b))
    out = []
    for key in sorted(set(a) | set(b)):
        x, y = a.get(key, "(none)"), b.get(key, "(none)")
        if isinstance(x, dict) and isinstance(y, dict):
            out += differences(x, y, f"{prefix}{key}.")
        elif _tuples(x) != _tuples(y):
            out.append(f"{prefix}{key}: {x!r} -> {y!r}")
    return out
