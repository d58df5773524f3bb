"""One web page of what a model does: samples to see, hear and play, every direction, noise, conflict, memory, calibration, cost.

The file is whole: no script and nothing that is fetched, so that it can be read without a network and sent to anyone.
"""

import html
import itertools
import pathlib

from tqdm import tqdm

from .. import build
from ..data import examples
from ..model import Model
from ..results import shown
from .calibration import repeated, scores
from .coherence import Direction, coherence
from .conflict import classed, conflict
from .judge import build_judges
from .memorisation import measure as memory
from .table import markdown, picture

LEVELS = (0.0, 0.25, 0.5, 1.0, 2.0)  # standard deviations of the noise, in channels' units
REPEATS = 10  # draws of one condition whose spread is judged
ROWS = 4  # samples that are shown of a direction
ABOUT = {  # what the sections show
    "Every direction": "How often what is drawn shows what was given, as the judges see it.",
    "Partners": "How often the true partner of what is given comes first, and how near what is drawn is to real data.",
    "Noise": "Coherence when what is given has noise of a known standard deviation, in units of its channels (-1 to 1).",
    "Conflict": "Two are given that say different classes, without noise: whom what is drawn believes.",
    "Calibration": f"{REPEATS} draws of each condition as a histogram over the classes: the share that is right, negative "
    "log-likelihood in nats, Brier score, and expected calibration error.",
    "Memorisation": "Distances to the nearest training item, of samples against held-out items (z far below 0: copies), and how "
    "often a sample is nearer to training items than to as many held-out ones (.5: it knows no more of these than of those).",
}
STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 1100px; margin: 2em auto; padding: 0 1em; color: #222; background: #fff }
table { border-collapse: collapse; margin: 1em 0 } th, td { padding: .3em .7em; border: 1px solid #ddd; text-align: center }
th { background: #f4f4f4; font-weight: 600 } td.name { text-align: left; white-space: nowrap } img { max-width: 100% }
h2 { margin-top: 2em } p.note { color: #555 } pre { white-space: pre-wrap; background: #f7f7f7; padding: 1em; overflow-x: auto }
"""


def measure(model: Model, num: int = 64, seed: int = 0, show=print, **how) -> dict:
    """What a page shows beside the tables of `table` and `partners`; `num` rows or samples a figure. `how`: see `Model.sample`.

    Returns `samples`, HTML; `noise`, `conflict` and `calibration`, lists with a row a direction (empty where nothing can be
    judged); `memorisation` by modality, and `closest`, its picture. Of several processes all must ask.
    """
    names = model.layout.names
    judges, data = build_judges(model.config, model.modalities), build.data(model.config, model.modalities, "test")
    rest = lambda *used: tuple(n for n in names if n not in used)
    pairs = [p for p in itertools.permutations(names, 2) if p[1] in judges and p[0] in data.shows] if judges else []
    # of scenes a row's label is not what a judge sees, and a small table may have too few rows
    among = lambda names, rows: 0 if model.config.data.scene.name else len(classed(data, names, rows)[1].unique())
    few = max(num // 4, 2)
    classes = [pair for pair in pairs if among(pair[:1], few)]
    against = [pair for pair in itertools.combinations(names, 2) if among(pair, num) > 1]
    thirds = [(pair, target) for pair in against for target in rest(*pair) if target in judges]
    out = {"samples": samples(model, data, seed, **how), "noise": [], "conflict": [], "calibration": []}
    show(f"noise in {len(pairs)} directions, conflict in {len(thirds)}, calibration in {len(classes)}, memorisation")
    with tqdm(total=len(pairs) * len(LEVELS) + len(thirds) + len(classes) + 1, unit="figure", disable=None) as bar:
        for given, target in pairs:
            way, figures = Direction((given,), (target,), rest(given, target)), []
            for level in LEVELS:
                noise = {given: level} if level else {}
                figures.append(coherence(model, judges, data, way, num, seed, noise=noise, **how)[target])
                bar.update()
            out["noise"].append({"given": given, "target": target, "coherence": figures})
        for pair, target in thirds:
            shares = conflict(model, judges[target], data, pair, target, num, seed, **how)
            out["conflict"].append({"given": pair, "target": target, "shares": list(shares.values())})
            bar.update()
        for given, target in classes:
            values, labels = classed(data, (given,), few)
            drawn = repeated(model, judges[target], {given: values[given]}, target, REPEATS, seed, **how)
            out["calibration"].append(
                {"given": given, "target": target, **scores(drawn, labels, len(data.shows[target]))}
            )
            bar.update()
        out["memorisation"], out["closest"] = memory(model, num, seed, **how)
        bar.update()
    return out


def page(model: Model, name: str, measured: dict, coherences: dict | None = None, own: str = "") -> str:
    """HTML. `measured` is of `measure`, `coherences` of `table.evaluate`, `own` the Markdown of `partners`, where there are any."""
    arrow = lambda row: f"{row['given']} → {row['target']}"
    parts = [f"<h1>{html.escape(name)}</h1><p>{html.escape(repr(model))}</p>", measured["samples"]]
    if coherences:
        parts.append(section("Every direction", shown(picture(coherences), "coherence of every direction", 0)))
    if own:
        parts.append(section("Partners", f"<pre>{html.escape(own)}</pre>"))
    if measured["noise"]:
        rows = [[arrow(r), *r["coherence"]] for r in measured["noise"]]
        parts.append(section("Noise", curves(rows), table(["", *LEVELS], rows)))
    if measured["conflict"]:
        rows = [[" and ".join(r["given"]) + f" → {r['target']}", *r["shares"]] for r in measured["conflict"]]
        parts.append(section("Conflict", table(["", "the first", "the second", "neither"], rows)))
    if measured["calibration"]:
        keys = ["coherence", "nll", "brier", "ece"]
        rows = [[arrow(r), *(r[k] for k in keys)] for r in measured["calibration"]]
        parts.append(section("Calibration", table(["", *keys], rows, heat=False)))
    if measured["memorisation"]:
        keys = ["z", "nearer", "nearer error", "median", "median of held-out"]
        rows = [[n, *(m[k] for k in keys)] for n, m in measured["memorisation"].items()]
        closest = shown(measured["closest"], "closest pairs", 0)
        parts.append(section("Memorisation", table(["", *keys], rows, heat=False), closest))
    card = model.card(name, markdown(coherences) if coherences else own)
    parts.append(section("Model card", f"<pre>{html.escape(card)}</pre>"))
    title = f"<title>{html.escape(name)}</title><style>{STYLE}</style>"
    return f'<!doctype html><html lang="en"><meta charset="utf-8">{title}<body>{chr(10).join(parts)}</body></html>\n'


def samples(model: Model, data, seed: int, **how) -> str:
    """From nothing, and from each modality alone, with what that cost."""
    out, spent = [], []
    for name in ("", *model.layout.names) if len(model.layout.names) > 1 else ("",):
        drawn = model.sample(examples(data, (name,), 0, ROWS) if name else {}, ROWS, seed, **how)
        spent.append((drawn.info["evaluations"], drawn.info["seconds"] / ROWS))
        out += [f"<h3>From {html.escape(name) or 'nothing'}</h3>", drawn._repr_html_()]
    evaluations, seconds = (max(column) for column in zip(*spent))
    cost = f"A sample takes at most {evaluations} evaluations of the network, here {seconds:.2f} s on {model.device}."
    return section("Samples", *out, f"<p>{html.escape(cost)}</p>")


def section(title: str, *parts: str) -> str:
    note = f'<p class="note">{html.escape(ABOUT[title])}</p>' if title in ABOUT else ""
    return "\n".join([f"<h2>{title}</h2>", note, *parts])


def table(head: list, rows: list[list], heat: bool = True) -> str:
    """Rows of a name and numbers; with `heat` the bluer the higher, of shares from 0 to 1."""
    cell = lambda v: (
        f'<td style="background:rgba(33,102,172,{0.6 * max(v, 0):.2f})">{v:.3f}</td>' if heat else f"<td>{v:.3f}</td>"
    )
    lines = ["".join(f"<th>{html.escape(str(h))}</th>" for h in head)]
    lines += [f'<td class="name">{html.escape(row[0])}</td>' + "".join(cell(v) for v in row[1:]) for row in rows]
    return f"<table>{''.join(f'<tr>{line}</tr>' for line in lines)}</table>"


def curves(rows: list[list], width: int = 620, height: int = 260) -> str:
    """Coherence against noise, a line a direction, as SVG."""
    across = lambda i: 40 + (width - 240) * i / (len(LEVELS) - 1)
    up = lambda v: 15 + (height - 45) * (1 - v)
    out = [
        f'<text x="{across(i):.0f}" y="{height - 8}" text-anchor="middle">{level:g}</text>'
        for i, level in enumerate(LEVELS)
    ]
    for v in (0, 0.5, 1):
        line = f'<line x1="40" x2="{width - 200}" y1="{up(v):.0f}" y2="{up(v):.0f}" stroke="#ddd"/>'
        out += [line, f'<text x="32" y="{up(v) + 4:.0f}" text-anchor="end">{v:g}</text>']
    for k, (label, *values) in enumerate(rows):
        color = f"hsl({360 * k / len(rows):.0f} 65% 42%)"
        points = " ".join(f"{across(i):.1f},{up(v):.1f}" for i, v in enumerate(values))
        out.append(f'<polyline points="{points}" fill="none" stroke="{color}" stroke-width="2"/>')
        y = 20 + (height - 30) * k / len(rows)
        out.append(f'<text x="{width - 190}" y="{y:.0f}" fill="{color}">{html.escape(label)}</text>')
    size = f'width="{width}" height="{height}" font-size="12"'
    return f'<svg {size} role="img" aria-label="coherence against noise">{"".join(out)}</svg>'


def write(text: str, folder: pathlib.Path) -> None:
    """`report.html`."""
    (folder / "report.html").write_text(text, encoding="utf-8")
