"""The tables of the README, and of some experiments' pages, made from the result files that lie beside the experiments.

python experiments/tables.py           # puts them into the pages, between <!-- NAME --> and <!-- end -->
python experiments/tables.py --check   # fails, and says which, if one is not what the result files say
"""

import argparse
import pathlib
import re

from made import (
    alike,
    conditions,
    directions,
    few,
    films,
    fresh,
    noisy,
    published,
    questions,
    relations,
    shuffled,
    written,
)

ROOT = pathlib.Path(__file__).parents[1]

PAGES = {
    "README.md": {
        "digits": lambda: directions("digits", "`digits` (shipped weights; MNIST, word, speech)"),
        "keypad": lambda: directions("keypad", "`keypad` (the first command)"),
        "joint": lambda: directions("joint", "`joint` (shipped weights; photograph, its word, MNIST, speech)"),
        "relations": relations,
        "published": published,
        "noisy": noisy,
        "few": few,
        "conditions": conditions,
    },
    "experiments/sums/README.md": {
        "questions": questions,
        "reading": written("sums", "reading"),
        "asked": written("sums", "questions"),
    },
    "experiments/bounce/README.md": {
        "films": films,
        "levels": written("bounce", "levels"),
    },
    "experiments/solvers/README.md": {"few": written("solvers", "few")},
    "experiments/baselines/README.md": {"contenders": written("baselines")},
    "experiments/fusion/README.md": {
        "contenders": written("fusion"),
        "cost": written("fusion", "cost"),
    },
    "experiments/mnist_cifar10/README.md": {"ways": written("mnist_cifar10")},
    "experiments/noisy_text/README.md": {"fresh": fresh},
    "experiments/photographs/README.md": {"photographs": written("photographs")},
    "experiments/polymnist/README.md": {"models": written("polymnist")},
    "experiments/any_direction/README.md": {
        "asked": written("any_direction", "asked"),
        "kept": written("any_direction", "kept"),
        "heard": written("any_direction", "heard"),
        "led": written("any_direction", "led"),
    },
    "experiments/conflict/README.md": {"cure": written("conflict", "cure")},
    "experiments/single_modality/README.md": {
        "company": written("single_modality"),
        "photographs": written("single_modality", "photographs"),
    },
    "experiments/quadrants/README.md": {"questions": written("quadrants")},
    "experiments/shared_features/README.md": {"alike": alike, "shuffled": shuffled},
    "experiments/new_modality/README.md": {"arms": written("new_modality")},
}


def block(name: str) -> re.Pattern:
    return re.compile(rf"(?<=<!-- {name} -->\n\n)(?:(?!<!--).)*?(?=\n\n<!-- end -->)", re.S)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    args = parser.parse_args()
    wrong = []
    for page, tables in PAGES.items():
        text = old = (ROOT / page).read_text(encoding="utf-8")
        for name, make in tables.items():
            there, table = block(name).search(text), make()
            if not there:
                raise SystemExit(f"{page} has no <!-- {name} --> ... <!-- end -->")
            if there[0] != table:
                wrong.append(f"{name} in {page}")
                text = text[: there.start()] + table + text[there.end() :]
        if text != old and not args.check:
            (ROOT / page).write_text(text, encoding="utf-8")
    if args.check and wrong:
        raise SystemExit(f"not what the result files say: {', '.join(wrong)}; type python experiments/tables.py")
    print(f"{len(wrong)} tables changed" if wrong else "all tables are what the result files say")


if __name__ == "__main__":
    main()
