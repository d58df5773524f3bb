"""The joint-diffusion paper's own pair, MNIST and CIFAR-10: its way of training and sampling beside this package's.

    python experiments/mnist_cifar10/run.py --workdir=runs/mnist_cifar10           # four hours of training on one core
    python experiments/mnist_cifar10/run.py --workdir=runs/mnist_cifar10 --quick   # seconds

The same network, data and core-minutes (configs/mnist_cifar10.py), with a rate that stays; then six minutes more, from there, with
a rate that falls to 0 in 700 steps, as many as these are on a core that knows bfloat16. The paper's way: one time for all in
training, replacement and 50 steps of a predictor with a corrector in sampling, a tenth of that config's. Ours: all patterns of
times, clean conditions, ancestral steps. Nothing is guided. Three seeds of sampling, each with rows of its own.

Writes result.json after every figure, result.md, curves.png and samples.png beside this file, or to --outdir.
"""

import functools
import pathlib
import sys

import PIL.Image

from jointdiff import config as cfg
from jointdiff.report import beside, grid_picture, titled
from jointdiff.state import load_weights

HERE = pathlib.Path(__file__).parent
sys.path.insert(0, str(HERE.parent))
from contenders import CONFIGS, Contender, arguments, compare, table  # noqa: E402

MINUTES, FALLING = (15, 30, 60, 90, 120), (6,)


def way(name: str, quick: bool, falling: bool = False):
    """configs/mnist_cifar10.py; when quick, small, and its photographs are the digits that ship with scikit-learn."""
    config = cfg.from_file(f"{CONFIGS / 'mnist_cifar10.py'}:{name}")
    config.optim.decay = float(falling)
    if falling:
        config.train.steps, config.optim.warmup, config.train.ema = 700, 20, 0.99
    if quick:
        keypad = cfg.from_file(CONFIGS / "keypad.py")
        config.data.grid = keypad.data.grid
        config.modality.digit = config.modality.picture = keypad.modality.image
        config.backbone.unet.widths, config.train.batch = (16, 32, 32), 8
    return config


WAYS = {  # by the name of the config's variant, and how each draws
    "the paper's way": (
        "paper",
        {"condition": "replace", "sampler": "predictor_corrector", "steps": 50, "guidance": 0.0},
    ),
    "ours": ("ours", {"steps": 18, "guidance": 0.0}),
}
CONTENDERS = {
    title + more: Contender(minutes, functools.partial(way, name, falling=bool(more)), how, after=more and title)
    for more, minutes in (("", MINUTES), (", rate falling", FALLING))
    for title, (name, how) in WAYS.items()
}


def samples(args, rows: int = 8) -> PIL.Image.Image:
    """What each draws from nothing after all minutes."""
    panels = []
    for name, contender in CONTENDERS.items():
        minutes = max(contender.marks(args.quick))
        model = load_weights(args.workdir / name.replace(" ", "_") / f"{minutes:g}.safetensors")
        how = {**contender.sampling, **({"steps": 2} if args.quick else {})}
        panels.append(
            titled(grid_picture(model.modalities, model.sample(num=rows, **how), ()), f"{name}, from nothing")
        )
    return PIL.Image.fromarray(beside(panels))


def main():
    args = arguments(__doc__, "mnist_cifar10", HERE, CONTENDERS, seeds=3)
    if result := compare(args, CONTENDERS, each=True):
        samples(args).save(args.outdir / "samples.png")
        print(table(result, each=True))


if __name__ == "__main__":
    main()
