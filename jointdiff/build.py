"""A config turned into objects: modalities, the layout, the denoiser, data, samplers and conditions.

Components are looked up by name in their plain dicts and made with the arguments that stand under that name. What a component
needs beyond them it says itself, in `needs`: a network the grid, a condition the data's standard deviation.
"""

import os
import pathlib
from typing import Any

import numpy as np
import torch
from ml_collections import ConfigDict

from .backbones import BACKBONES
from .condition import CONDITIONS
from .config import modality, plain
from .data import SCENES, SOURCES, Manifest, Pairs, Stored, Table, code, encode_source, kept, save_items
from .denoiser import Denoiser
from .layout import Layout
from .loss import TimePatterns
from .modalities import MODALITIES
from .samplers import GRIDS, SAMPLERS
from .samplers.grids import at_ratios
from .sde import SDES


def lookup(table: dict[str, Any], name: str, what: str):
    """`table[name]`; ValueError that lists the choices."""
    if name not in table:
        raise ValueError(f"unknown {what} {name!r}; there are {', '.join(table)}")
    return table[name]


def needed(cls, **offered) -> dict[str, Any]:
    """What of `offered` a component says that it needs."""
    return {name: offered[name] for name in getattr(cls, "needs", ())}


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


def resolve(config, show=print) -> ConfigDict:
    """The config with what a manifest's files propose for the fields that are open: modalities, their kinds, the grid."""
    if not config.data.get("manifest"):
        return config
    config = ConfigDict(config.to_dict())
    manifest = Manifest.open(config.data.manifest, config.data.outside)
    grid, proposed = manifest.propose(tuple(config.data.grid) if any(config.data.grid) else None)
    config.data.grid = grid
    config.data.modalities = tuple(config.data.modalities) or tuple(proposed)
    show(f"{config.data.manifest}: {len(manifest.places)} rows on a grid of {grid[0]} x {grid[1]}")
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


def modalities(config) -> dict[str, Any]:
    """`{name: modality}` in order."""
    out = {}
    for name in names(config):
        entry = config.modality[name]
        cls = lookup(MODALITIES, entry.kind, f"kind of modality {name!r}")
        out[name] = cls(tuple(config.data.grid), **plain(entry.options))
    return out


def layout(config, modalities: dict[str, Any]) -> Layout:
    scale = {n: config.modality[n].scale for n in modalities}
    parts = {n: getattr(m, "parts", 1) for n, m in modalities.items()}
    return Layout({n: m.channels for n, m in modalities.items()}, tuple(config.data.grid), scale, parts)


def denoiser(config, layout: Layout, data_mean=None, data_std=None, dtype=torch.float32) -> Denoiser:
    """A new denoiser with weights drawn from `config.seed`."""
    name = config.backbone.name
    cls = lookup(BACKBONES, name, "backbone")
    options = {**plain(config.backbone[name]), **needed(cls, grid=layout.grid, streams=layout.streams())}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        network = cls(layout.shape[0], sum(layout.parts.values()), **options)
    return Denoiser(network, sde(config), layout, data_mean, data_std, dtype, config.backbone.blank)


def sde(config):
    cls = lookup(SDES, config.sde.name, "SDE")
    return cls(**plain(config.sde[config.sde.name]))


def sampler(config, sde, name: str | None = None):
    name = name or config.sample.sampler
    cls = lookup(SAMPLERS, name, "sampler")
    return cls(sde, **plain(config.sample[name]))


def grid(config, sampler, steps: int | None = None, name=None) -> torch.Tensor:
    """The times of `steps` steps, the config's when None, on the grid of this name, the last where the noise-to-signal ratio is
    config.sample.lowest; or those of the ratios that are named instead (see `samplers.grids.at_ratios`).
    """
    if name and not str(name)[:1].isalpha():
        times = at_ratios(sampler.sde, name)
        if steps not in (None, len(times)):
            raise ValueError(f"{steps} steps, but a grid of {len(times)}: the beginning and {len(times) - 1} ratios")
        return times
    name, lowest = name or config.sample.grid, config.sample.lowest
    make = lookup(GRIDS, name, "grid of times") if name else sampler.grid
    highest = float(sampler.sde.ratio(torch.tensor(1.0, dtype=torch.float64)))
    if not 0 < lowest < highest:
        raise ValueError(
            f"config.sample.lowest = {lowest}; expected a noise-to-signal ratio above 0 and below {highest:.3g}"
        )
    return make(sampler.sde, config.sample.steps if steps is None else steps, lowest)


