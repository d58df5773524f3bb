"""Contenders on the same data, each trained for the same core-minutes on one thread and judged by the same judges.

What baselines, fusion and mnist_cifar10 share. A contender is a config, or something of another library that can
`train(minutes, folder)`, `load(path)` and `sample(given, num, seed, steps)`.
"""

import argparse
import dataclasses
import json
import pathlib
import statistics
from collections.abc import Callable

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import torch
from tqdm import tqdm

from jointdiff import build
from jointdiff import config as cfg
from jointdiff.data import restored, shown
from jointdiff.evaluate import frechet
from jointdiff.evaluate.coherence import directions, fitting
from jointdiff.evaluate.judge import build_judges, ceiling
from jointdiff.evaluate.record import Record
from jointdiff.state import load_weights
from jointdiff.training import for_minutes

CONFIGS = pathlib.Path(__file__).parents[1] / "configs"


def on_digits(changes: dict | None = None, small: dict | None = None) -> Callable:
    """configs/digits.py's first stage with a rate that stays, but for `changes`, as a contender's config.

    When quick, a small network on the digits that ship with scikit-learn, and `small` changes more.
    """

    def config(quick: bool):
        config = cfg.from_file(CONFIGS / "digits.py")
        config.train.stages, config.optim.decay = (), 0.0
        if quick:
            keypad = cfg.from_file(CONFIGS / "keypad.py")
            config.data.grid, config.modality = keypad.data.grid, keypad.modality
            config.backbone.unet.widths, config.train.batch = (16, 32, 32), 8
        return cfg.changed(config, {**(changes or {}), **(small or {} if quick else {})})

    return config


@dataclasses.dataclass(frozen=True)
class Contender:
    """When to look (core-minutes), the config, quick or not, what `sample` is told, and the class of a peer that trains itself.

    With `after` it starts from the last weights of the contender of that name, whose minutes and rows count as its own.
    """

    minutes: tuple[float, ...]
    config: Callable = on_digits()
    sampling: dict = dataclasses.field(default_factory=lambda: {"steps": 18})
    peer: Callable | None = None
    after: str = ""

    def marks(self, quick: bool) -> list[float]:
        return [0.02] if quick else list(self.minutes)


def judged(model, judges: dict, pairs, num: int, seed: int, how: dict) -> tuple[dict[str, float], dict]:
    """Coherence of every direction in which nothing is left out, over test rows of this seed's own; and what came of nothing."""
    values, _, labels, _ = pairs.rows(seed * num, num)
    out, unconditional = {}, None
    for d in directions(tuple(model.modalities), leave_out=False):
        drawn = model.sample({n: values[n] for n in d.given}, num=num, seed=seed, **how)
        seen = {n: judges[n].judge(drawn[n]) for n in d.generated}
        known = {n: shown(pairs, n, labels) for n in d.given}
        if known:
            read = {f"{d} ({n})": fitting({**known, n: s}, pairs.shows) for n, s in seen.items()}
        else:
            read, unconditional = {"nothing": fitting(seen, pairs.shows)}, drawn
        out |= {k: float(v.float().mean()) for k, v in read.items()}
    return out, unconditional


def reached(rows: list[dict], target: float) -> str:
    """Core-minutes at which the mean conditional coherence passes the target, on a line between what was measured."""
    before = (0.0, 0.1)
    for row in rows:
        now = (row["minutes"], row["conditional"]["mean"])
        if now[1] >= target:
            return f"{before[0] + (now[0] - before[0]) * (target - before[1]) / (now[1] - before[1]):.1f}"
        before = now
    return f"not in {before[0]:g}"


def spread(figures: list[float]) -> dict[str, float]:
    return {"mean": statistics.fmean(figures), "std": statistics.stdev(figures)}


