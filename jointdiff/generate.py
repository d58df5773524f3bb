"""Sampling from the command line's words to a folder of results."""

import contextlib
import pathlib

import torch
from tqdm import tqdm

from . import build, processes
from .data import examples, restored
from .evaluate.towers import build_towers
from .files import folder_at_once
from .model import Model
from .order import steps_each, turns
from .plan import Plan, Sampling
from .results import Samples
from .streams import stream


def read_given(model: Model, arguments: list[str], num: int, seed: int) -> dict[str, torch.Tensor]:
    """Encoded conditions, `{name: (num or 1, C_m, H, W)}`, from arguments of the form

        NAME=VALUE      a text, or the path of a picture or sound
        NAME            examples from the test split, paired by class when several modalities are named so
        NAME=class:K    test examples of class K

    NAME may be parts of a film, such as film[0:3]. Raises ValueError that says what was wrong and what is possible.
    """
    out, pairs = {}, None
    bare = [model.layout.where(argument)[0] for argument in arguments if "=" not in argument]
    for argument in arguments:
        name, equals, value = argument.partition("=")
        whole, _ = model.layout.where(name)
        place, start = model.layout.place(name), model.layout.slices[whole].start
        inside = slice(place.start - start, place.stop - start)
        if name in out:
            raise ValueError(f"--given={name} stands twice")
        if equals and not value.startswith("class:"):
            out[name] = model.encode(name, value)
            continue
        if pairs is None:
            pairs = build.data(model.config, model.modalities, "test")
        row = int(torch.randint(len(pairs), (1,), generator=stream(seed, 41)))
        if not equals:
            out[name] = examples(pairs, tuple(dict.fromkeys(bare)), row, num)[whole][:, inside]
            continue
        classes = sorted(set(pairs.labels[whole].tolist()))
        wanted = value.removeprefix("class:")
        if not wanted.isdigit() or int(wanted) not in classes:
            raise ValueError(f"--given={argument}: expected a class from {classes[0]} to {classes[-1]}")
        rows = (pairs.labels[whole] == int(wanted)).nonzero()[:, 0]
        rows = rows[(row + torch.arange(num)) % len(rows)]
        out[name] = restored(pairs.values[whole][rows])[:, inside]
    return out


def read_numbers(flag: str, arguments: list[str], *words: str) -> dict[str, float | str]:
    """`{name: number, or one of the words}` from a flag's arguments of the form NAME=NUMBER or NAME=WORD."""
    out = {}
    for argument in arguments:
        name, _, value = argument.partition("=")
        try:
            out[name] = value if value in words else float(value)
        except ValueError:
            forms = " or ".join(f"NAME={form}" for form in ("NUMBER", *words))
            raise ValueError(f"--{flag}={argument}: expected {forms}") from None
    return out


def generate(
    model: Model,
    outdir: pathlib.Path,
    arguments: list[str],
    num: int,
    seed: int,
    leave_out=(),
    noise: list[str] | None = None,
    batch: int = 64,
    show=print,
    order=None,
    best_of: int = 1,
    by: str = "vote",
    **how,
) -> Samples:
    """Sample and write `samples.npz`, `grid.png`, `samples.json` and sounds to a new folder."""
    if num < 1:
        raise ValueError(f"--num={num}; expected at least 1")
    given = read_given(model, arguments, num, seed)
    whole = model.layout.whole(given, model.layout.check(leave_out))
    if len(whole) + len(leave_out) == len(model.layout.names) and not how.get("denoise_given"):
        raise ValueError("everything is given or left out: nothing is left to generate")
    levels = read_numbers("given_noise", noise or [], "auto")
    plan = {k: v for k, v in how.items() if k not in ("denoise_given", "steps")}
    generated = tuple(n for n in model.layout.names if n not in whole and n not in leave_out)
    plan_of = [(generated,)] if order is None else turns(model.layout, order, given, leave_out)
    counts = [how.get("steps")] if order is None else steps_each(how.get("steps"), plan_of)
    steps, evaluations = 0, 0
    for number, (turn, count) in enumerate(zip(plan_of, counts)):
        known = bool(given or number)
        for group in turn:
            steps += Plan(model, Sampling(**plan, steps=count), known).steps
            others = leave_out if known else [n for n in model.layout.names if n not in group]
            evaluations += model.cost(known, any(levels.values()), others, **plan, steps=count)
    if best_of > 1 and by == "agreement":
        by = build_towers(model.config, build.data(model.config, model.modalities, "train"), model.device).agreement
    common = dict(seed=seed, leave_out=leave_out, noise=levels, batch=batch, order=order, **how)
    # two steps of one batch, the second time round, say what an evaluation costs under this condition
    trial = {n: v[:1] for n, v in given.items()}
    for _ in range(2):
        tried = model.sample(trial, min(num * best_of, batch), **{**common, "steps": 2, "grid": None})
    batches = -(-num * best_of // batch)
    if model.shared:
        batches = -(-batches // processes.world())
    expected = tried.info["seconds"] / tried.info["evaluations"] * evaluations * batches
    least = "at least " if (how.get("sampler") or model.config.sample.sampler) == "adaptive" else ""
    show = show if processes.rank() == 0 else lambda line: None
    show(
        f"{num} samples of {', '.join(generated) or 'what is given'} from {', '.join(given) or 'nothing'}: "
        f"{least}{evaluations} network evaluations"
        f"{f' for each of {batches} batches' if batches > 1 else ''}, about {expected:.1f} s"
    )
    first = processes.rank() == 0
    with folder_at_once(outdir) if first else contextlib.nullcontext() as folder:
        with tqdm(total=batches * steps, disable=None if first else True, unit="step", leave=False) as bar:
            tell = lambda so_far: bar.update()
            if best_of > 1:
                drawn = model.best(given, num, best_of, by, on_step=tell, **common)
            else:
                drawn = model.sample(given, num, on_step=tell, **common)
        if not first:
            return drawn
        drawn.write(folder, given=list(arguments))
    for name in drawn:
        if drawn.kind(name) == "text":
            show(f"{name}: {', '.join(text.replace(chr(10), ' ') for text in drawn.texts(name))}")
    for name, level in drawn.info["noise"].items():
        show(f"noise of {name}: {', '.join(f'{v:.2f}' for v in level)}")
    show(f"{drawn.info['seconds']:.1f} s, written to {outdir}")
    return drawn
