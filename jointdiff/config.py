"""Every setting with its default, and configs as data: read, written, changed, compared.

A file in `configs/` calls `default()` and changes what differs. Components are chosen by `name`; their arguments stand
beside it under that name, so `--config.backbone.name=mlp` finds the arguments of the MLP ready. `jointdiff.build` makes
objects of them.
"""

import difflib
import importlib.util
import json
import pathlib
from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict


def default() -> ConfigDict:
    """The defaults. Every field that exists is here, except the modalities, which a config adds."""
    c = ConfigDict()
    c.seed = 0

    c.data = ConfigDict()
    c.data.root = ""  # where data sets lie or are downloaded to; $JOINTDIFF_DATA or ~/.cache/jointdiff when empty
    c.data.manifest = ""  # a table of your own data (see jointdiff.data.manifest) instead of sources
    c.data.outside = False  # whether its paths may lead out of its folder
    # rows made together (see jointdiff.data.scenes), whose parts are the modalities' sources; pairs by class when not named
    c.data.scene = ConfigDict({"name": "", "options": ConfigDict()})
    c.data.per_class = 0  # items of a class that training sees of each modality; 0: all of them
    c.data.shuffled = False  # training's partners are of any class: the control in which nothing belongs together
    c.data.missing = 0.0  # share of the modalities that training's rows are made to lack, never all of a row
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
    c.backbone.name = "unet"  # unet: all channels in one; late: one a modality, that meet; tokens: a transformer; mlp
    c.backbone.blank = False  # what is absent is shown to it as zeros, not as noise: what is there is found sooner
    c.backbone.unet = ConfigDict()
    c.backbone.unet.widths = (64, 128, 192)  # channels of each level; each halves the grid
    c.backbone.unet.blocks = (1, 2, 2)  # residual blocks of each level, down and up
    c.backbone.unet.attention = (False, False, True)  # which levels end in self-attention
    c.backbone.unet.patch = 2  # the first level works at 1/patch of the resolution
    c.backbone.unet.heads = 4
    c.backbone.unet.dropout = 0.0
    c.backbone.unet.frame_width = (
        0  # channels of every frame of a film, by weights that all share; 0: frames are channels
    )
    c.backbone.unet.frame_level = 1  # the level on which frames meet the rest
    c.backbone.tokens = ConfigDict({"width": 192, "depth": 6, "heads": 4, "patch": 4, "dropout": 0.0})
    c.backbone.late = ConfigDict({"widths": (32, 64, 96), "blocks": (1, 1, 1), "meeting": (False, True, True)})
    c.backbone.late.update({"patch": 2, "heads": 4, "dropout": 0.0})
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

    # in `conditional`: how often each set is what is given, of those of its size, by names as "image" or "image+audio", 1 when not
    # named; k are then given as often as 1 / k. More of those that are hard to read. All sets are as often when empty
    c.loss.given = ConfigDict()
    c.loss.known_parts = 0.4  # of the rows: of a modality made of parts, such as a film of frames, some are clean
    c.loss.weight = ConfigDict()  # of a modality's loss by its name, for modalities that are harder; 1 when not named

    c.loss.align = ConfigDict()  # see jointdiff.align
    # whose teacher teaches the network's lowest level, or teachers: "first+second"; none when empty
    c.loss.align.modality = ""
    # judge, which has learned classes; towers, small networks that have learned without classes what belongs together
    c.loss.align.teacher = "judge"
    c.loss.align.weight = 4.0
    c.loss.align.below = 2.0  # noise-to-signal ratio, in the modality's own units, up to which it does
    # items a step beside the batch that are only looked at, each of these modalities alone, half of them without noise: to see
    # takes many, and to look costs half of what a whole row does
    c.loss.align.rows = 0

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
    c.train.minutes = 0.0  # for all of training: `steps` becomes what there is time for; 0: they stay as they are
    # weights to start from: a workdir, a safetensors file or the name of shipped ones; new when empty
    c.train.init = ""
    # of a run that starts from other weights: which share of the rows the model there draws itself, of how many drawn once, and
    # whether its network teaches the new one in them, at every noise level (see jointdiff.grow)
    c.train.replay = ConfigDict({"share": 0.0, "rows": 2000, "teacher": True})
    # further runs after this one, each a dict of the fields that differ from the one before, by their dotted names; each
    # starts from the averaged weights of the one before
    c.train.stages = ()
    c.train.batch = 64  # rows a step, over all processes and accumulated parts
    c.train.accumulate = 1  # parts that a batch is split into, to save memory
    c.train.precision = "auto"  # auto, fp32, bf16
    # on several processes: "full" divides weights, their averages and the optimizers' state among them (FSDP2)
    c.train.shard = ""
    c.train.recompute = False  # blocks keep no activations and run again for the gradient: less memory, more time
    c.train.compile = False  # torch.compile of the network
    # processes that prepare batches ahead, for a GPU that would wait for them; 0: none
    c.train.workers = 0
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
    # by the name of what is drawn: how strongly it moves to where the network reads in it what is given; not at all when not named
    c.sample.reading = ConfigDict()
    # by the same name: by up to how many pixels it is moved to be read, another way at every step
    c.sample.reading_shift = ConfigDict()
    c.sample.guidance_between = (0.0, 1.0)  # times at which both act
    # ancestral steps correct the network's errors on the way: at equal cost far more coherent than the ODE's solvers
    c.sample.sampler = "ddim"  # dpm_solver, heun, stochastic_heun, euler_maruyama, predictor_corrector, adaptive
    c.sample.steps = 18
    c.sample.grid = ""  # of times: karras, log_snr, uniform; the sampler's own when empty
    # the noise-to-signal ratio at which it ends, and the estimate is what is drawn; more for networks that leave some noise
    c.sample.lowest = 0.002
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
    moved: int = 0,
) -> ConfigDict:
    """A modality's entry: its `kind` with the arguments of its class, its data's `source` with those of the function.

    Its channels are multiplied by `scale` inside the joint tensor (see jointdiff.layout); with `mirror`, training sees half
    of its items mirrored; with `moved`, what it is given clean of this modality is moved by up to that many pixels each way, so
    that what it reads there does not depend on the place, and what it draws stays where it is.
    """
    return ConfigDict(
        {
            "kind": kind,
            "source": source,
            "options": options or {},
            "source_options": source_options or {},
            "scale": scale,
            "mirror": mirror,
            "moved": moved,
        }
    )


