"""Coherence of every direction as figures, a markdown table and a picture."""

import json
import pathlib
import statistics

import PIL.Image
import PIL.ImageDraw
import PIL.ImageFont
from tqdm import tqdm

from .. import build
from ..model import Model
from .coherence import coherence, directions
from .judge import build_judges, ceiling


def evaluate(
    model: Model,
    num: int = 256,
    seeds: tuple[int, ...] = (0, 1, 2),
    conditions: tuple[str, ...] = ("clean", "replace"),
    batch: int = 64,
    show=print,
    **how,
) -> dict:
    """Coherence of every direction under every condition, over seeds, with the judges' ceilings; empty without classes.

    Seed k takes the test rows from k * num on. Directions in which something is left out, or nothing is given, are
    measured with the first condition only.
    """
    show("preparing the judges of coherence")
    judges = build_judges(model.config, model.modalities)
    if not judges:
        return {}
    pairs = build.data(model.config, model.modalities, "test")
    ceilings = {n: ceiling(judges[n], model.config, n, m) for n, m in model.modalities.items()}
    work = [
        (d, c)
        for c in conditions
        for d in directions(model.layout.names)
        if c == conditions[0] or (d.given and not d.left_out)
    ]
    evaluations = model.cost(**how)
    show(f"{len(work)} directions x {len(seeds)} seeds x {num} samples, {evaluations} network evaluations each")
    rows = []
    for direction, condition in tqdm(work, disable=None, unit="direction"):
        runs = [
            coherence(
                model, judges, pairs, direction, num, seed, start=seed * num, condition=condition, batch=batch, **how
            )
            for seed in seeds
        ]
        figures = {
            k: {
                "mean": statistics.fmean(r[k] for r in runs),
                "std": statistics.stdev(r[k] for r in runs) if len(runs) > 1 else 0.0,
            }
            for k in runs[0]
        }
        rows.append(
            {
                "given": direction.given,
                "generated": direction.generated,
                "left_out": direction.left_out,
                "condition": condition,
                "figures": figures,
            }
        )
    return {
        "num": num,
        "seeds": list(seeds),
        "evaluations": evaluations,
        "evaluations from nothing": model.cost(**how, given=False),
        "ceilings": ceilings,
        "rows": rows,
        **{k: how.get(k) or model.config.sample[k] for k in ("sampler", "steps")},
        "guidance": model.config.sample.guidance if how.get("guidance") is None else how["guidance"],
        "reading": dict(model.config.sample.reading if how.get("reading") is None else how["reading"]),
        "device": str(model.device),
    }


def markdown(result: dict) -> str:
    """The table: a row a direction, a column a generated modality, mean +- standard deviation over seeds."""
    names = list(result["ceilings"])
    head = ["given", "left out", "condition", *names, "all agree"]
    lines = [" | ".join(head), " | ".join("---" for _ in head)]
    lines.append(" | ".join(["(real test data)", "", "", *(f"{result['ceilings'][n]:.3f}" for n in names), ""]))
    for row in result["rows"]:
        cells = [number(row["figures"].get(n)) for n in (*names, "joint")]
        lines.append(
            " | ".join([" + ".join(row["given"]) or "nothing", " + ".join(row["left_out"]), row["condition"], *cells])
        )
    return "\n".join(f"| {line} |" for line in lines) + "\n"


def brief(result: dict) -> str:
    """The table of the directions in which nothing is left out, with the second condition's means in its last column."""
    names, rows = list(result["ceilings"]), [r for r in result["rows"] if not r["left_out"]]
    first, *others = dict.fromkeys(r["condition"] for r in rows)
    beside = {tuple(r["given"]): r["figures"] for r in rows if r["condition"] in others[:1]}
    head = ["given", *(f"→ {n}" for n in names), "all agree"]
    head += [f"{o if o != 'replace' else 'replacement'}: {', '.join(names)}" for o in others[:1]]
    lines = [head, ["---"] * len(head)]
    for row in rows:
        if row["condition"] != first:
            continue
        cells = [number(row["figures"].get(n)) for n in (*names, "joint")]
        other = beside.get(tuple(row["given"]), {})
        means = ", ".join(f"{other[n]['mean']:.3f}" if n in other else "–" for n in names) if other else ""
        lines.append([" + ".join(row["given"]) or "nothing", *cells, *([means] if others else [])])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def number(figure) -> str:
    return "" if figure is None else f"{figure['mean']:.3f} ± {figure['std']:.3f}"


def picture(result: dict) -> PIL.Image.Image:
    """The table as a heat map: white at chance or below, blue at the ceiling."""
    names = [*result["ceilings"], "joint"]
    font, small = PIL.ImageFont.load_default(size=15), PIL.ImageFont.load_default(size=12)
    left, top, wide, high = 330, 64, 96, 26
    image = PIL.Image.new("RGB", (left + wide * len(names) + 16, top + high * (len(result["rows"]) + 1) + 16), "white")
    draw = PIL.ImageDraw.Draw(image)
    draw.text((12, 10), "Coherence: does what is generated show the class of what was given?", "black", font)
    for i, name in enumerate(names):
        draw.text(
            (left + wide * (i + 0.5), top - 10), name if name != "joint" else "all agree", "black", font, anchor="mm"
        )
    rows = [("real test data", "", {n: {"mean": c} for n, c in result["ceilings"].items()})]
    for row in result["rows"]:
        label = " + ".join(row["given"]) or "nothing"
        label += f"   (without {' + '.join(row['left_out'])})" if row["left_out"] else ""
        rows.append((label, row["condition"], row["figures"]))
    for j, (label, condition, figures) in enumerate(rows):
        y = top + high * j
        draw.text((12, y + high / 2), label, "black", small, anchor="lm")
        draw.text((left - 12, y + high / 2), condition, (110, 110, 110), small, anchor="rm")
        for i, name in enumerate(names):
            if name in figures:
                value = figures[name]["mean"]
                depth = max(0.0, min(1.0, (value - 0.1) / 0.9)) ** 2
                color = tuple(round(255 + (c - 255) * depth) for c in (33, 102, 172))
                draw.rectangle((left + wide * i + 1, y + 1, left + wide * (i + 1) - 2, y + high - 2), color)
                draw.text(
                    (left + wide * (i + 0.5), y + high / 2),
                    f"{value:.3f}",
                    "white" if depth > 0.5 else "black",
                    small,
                    anchor="mm",
                )
    return image


def write(result: dict, folder: pathlib.Path) -> None:
    """`coherence.json`, `coherence.md` and `coherence.png`."""
    (folder / "coherence.json").write_text(json.dumps(result, indent=1) + "\n")
    (folder / "coherence.md").write_text(markdown(result))
    picture(result).save(folder / "coherence.png")
