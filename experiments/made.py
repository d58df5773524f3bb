"""Tables that are made of result files, beside those that experiments write themselves. See `tables`."""

import json
import pathlib
import statistics
from collections.abc import Callable

from jointdiff.evaluate.record import plus_minus
from jointdiff.evaluate.table import brief

HERE = pathlib.Path(__file__).parent


def result(folder: str, name: str = "result") -> dict:
    return json.loads((HERE / folder / f"{name}.json").read_text())


def written(folder: str, name: str = "result") -> Callable[[], str]:
    """A table as its experiment wrote it."""
    return lambda: (HERE / folder / f"{name}.md").read_text().strip()


def rows(head, body) -> str:
    """Markdown."""
    return "\n".join("| " + " | ".join(line) + " |" for line in (head, ["---"] * len(head), *body))


def directions(name: str, title: str) -> str:
    found = result("any_direction", name)
    ceilings = ", ".join(f"{n} {c:.3f}" for n, c in found["ceilings"].items())
    return f"**{title}**, ceilings {ceilings}\n\n{brief(found).strip()}"


def relations() -> str:
    """What needs more than a class: `sums` and `bounce`."""
    sums, bounce = result("sums"), result("bounce")
    ask = lambda question: plus_minus(sums["questions"][question]["figures"])
    drawn = lambda question, measure: plus_minus([f[measure] for f in bounce["questions"][question]])
    real = lambda part, measure: f"{statistics.fmean(f[part][measure] for f in bounce['real']):.3f}"
    seen = statistics.fmean(f["digit"] for f in bounce["real"])
    read = f"{sums['ceilings']['first'] * sums['ceilings']['second']:.3f}"
    pairs, hit = sums["spread"]["at once"], "impacts hit"
    body = [
        ["`sums`", "both digits → their sum, as text", ask("both digits → sum"), read],
        ["", "the same, the rationale drawn first", ask("both digits → rationale, then sum"), read],
        ["", "the sum and one digit → the other digit", ask("sum and first digit → second"), "1"],
        ["", "the sum → two digits that add up", ask("sum → both digits"), "1"],
        ["", "these pairs, KL to uniform over what fits, nats", f"{pairs['divergence']:.3f}", f"{pairs['uniform draws']:.3f}"],
        ["`bounce`", "film → sound, impacts hit within a frame", drawn("film → sound", hit), real("sound", hit)],
        ["", "sound → film, the same", drawn("sound → film", hit), real("film", hit)],
        ["", "caption → film, direction", drawn("caption → film", "direction"), "1"],
        ["", "caption → film, digit", drawn("caption → film", "digit"), f"{seen:.3f}"],
    ]  # fmt: skip
    return rows(["model", "question", "right", "of real data, or ideal"], body)


def noisy() -> str:
    """Pictures from words and speech that are not as they should be."""
    columns = {
        ("text", "noise", 1): "word, noise 1",
        ("text", "noise", 2): "noise 2",
        ("text", "blur", 1): "blurred by a pixel",
        ("text", "misspelt", 2): "two letters wrong",
        ("text", "missing", 0.5): "half missing",
        ("audio", "noise", 0.5): "speech, noise .5",
        ("audio", "noise", 1): "noise 1",
    }
    found = {
        (r["given"], r["spoilt"], r["strength"], r["method"]): r["coherence"] for r in result("noisy_text")["rows"]
    }
    body = [
        [title, *(f"{found[(*column, method)]:.2f}" for column in columns)]
        for title, method in (("as they are", "clean"), ("`auto`", "auto"))
    ]
    return rows(["", *columns.values()], body)


def fresh() -> str:
    """Noise matched against taken as clean, on conditions that no choice was made on."""
    body = []
    for name, title in (("text", "words"), ("audio", "speech")):
        found = {}
        for r in result("noisy_text", f"fresh_{name}")["rows"]:
            found.setdefault((r["strength"], r["method"]), {})[r["seed"]] = r
        for strength in sorted({s for s, _ in found} - {0.0}):
            clean, matched = found[strength, "clean"], found[strength, "matched"]
            nll = [plus_minus([r["nll"] for r in rows.values()]) for rows in (clean, matched)]
            gain = plus_minus([clean[seed]["nll"] - matched[seed]["nll"] for seed in clean])
            right = " / ".join(
                f"{statistics.fmean(r['coherence'] for r in rows.values()):.3f}" for rows in (clean, matched)
            )
            body.append([title, f"{strength:g}", *nll, gain, right])
            title = ""
    return rows(
        ["given", "noise", "NLL, taken as clean", "NLL, noise matched", "gain, seed by seed", "coherence"], body
    )


