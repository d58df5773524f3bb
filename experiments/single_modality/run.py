"""Does company cost a modality anything, or help it? Networks of one modality alone beside one of all, after equal core-minutes.

    python experiments/single_modality/run.py --workdir=runs/single           # 90 minutes on one core; goes on where it stopped
    python experiments/single_modality/run.py --workdir=runs/single --quick   # a minute

The network, loss and optimizer of `digits` (a rate that stays), trained on all three modalities and on each alone. Of each of them,
alone, in company with the others absent, and in company drawn at once: the Frechet distance of what is drawn from nothing, in
the features of its judge; and bits a dimension of test items under the network, also given the others. Writes result.json after
every figure, then result.md, beside this file or to --outdir.
"""

import pathlib
import sys

from tqdm import tqdm

from jointdiff import build
from jointdiff.data import restored
from jointdiff.evaluate import frechet
from jointdiff.evaluate.judge import build_judges
from jointdiff.evaluate.record import Record
from jointdiff.likelihood import bits
from jointdiff.state import load_weights

HERE = pathlib.Path(__file__).parent
sys.path.insert(0, str(HERE.parent))
from contenders import arguments, on_digits, spread, train_each  # noqa: E402

MINUTES = (4, 8, 16)
NAMES = ("image", "text", "audio")
ALONE = {"loss.pattern": {"joint": 1.0, "conditional": 0.0, "independent": 0.0, "absent": 0.0}}
CONFIGS = {"company": on_digits(), **{n: on_digits({"data.modalities": (n,), **ALONE}) for n in NAMES}}


def measured(model, name: str, judges, pairs, num: int, likely: int, seed: int, how: dict) -> dict[str, float]:
    """The figures of one modality under a network that knows it alone, or among others."""
    others = [n for n in model.layout.names if n != name]
    few = min(likely, num)
    values = {n: v for n, v in pairs.rows(seed * few, few).values.items() if n in model.layout.names}
    item, size = {name: values[name]}, values[name][0].numel()
    density = lambda given: float(
        bits(model.log_prob(item, given, seed, dequantized=True, rtol=1e-3, atol=1e-3), size).mean()
    )
    out = {"bits": density({})}
    ways = {"distance": {"leave_out": others}}
    if others:
        out["bits, given the others"] = density({n: values[n] for n in others})
        ways["distance, all at once"] = {}
    if hasattr(judges[name], "features"):  # words are read, not classified
        real = judges[name].features(restored(pairs.values[name][: 4 * num]))
        for way, more in ways.items():
            drawn = model.sample(num=num, seed=seed, **more, **how)[name]
            out[way] = frechet(judges[name].features(drawn), real)
    return out


def main():
    judged(arguments(__doc__, "single", HERE, CONFIGS, num=200, seeds=3), CONFIGS, NAMES, MINUTES, "result", likely=64)


def judged(args, configs: dict, names: tuple[str, ...], minutes: tuple[float, ...], title: str, likely: int) -> None:
    """Trains what `configs` has, networks of one modality under the name that it has in `names`, and judges these modalities.

    `likely` of a seed's test rows are those whose density is measured.
    """
    num, minutes, how = (8, [0.02], {"steps": 2}) if args.quick else (args.num, list(minutes), {"steps": 18})
    if not train_each(args, configs, minutes):
        return
    companies = {n: config(args.quick) for n, config in configs.items() if n not in names}
    config = next(iter(companies.values()))
    modalities = build.modalities(config)
    judges, pairs = build_judges(config, modalities), build.data(config, modalities, "test")
    setting = {"num": num, "seeds": args.seeds, "quick": args.quick}
    result = Record(args.outdir / f"{title}.json", setting, rows=[])
    done = {(r["network"], r["modality"], r["minutes"]) for r in result["rows"]}
    work = [(w, n, m) for m in minutes for n in names for w in (*companies, n) if (w, n, m) not in done]
    for network, name, until in tqdm(work, desc="judging", unit="modality", disable=None):
        model = load_weights(args.workdir / network / f"{until:g}.safetensors")
        figures = [measured(model, name, judges, pairs, num, likely, seed, how) for seed in range(args.seeds)]
        row = {"network": network, "modality": name, "minutes": until}
        result["rows"].append({**row, "figures": {k: spread([f[k] for f in figures]) for k in figures[0]}})
        result.save()
    (args.outdir / f"{title}.md").write_text(table(result))
    print(table(result))


def table(result) -> str:
    """Markdown: a row a modality, network and time."""
    columns = {
        "Fréchet distance, by itself": "distance", "all at once": "distance, all at once",
        "bits a dimension, by itself": "bits", "given the others": "bits, given the others",
    }  # fmt: skip
    lines = [f"| modality | network | core-minutes | {' | '.join(columns)} |", "|---|---|---|" + "---|" * len(columns)]
    networks = list(dict.fromkeys(r["network"] for r in result["rows"]))
    names = list(dict.fromkeys(r["modality"] for r in result["rows"]))
    order = lambda r: (names.index(r["modality"]), r["network"] != r["modality"], networks.index(r["network"]))
    for r in sorted(result["rows"], key=order):
        figures = [r["figures"].get(key) for key in columns.values()]
        cells = ["{mean:.3f} ± {std:.3f}".format(**f) if f else "" for f in figures]
        alone = "alone" if r["network"] == r["modality"] else r["network"]
        lines.append(f"| {r['modality']} | {alone} | {r['minutes']:g} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
