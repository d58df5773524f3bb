"""Scenes: rows whose modalities are made together, where what belongs together is more than a class.

A scene is a function `(root, split, **options) -> Scene`. Row i is a pure function of (split, i), made from the split's own items.
What a row is about is its *world*, one of K; `shows` says what can be read of each world in each part: so a relation between
parts (two digits and their sum) is judged as a class is, by whether some world shows all that was read.
"""

import pathlib
from collections.abc import Callable

import numpy as np

from .bounce import bounce
from .items import Scene
from .quadrants import quadrants
from .sources import SOURCES

QUESTIONS: dict[str, Callable] = {"sum": np.add, "larger": np.maximum, "difference": lambda a, b: abs(a - b)}


def sums(root: pathlib.Path, split: str, source: str = "mnist", questions: tuple[str, ...] = ("sum",)) -> Scene:
    """Two handwritten digits, a question ("sum", "larger", "difference"), its answer ("8"), and the reason ("3\\nand\\n5").

    Every picture of the source stands in one row: 30000 rows of MNIST to train on and 5000 to test, as in the addition
    benchmark of Manhaeve et al. 2018, arXiv:1805.10872, section 6.
    """
    unknown = [q for q in questions if q not in QUESTIONS]
    if unknown or not questions:
        raise ValueError(f"unknown questions {unknown}; there are {', '.join(QUESTIONS)}")
    items, rng = SOURCES[source](root, split), np.random.default_rng([0, split == "train"])
    order = rng.permutation(len(items.labels) // 2 * 2).reshape(-1, 2)
    first, second = order.T
    asked = rng.permutation(len(order)) % len(questions)
    a, b = items.labels[first], items.labels[second]
    of_q, of_a, of_b = (x.ravel() for x in np.indices((len(questions), 10, 10)))  # of the worlds
    answers = np.select([of_q == i for i in range(len(questions))], [QUESTIONS[q](of_a, of_b) for q in questions])
    worlds = (asked * 10 + a) * 10 + b
    return Scene(
        worlds,
        {"first": of_a, "second": of_b, "question": of_q, "answer": answers, "rationale": of_a * 10 + of_b},
        {
            "first": lambda rows: items.raw[first[rows]],
            "second": lambda rows: items.raw[second[rows]],
            "question": lambda rows: [questions[q] for q in asked[rows]],
            "answer": lambda rows: [str(answer) for answer in answers[worlds[rows]]],
            "rationale": lambda rows: [f"{x}\nand\n{y}" for x, y in zip(a[rows], b[rows])],
        },
        {"first": source, "second": source},
    )


SCENES = {"sums": sums, "bounce": bounce, "quadrants": quadrants}
