"""PolyMNIST: how often views that are drawn from other views show their digit, and all five from nothing the same one.

    python -m jointdiff.main --config=configs/polymnist.py --workdir=runs/polymnist   # 2 hours on one core
    python experiments/polymnist/run.py --model=runs/polymnist --num=30 --outdir=runs/views   # 18 minutes; goes on where it stopped
    python experiments/polymnist/run.py --model=runs/mvtcae.pt --num=30 --outdir=runs/views   # of peer.py, in its environment
    python experiments/polymnist/run.py --model=runs/towers --best_of=8 --num=20 --seeds=2 --outdir=runs/views   # an hour a seed
    python experiments/polymnist/run.py --quick --model=runs/polymnist --outdir=runs/quick

Every set of 1, 2, 3 and 4 views is given, and the others drawn from it: the mean coherence over the sets of a size and the
views drawn, which is what Senellart et al. 2025 (MultiVae) report. Then the five from nothing, and Frechet distances in the
features of the views' judges, of what is drawn from nothing and from one view. With --best_of, of so many draws the one is
kept whose views belong together best, for towers that have learned that from the training rows, without a label. Each model is
added to result.json; writes result.md and NAME.png, beside this file or to --outdir.
"""

import argparse
import itertools
import pathlib
import statistics

import PIL.Image
import torch
from tqdm import tqdm

import jointdiff
from jointdiff import build
from jointdiff import config as cfg
from jointdiff.evaluate.coherence import Direction, coherence
from jointdiff.evaluate.frechet import frechet
from jointdiff.evaluate.judge import build_judges, ceiling, train_judge
from jointdiff.evaluate.record import Record, plus_minus
from jointdiff.evaluate.towers import build_towers, train_towers
from jointdiff.report import beside, grid_picture, titled

HERE = pathlib.Path(__file__).parent
CONFIG = HERE.parents[1] / "configs" / "polymnist.py"


class Best:
    """A model whose samples are the best of several draws, by what towers find to belong together."""

    def __init__(self, model, of: int, quick: bool):
        data = build.data(model.config, model.modalities, "train")
        towers = train_towers(data, updates=10) if quick else build_towers(model.config, data)
        self.model, self.how = model, {"of": of, "by": towers.agreement}

    def sample(self, *given, **how):
        return self.model.best(*given, **self.how, **how)


def opened(path: str, quick: bool, best_of: int = 1):
    """A model and what there is to say about it: a jointdiff model, or a VAE of peer.py."""
    if path.endswith(".pt"):
        import peer

        model, about = peer.load(path)
        return model, {"kind": about["kind"], "core-minutes": round(about["minutes"], 1), "rows seen": about["rows"]}
    model = jointdiff.load(path)
    if quick:
        model.config.sample.steps = 4
    sample = model.config.sample
    count = sum(p.numel() for p in model.denoiser.network.parameters())
    about = {
        "kind": "jointdiff",
        "rows seen": model.rows,
        "parameters": count,
        "steps": sample.steps,
        "guidance": sample.guidance,
    }
    if best_of > 1:
        return Best(model, best_of, quick), about | {"best of": best_of, "by": "agreement"}
    return model, about


def given_to_rest(model, judges, pairs, names, size: int, num: int, seed: int, on_done) -> float:
    """The mean coherence over all sets of `size` views and the views that each is to show."""
    found = []
    for given in itertools.combinations(names, size):
        rest = tuple(n for n in names if n not in given)
        figures = coherence(model, judges, pairs, Direction(given, rest), num, seed, seed * num)
        found += [figures[n] for n in rest]
        on_done()
    return statistics.fmean(found)


def distances(drawn: dict, judges, real: dict) -> float:
    """The mean over views of the Frechet distance to real test items."""
    return statistics.fmean(frechet(judges[n].features(v), judges[n].features(real[n])) for n, v in drawn.items())


def from_nothing(model, judges, pairs, num: int, seed: int) -> dict:
    drawn = dict(model.sample(num=num, seed=seed))
    seen = torch.stack([judges[n].judge(v) for n, v in drawn.items()])
    real = pairs.rows(1000, num).values
    shares = torch.bincount(seen[:, (seen == seen[0]).all(0)][0], minlength=10) / num
    return {
        "joint": float((seen == seen[0]).all(0).float().mean()),
        "Frechet distance, from nothing": distances(drawn, judges, real),
        "rarest class": float(shares.min()),
    }