def plain(config) -> dict:
    """A ConfigDict as a dict, with tuples for lists (JSON has no tuples)."""
    return {k: tuple(v) if isinstance(v, list) else v for k, v in config.to_dict().items()}


def to_json(config) -> str:
    return json.dumps(config.to_dict(), indent=1)


def from_json(text: str) -> ConfigDict:
    """The config that `to_json` wrote; lists become tuples."""
    return ConfigDict(_tuples(json.loads(text)))


def from_file(path) -> ConfigDict:
    """The config that a file's `get_config()` makes; of "FILE.py:VARIANT" `get_config("VARIANT")`, as on the command line."""
    path, colon, variant = str(path).partition(".py:")
    path = pathlib.Path(path + ".py" if colon else path)
    if not path.is_file():
        raise ValueError(f"no config file at {path}")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.get_config(variant) if colon else module.get_config()


def changed(config, fields: dict[str, Any]) -> ConfigDict:
    """A copy with fields set by their dotted names; ValueError for one that does not exist."""
    config = ConfigDict(config.to_dict())
    for name, value in fields.items():
        *path, last = name.split(".")
        if path[:1] == ["modality"] and len(path) > 1 and path[1] not in config.modality:
            config.modality[path[1]] = modality("", "")
        at = config
        for part in path:
            at = at.get(part) if isinstance(at, ConfigDict) else None
        if not isinstance(at, ConfigDict) or last not in at and not open_ended(path):
            raise ValueError(unknown_field(config, name))
        at[last] = value
    return config


def staged(config) -> list[ConfigDict]:
    """The configs of all runs that a config describes, in order: itself, and one for each of `train.stages`."""
    out = [config]
    for fields in config.train.stages:
        out.append(changed(out[-1], dict(fields)))
    return out


OPEN_ENDED = (["loss", "weight"], ["loss", "given"], ["data", "scene", "options"], ["sample", "reading"])


def open_ended(path: list[str]) -> bool:
    """Whether a part of the config takes names that are not in it yet."""
    return path[:1] == ["modality"] or path in OPEN_ENDED


def unknown_field(config, name: str) -> str:
    """What is said of a field that does not exist: what it may have been meant to be, and what there is."""
    near = difflib.get_close_matches(name, list(flat(config.to_dict())), n=1, cutoff=0.6)
    at, known = config, []
    for part in name.split("."):
        if not isinstance(at, ConfigDict):
            break
        known, at = list(at), at.get(part)
    meant = f"; did you mean {near[0]!r}?" if near else "."
    return f"unknown field {name!r} of the config{meant} There are {', '.join(known)}; see jointdiff/config.py"


def flat(fields: Mapping, prefix: str = "") -> dict:
    """{"train": {"steps": 3}} to {"train.steps": 3}."""
    out = {}
    for key, value in fields.items():
        out.update(flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value})
    return out


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