def condition(config, denoiser: Denoiser, y, mask, name: str | None = None, **more):
    name = name or config.sample.condition
    cls = lookup(CONDITIONS, name, "condition")
    more |= needed(cls, data_std=denoiser.moments()[1])
    return cls(denoiser.sde, y, mask, **plain(config.sample[name]), **more)


def weights(config) -> torch.Tensor:
    """The weight of every modality's loss, `(M,)`, with a mean of 1."""
    known, given = names(config), config.loss.weight
    for name in given:
        if name not in config.modality:
            raise ValueError(f"config.loss.weight names {name!r}; this config has {', '.join(config.modality)}")
    weights = torch.tensor([float(given.get(n, 1.0)) for n in known])
    if (weights < 0).any() or weights.sum() <= 0:
        raise ValueError(f"config.loss.weight must be non-negative and not all 0, got {weights.tolist()}")
    return weights / weights.mean()


def moves(config) -> dict[str, int]:
    """By how many pixels at most training moves what is given clean, of the modalities of which it does."""
    by, most = {n: config.modality[n].moved for n in names(config)}, min(config.data.grid) - 1
    for name, pixels in by.items():
        if not 0 <= pixels <= most:
            raise ValueError(
                f"config.modality.{name}.moved = {pixels}; expected 0 to {most} pixels, less than the grid has"
            )
    return {n: pixels for n, pixels in by.items() if pixels}


def given_sets(config) -> dict[frozenset[int], float] | None:
    """How often each set of modalities is given, of those of its size; None when all sets are as often."""
    known, out = names(config), {}
    for key, weight in config.loss.given.items():
        parts = key.split("+")
        odd = [n for n in parts if n not in config.modality]
        if odd or not 0 <= float(weight) < float("inf"):
            raise ValueError(
                f"config.loss.given has {key} = {weight}; expected names of {', '.join(config.modality)}, joined by +, and a "
                "weight from 0 on"
            )
        if set(parts) <= set(known):
            out[frozenset(known.index(n) for n in parts)] = float(weight)
    return out or None


def patterns(config, layout: Layout) -> TimePatterns:
    parts = tuple(layout.parts.values())
    return TimePatterns(
        plain(config.loss.pattern), plain(config.loss.log_ratio), given_sets(config), parts, config.loss.known_parts
    )


def precision(wanted: str, device: torch.device) -> torch.dtype:
    """`auto` is bfloat16 where the hardware is fast at it: GPUs that have it, CPUs with AMX and AMD's with AVX-512; else float32.

    Intel's without AMX (a virtual machine may hide it) multiply it natively and convolve at half of the speed of float32.
    """
    if wanted == "auto":
        if device.type == "cuda":
            fast = torch.cuda.is_bf16_supported(including_emulation=False)
        else:
            abilities = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
            slow = "Intel" in str(abilities.get("cpu_name", ""))
            fast = abilities.get("amx_bf16", False) or abilities.get("avx512_bf16", False) and not slow
        return torch.bfloat16 if fast else torch.float32
    return lookup({"fp32": torch.float32, "bf16": torch.bfloat16}, wanted, "precision")


def data_root(config) -> pathlib.Path:
    return pathlib.Path(config.data.root or os.environ.get("JOINTDIFF_DATA") or "~/.cache/jointdiff").expanduser()


def cache_root(config) -> pathlib.Path:
    """Where what was made of data is kept: the data root, or the user's own cache when that may only be read."""
    root = data_root(config)
    there = next(p for p in (root, *root.absolute().parents) if p.exists())
    return root if os.access(there, os.W_OK) else pathlib.Path("~/.cache/jointdiff").expanduser()