def arguments(doc: str, name: str, here: pathlib.Path, contenders: dict[str, Contender], num: int = 32, seeds: int = 2):
    """The command line of a comparison; one thread from here on."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workdir", type=pathlib.Path, default=pathlib.Path("runs") / name)
    parser.add_argument("--only", choices=sorted(contenders), help="train one contender alone, and judge nothing")
    parser.add_argument("--judge", action="store_true", help="train nothing, judge what has been trained")
    parser.add_argument("--num", type=int, default=num, help="test rows a direction and seed")
    parser.add_argument("--seeds", type=int, default=seeds, help="of sampling, each with rows of its own")
    parser.add_argument("--outdir", type=pathlib.Path, default=here)
    parser.add_argument("--quick", action="store_true", help="seconds of training, 4 rows, small networks")
    args = parser.parse_args()
    torch.set_num_threads(1)
    return args


def train_each(args, configs: dict[str, Callable], minutes: list[float]) -> bool:
    """Networks of jointdiff alone, each for these core-minutes; False where `--only` one was to be trained."""
    for name in configs:
        if args.only in (None, name) and not args.judge:
            for_minutes(configs[name](args.quick), minutes, args.workdir / name, name)
    return not args.only


def compare(args, contenders: dict[str, Contender], each: bool = False) -> Record | None:
    """Trains and judges them all, and writes result.json, result.md (see `table`) and curves.png after every figure.

    None where `--only` one was to be trained.
    """
    num, seeds = (4, 2) if args.quick else (args.num, args.seeds)
    rows, peers = {}, {}
    folders = {name: args.workdir / name.replace(" ", "_") for name in contenders}
    for name, contender in contenders.items():
        trained, config = folders[name] / "rows.json", contender.config(args.quick)
        if args.only not in (None, name) or args.judge and not trained.is_file():
            continue
        minutes = contender.marks(args.quick)
        if contender.after:
            last = max(contenders[contender.after].marks(args.quick))
            config.train.init = str(folders[contender.after] / f"{last:g}.safetensors")
        if contender.peer:
            peers[name] = contender.peer(config, args.quick)
        if args.judge:
            rows[name] = json.loads(trained.read_text())
        elif contender.peer:
            rows[name] = peers[name].train(minutes, folders[name])
        else:
            rows[name] = for_minutes(config, minutes, folders[name], name)
    if args.only:
        return None
    config = next(iter(contenders.values())).config(args.quick)
    modalities = build.modalities(config)
    judges, pairs = build_judges(config, modalities), build.data(config, modalities, "test")
    with_features = [n for n in modalities if hasattr(judges[n], "features")]  # words are read, not classified
    real = {n: judges[n].features(restored(pairs.values[n][:2000])) for n in with_features}
    setting = {"num": num, "seeds": seeds, "quick": args.quick}
    result = Record(args.outdir / "result.json", setting, rows=[])
    result.setdefault("ceilings", {n: ceiling(judges[n], config, n, m) for n, m in modalities.items()})
    done = {(r["contender"], r["minutes"]) for r in result["rows"]}
    before = {
        n: max((float(m), seen) for m, seen in rows[c.after].items()) if c.after else (0.0, 0)
        for n, c in contenders.items()
        if n in rows
    }
    work = [(n, m) for n in rows for m in rows[n] if (n, before[n][0] + float(m)) not in done]
    for name, minutes in tqdm(work, desc="judging", unit="weights", disable=None):
        path, how = folders[name] / f"{float(minutes):g}.safetensors", dict(contenders[name].sampling)
        how["steps"] = 2 if args.quick else how["steps"]
        model = peers[name].load(path) if name in peers else load_weights(path)
        figures, drawn = zip(*[judged(model, judges, pairs, num, seed, how) for seed in range(seeds)])
        network = model.network if name in peers else model.denoiser.network
        features = {n: judges[n].features(torch.cat([d[n] for d in drawn])) for n in real}
        result["rows"].append(
            {
                "contender": name,
                "minutes": before[name][0] + float(minutes),
                "rows": before[name][1] + rows[name][minutes],
                "evaluations": how["steps"] if name in peers else model.cost(**how),
                "parameters": sum(p.numel() for p in network.parameters()),
                "conditional": spread([statistics.fmean(v for k, v in f.items() if k != "nothing") for f in figures]),
                "nothing": spread([f["nothing"] for f in figures]),
                "frechet": {n: frechet(f, real[n]) for n, f in features.items()},
                "figures": figures,
            }
        )
        result.save()
        (args.outdir / "result.md").write_text(table(result, each))
        curves(result).savefig(args.outdir / "curves.png", dpi=110)
    return result


def by_contender(result) -> dict[str, list[dict]]:
    """The rows of each contender by core-minutes."""
    names = dict.fromkeys(r["contender"] for r in result["rows"])
    return {n: sorted((r for r in result["rows"] if r["contender"] == n), key=lambda r: r["minutes"]) for n in names}


def table(result, each: bool = False) -> str:
    """Markdown; with `each`, every direction instead of the mean over those in which something is given."""
    first = result["rows"][0]
    asked = [k for k in first["figures"][0] if k != "nothing"] if each else ["given some"]
    heads = ["contender", "parameters", "core-minutes", "rows seen", "evaluations", *asked, "from nothing"]
    heads += [f"Fréchet distance, {n}" for n in first["frechet"]] + ([] if each else ["minutes to .90"])
    lines = [f"| {' | '.join(heads)} |", "|" + "---|" * len(heads)]
    for name, rows in by_contender(result).items():
        for r in rows:
            figures = [spread([f[k] for f in r["figures"]]) for k in asked] if each else [r["conditional"]]
            cells = [name, f"{r['parameters'] / 1e6:.1f} M", f"{r['minutes']:g}", str(r["rows"]), str(r["evaluations"])]
            cells += [f"{f['mean']:.3f} ± {f['std']:.3f}" for f in (*figures, r["nothing"])]
            cells += [f"{distance:.2f}" for distance in r["frechet"].values()]
            cells += [] if each else [reached(rows, 0.9) if r is rows[-1] else ""]
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def curves(result):
    plt.close("all")
    figure, axes = plt.subplots(1, 2, figsize=(10, 4), layout="constrained", sharey=True)
    for axis, key, title in zip(axes, ("conditional", "nothing"), ("given some, mean over directions", "from nothing")):
        for name, rows in by_contender(result).items():
            means, stds = ([r[key][s] for r in rows] for s in ("mean", "std"))
            axis.errorbar([r["minutes"] for r in rows], means, stds, marker="o", capsize=3, label=name)
        axis.axhline(0.9, color="grey", linestyle=":")
        axis.set(title=f"coherence, {title}", xlabel="core-minutes of training", ylim=(0, 1))
        axis.grid(alpha=0.3)
    axes[1].legend()
    return figure