def from_one(model, judges, pairs, names, num: int, seed: int) -> dict:
    rows = pairs.rows(seed * num, num).values
    drawn = dict(model.sample({names[0]: rows[names[0]]}, num=num, seed=seed))
    return {"Frechet distance, from one view": distances(drawn, judges, pairs.rows(1000, num).values)}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--model", action="append", help="a workdir, a safetensors file, or a .pt of peer.py; repeatable"
    )
    parser.add_argument(
        "--num", type=int, default=100, help="rows of each set of views; ten times as many from nothing"
    )
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--best_of", type=int, default=1)
    parser.add_argument("--outdir", type=pathlib.Path, default=HERE)
    parser.add_argument("--quick", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(1)
    num, seeds, many = (4, 1, 24) if args.quick else (args.num, args.seeds, 10 * args.num)
    config = cfg.from_file(CONFIG)
    if args.quick:  # the digits that ship with scikit-learn
        for entry in config.modality.values():
            entry.source_options.source = "handwritten"
    modalities = build.modalities(config)
    names, pairs = config.data.modalities, build.data(config, modalities, "test")
    if args.quick:
        judges = {n: train_judge(config, n, m, updates=20) for n, m in modalities.items()}
    else:
        judges = build_judges(config, modalities)
    sizes = (4,) if args.quick else (1, 2, 3, 4)
    result = Record(
        args.outdir / "result.json", {"num": num, "seeds": seeds, "quick": args.quick}, ceilings={}, models={}
    )
    result["ceilings"] = result["ceilings"] or {n: ceiling(judges[n], config, n, m) for n, m in modalities.items()}
    for path in args.model or []:
        name = pathlib.Path(path).stem + (f", best of {args.best_of}" if args.best_of > 1 else "")
        model, about = opened(path, args.quick, args.best_of)
        kept = result["models"].setdefault(name, {"about": about, "figures": []})
        if kept["about"] != about:
            raise SystemExit(f"{result.path} has another model {name!r}: {kept['about']}; name another --outdir")
        sets = sum(len(list(itertools.combinations(names, k))) for k in sizes)
        with tqdm(total=(seeds - len(kept["figures"])) * (sets + 2), desc=name, unit="set", disable=None) as bar:
            for seed in range(len(kept["figures"]), seeds):
                figures = {
                    f"{k} given": given_to_rest(model, judges, pairs, names, k, num, seed, bar.update) for k in sizes
                }
                figures |= from_nothing(model, judges, pairs, many, seed)
                bar.update()
                figures |= from_one(model, judges, pairs, names, many, seed)
                bar.update()
                kept["figures"].append(figures)
                result.save()
        shown(model, modalities, pairs, names).save(args.outdir / f"{name.replace(', ', '_').replace(' ', '_')}.png")
    result.save()
    (args.outdir / "result.md").write_text(table(result))
    print(table(result))


def shown(model, modalities, pairs, names) -> PIL.Image.Image:
    """Rows from nothing, and from the first view."""
    given = {names[0]: pairs.rows(0, 8).values[names[0]]}
    parts = []
    for y, title in (({}, "from nothing"), (given, "from the first view")):
        rows = {**y, **model.sample(y, num=8, seed=0)}
        parts.append(titled(grid_picture(modalities, rows, y), title))
    return PIL.Image.fromarray(beside(parts))


def table(result) -> str:
    """Markdown: a row a model; figures over seeds."""
    rows = {name: kept for name, kept in result["models"].items() if kept["figures"]}
    columns = list(dict.fromkeys(k for kept in rows.values() for k in kept["figures"][0]))
    lines = [f"| model | {' | '.join(columns)} |", "|---|" + "---|" * len(columns)]
    for name, kept in rows.items():
        cells = [plus_minus([f[column] for f in kept["figures"]]) for column in columns]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    lines += [
        "",
        *(f"- {name}: {', '.join(f'{k} {v}' for k, v in kept['about'].items())}" for name, kept in rows.items()),
    ]
    lines += [
        "",
        "Judges on real test items: " + ", ".join(f"{n} {c:.3f}" for n, c in result["ceilings"].items()) + ".",
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