def depends(config, name: str) -> list:
    """What the encoded items of a modality depend on: the grid, and its entry without what training does with them."""
    entry, data = plain(config.modality[name]), plain(config.data)
    about = [data["grid"], {k: entry[k] for k in ("kind", "source", "options", "source_options")}]
    return [*about, data["scene"]] if data["scene"]["name"] else about


def scene(config, split: str):
    """The rows that are made together; None when they are paired by class."""
    about = config.data.scene
    if not about.name:
        return None
    return lookup(SCENES, about.name, "scene")(data_root(config), split, **plain(about.options))


def items(config, split: str, name: str):
    """One modality's raw items of a split, "train" or "test"."""
    entry = config.modality[name]
    if config.data.scene.name:
        return scene(config, split).items(entry.source)
    source = lookup(SOURCES, entry.source, f"data source of {name!r}")
    return source(data_root(config), split, **plain(entry.source_options))


def encoded(config, name: str, modality, split: str) -> tuple[Stored | torch.Tensor, np.ndarray]:
    """One modality's items of a split and their labels, encoded the first time and found in files from then on.

    A source that is not the package's own may read what changes, and is asked every time.
    """
    entry, whole = config.modality[name], config.data.scene.name
    source = lookup(SCENES, whole, "scene") if whole else lookup(SOURCES, entry.source, f"data source of {name!r}")
    if not source.__module__.startswith("jointdiff."):
        raw = items(config, split, name)
        return torch.cat(list(encode_source(modality, raw))), raw.labels

    def write(folder):
        raw = items(config, split, name)
        save_items(folder / "items.npy", len(raw.labels), encode_source(modality, raw))
        np.save(folder / "labels.npy", raw.labels)

    about = [*depends(config, name), split, code(type(modality).encode, source, encode_source)]
    folder = kept(cache_root(config), f"{whole}-{entry.source}" if whole else entry.source, about, write)
    return Stored(folder / "items.npy"), np.load(folder / "labels.npy")


def data(config, modalities: dict[str, Any], split: str, show=print) -> Pairs | Table:
    """The rows of a split, encoded."""
    if not 0 <= config.data.missing < 1:
        raise ValueError(f"config.data.missing = {config.data.missing}; expected a share from 0 to below 1")
    out = rows(config, modalities, split, show)
    out.mirrored = tuple(n for n in modalities if config.modality[n].mirror and split == "train")
    out.missing = config.data.missing if split == "train" else 0.0
    return out


def rows(config, modalities: dict[str, Any], split: str, show) -> Pairs | Table:
    """Those of a table, those that a scene makes, or items of sources that are paired by class."""
    for field in ("per_class", "shuffled"):
        if config.data[field] and (config.data.manifest or config.data.scene.name):
            raise ValueError(
                f"config.data.{field} is for sources that are paired by class; a table or a scene has rows of its own"
            )
    if config.data.manifest:
        return Manifest.open(config.data.manifest, config.data.outside).table(
            modalities, split, config.seed, config.data.on_error, show, cache_root(config)
        )
    values, labels = {}, {}
    for name, kind in modalities.items():
        values[name], labels[name] = encoded(config, name, kind, split)
    if made := scene(config, split):
        worlds, parts = torch.from_numpy(made.worlds), {n: config.modality[n].source for n in values}
        shows = {n: torch.from_numpy(made.shows[part]) for n, part in parts.items() if part in made.shows}
        index = {n: torch.full_like(worlds, -1) for n in values}
        for name, part in parts.items():
            index[name][made.rows(part)] = torch.arange(len(values[name]))
        return Table(values, index, worlds, config.seed, shows)
    if config.data.per_class and split == "train":
        for name in values:
            values[name], labels[name] = fewest(values[name], labels[name], config.data.per_class)
    return Pairs(values, labels, config.seed, shuffled=config.data.shuffled and split == "train")


def fewest(values: Stored | torch.Tensor, labels: np.ndarray, count: int) -> tuple[Stored | torch.Tensor, np.ndarray]:
    """The first `count` items of every class."""
    rows = np.sort(np.concatenate([np.flatnonzero(labels == k)[:count] for k in np.unique(labels)]))
    few = torch.from_numpy(rows)
    return (Stored(values.file, few) if isinstance(values, Stored) else values[few]), labels[rows]
