"""The tables of the README's results, made from the result files that lie beside the experiments.

python experiments/tables.py           # puts them into README.md, between <!-- NAME --> and <!-- end -->
python experiments/tables.py --check   # fails, and says which, if one is not what the result files say
"""

import argparse
import json
import pathlib
import re
import statistics

from jointdiff.evaluate.table import brief

HERE = pathlib.Path(__file__).parent
README = HERE.parent / "README.md"


def result(folder: str, name: str = "result") -> dict:
    return json.loads((HERE / folder / f"{name}.json").read_text())


def rows(head, body) -> str:
    """Markdown."""
    return "\n".join("| " + " | ".join(line) + " |" for line in (head, ["---"] * len(head), *body))


def spread(figures: list[float]) -> str:
    return f"{statistics.fmean(figures):.3f} ± {statistics.stdev(figures):.3f}"


def directions(name: str, title: str) -> str:
    found = result("any_direction", name)
    ceilings = ", ".join(f"{n} {c:.3f}" for n, c in found["ceilings"].items())
    return f"**{title}**, ceilings {ceilings}\n\n{brief(found).strip()}"


def relations() -> str:
    """What needs more than a class: `sums` and `bounce`."""
    sums, bounce = result("sums"), result("bounce")
    ask = lambda question: spread(sums["questions"][question]["figures"])
    drawn = lambda question, measure: spread([f[measure] for f in bounce["questions"][question]])
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


TABLES = {
    "digits": lambda: directions("digits", "`digits` (shipped weights; MNIST, word, speech)"),
    "keypad": lambda: directions("keypad", "`keypad` (the first command)"),
    "relations": relations,
    "noisy": noisy,
    "conditions": conditions,
}


def block(name: str) -> re.Pattern:
    return re.compile(rf"(?<=<!-- {name} -->\n\n).*?(?=\n\n<!-- end -->)", re.S)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    args = parser.parse_args()
    text, wrong = README.read_text(encoding="utf-8"), []
    for name, make in TABLES.items():
        there, table = block(name).search(text), make()
        if not there:
            raise SystemExit(f"README.md has no <!-- {name} --> ... <!-- end -->")
        if there[0] != table:
            wrong.append(name)
            text = text[: there.start()] + table + text[there.end() :]
    if args.check and wrong:
        raise SystemExit(f"not what the result files say: {', '.join(wrong)}; type python experiments/tables.py")
    if wrong:
        README.write_text(text, encoding="utf-8")
    print(f"{len(TABLES)} tables, {len(wrong)} changed")


if __name__ == "__main__":
    main()