def few() -> str:
    """What few evaluations bring on three grids of times."""
    found = {(r["grid"], r["steps"]): r for r in result("solvers", "few")["rows"]}
    grids = {
        "the usual grid": "usual",
        "the usual grid, ending at .5": "usual, to 0.5",
        "`Model.grid`": "least loss, to 0.5",
    }
    cell = lambda r: f"{r['given one']['mean']:.2f}, {r['nothing']['mean']:.2f}, {r['frechet']['mean']:.1f}"
    body = [
        [str(steps), *(cell(found[grid, steps]) if (grid, steps) in found else "the same" for grid in grids.values())]
        for steps in sorted({s for _, s in found})
    ]
    return rows(["evaluations", *grids], body)


def conditions() -> str:
    """Conditions with the exact score."""
    chosen = (
        ("clean", "dpm_solver"), ("tweedie", "dpm_solver"), ("twisted", "ddim"), ("twisted", "euler_maruyama"),
        ("langevin", "ddim"), ("repaint", "ddim"), ("pigdm", "ddim"), ("guide", "ddim"), ("replace", "ddim"),
        ("replace", "predictor_corrector"),
    )  # fmt: skip
    found = {
        (r["problem"], r["condition"], r["sampler"]): r
        for r in result("exactness")["rows"]
        if r["network"] == "exact" and not r["options"]
    }
    body = []
    for condition, sampler in chosen:
        of = lambda problem, condition=condition, sampler=sampler: found[problem, condition, sampler]
        kl = [f"{of(f'gaussian {c}')['kl']:.4f}" for c in (".5", ".9", ".99")]
        mixture = of("mixture")
        body.append([f"`{condition}`", f"`{sampler}`", str(of("gaussian .5")["evaluations"]), *kl,
                     f"{mixture['coherence']:.3f}", f"{mixture['variance ratio']:.2f}"])  # fmt: skip
    head = [
        "condition",
        "sampler",
        "evaluations",
        "KL, correlation .5",
        ".9",
        ".99",
        "ten classes: right class",
        "variance ratio",
    ]
    return rows(head, body)


def questions() -> str:
    """Those of `sums`."""
    sums = result("sums")
    body = [[name, plus_minus(asked["figures"])] for name, asked in sums["questions"].items()]
    pairs = [
        [{"at once": "sum → both digits", "rationale first": "sum → rationale, then both digits"}[name], f"{found['add up']:.3f}",
         f"{found['divergence']:.3f}", f"{found['uniform draws']:.3f}"]
        for name, found in sums["spread"].items()
    ]  # fmt: skip
    head = [
        f"{sums['pairs']} draws for every sum",
        "add up",
        "KL of those that do to uniform, nats",
        "of uniform draws",
    ]
    return rows(["question", "right"], body) + "\n\n" + rows(head, pairs)


def films() -> str:
    """What `bounce` draws, beside the real scenes and chance."""
    bounce = result("bounce")
    drawn = lambda question, measure: plus_minus([f[measure] for f in bounce["questions"][question]])
    real = lambda *at: f"{statistics.fmean(f[at[0]][at[1]] if at[1:] else f[at[0]] for f in bounce['real']):.3f}"
    turns, once = "caption → picture → film → sound", "caption → film, sound, picture"
    ends, alike = "two frames at each end → film", "one digit in all frames"
    body = [
        ["film → sound", "impacts hit within a frame", drawn("film → sound", "impacts hit"), real("sound", "impacts hit"),
         real("sound of another scene", "impacts hit")],
        ["", "error, ms", drawn("film → sound", "error, ms"), real("sound", "error, ms"), ""],
        ["sound → film", "impacts hit within a frame", drawn("sound → film", "impacts hit"), real("film", "impacts hit"),
         real("film of another scene", "impacts hit")],
        ["", "pixels off the folded line", drawn("sound → film", "off the line, pixels"), real("film", "off the line, pixels"), ""],
        ["caption → film", "first direction right", drawn("caption → film", "direction"), real("direction"), "0.25"],
        ["", "digit right, read in the film", drawn("caption → film", "digit"), real("digit"), "0.10"],
        ["", "frames that show what most do", drawn("caption → film", alike), real(alike), ""],
        ["caption → picture → film → sound, in turns", "digit", drawn(turns, "digit"), real("digit"), "0.10"],
        ["", "first direction", drawn(turns, "direction"), real("direction"), "0.25"],
        ["the same, at once", "digit", drawn(once, "digit"), real("digit"), "0.10"],
        ["", "first direction", drawn(once, "direction"), real("direction"), "0.25"],
        ["film → caption", "to the letter", drawn("film → caption", "to the letter"), "", "0.025"],
        ["first three frames → film", "pixels from its path, median",
         drawn("first three frames → film", "pixels from its path, median"), "", ""],
        [ends, "pixels from its path, median", drawn(ends, "pixels from its path, median"), "", ""],
    ]  # fmt: skip
    return rows(["question", "", "drawn", "real scenes", "chance"], body)


def published() -> str:
    """The two benchmarks on which others have published, with their figures (Senellart et al. 2025; Yeo and Sung 2026, table 1)."""
    views, asked = result("polymnist")["models"]["polymnist"]["figures"], result("quadrants")["figures"]
    ask = lambda question: plus_minus([f[question] for f in asked])
    best = {
        "1 given": ".886 (MMVAE+)",
        "2 given": ".89 (JNF-DCCA)",
        "3 given": ".935 (JNF-DCCA)",
        "4 given": ".945 (JNF-DCCA)",
        "joint": ".781 (CMVAE)",
    }
    body = [
        ["" if i else "PolyMNIST", f"coherence, {name}", plus_minus([f[name] for f in views]), there]
        for i, (name, there) in enumerate(best.items())
    ]
    chosen = result("polymnist")["models"]["towers, best of 8"]["figures"]
    five = ", ".join(f"{statistics.fmean(f[name] for f in chosen):.3f}" for name in best)
    body.append(["", "these five after 3.2 core-hours on a CPU, the best of 8 draws", five, ""])
    agree, left = "nothing → digit of all three views = word", "quadrant → three views agree on the digit"
    body += [
        ["PolyMNIST-D-Q", f"{agree}, one by one", ask(f"{agree}, one by one"), ".024 (joint flow), .983 (MUNITE)"],
        ["", "the same, views apart", ask(f"{agree}, apart"), ""],
        [
            "",
            "digit → a view, the quadrant's name first",
            ask("digit → a view, digit right, words first"),
            ".240 (joint flow), .994 (MUNITE)",
        ],
        ["", f"{left}, one by one", ask(f"{left}, one by one"), ".160 (joint flow), .990 (MUNITE)"],
        ["", "the same, views apart", ask(f"{left}, apart"), ""],
    ]
    return rows(["benchmark", "question", "jointdiff", "published"], body)


def alike() -> str:
    """Where two modalities are most alike inside a network, when both are clean."""
    found, body = [r for r in result("shared_features")["rows"] if not r["noise"]], []
    for model, pair in dict.fromkeys((r["model"], tuple(r["pair"])) for r in found):
        most = max((r for r in found if (r["model"], tuple(r["pair"])) == (model, pair)), key=lambda r: r["alike"])
        body.append([f"`{model}`", ", ".join(pair), most["depth"], *measured(most)])
    return rows(["network", "pair", "where they are most alike, clean", "alike", "by chance", "p"], body)


def shuffled() -> str:
    """The same of a network trained on pairs and of one trained on shuffled ones, at one depth."""
    found = {(r["model"], *r["pair"]): r for r in result("shared_features", "shuffled")["rows"] if at_up_2(r)}
    body = [
        [f"{a}, {b}", *measured(r), *measured(found["shuffled", a, b])]
        for (model, a, b), r in found.items()
        if model == "pairs"
    ]
    return rows(["clean, at `up 2`", "on pairs", "by chance", "p", "on shuffled pairs", "by chance", "p"], body)


def at_up_2(row) -> bool:
    return row["depth"] == "up 2" and not row["noise"]


def measured(row) -> list[str]:
    return [f"{row['alike']:.3f}", f"{row['chance']:.3f} ± {row['spread']:.3f}", f"{row['p']:.3f}"]
