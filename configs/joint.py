"""All four kinds in one tensor: an MNIST digit, a CIFAR-10 picture, the picture's class as text, and the spoken digit.

python -m jointdiff.main --config=configs/joint.py --workdir=runs/joint

First everything as often; then, from there, more of what is hard: a photograph alone says the class in a quarter of the rows and
is drawn from one in another, at noise at which the class is still open. 12600 steps of 0.9 to 1.1 s on one core, half of that with
bfloat16. Then a run that reads photographs in most rows, and one that reads photographs with noise, by which those that are
drawn can be led (experiments/any_direction):

python -m jointdiff.main --config=configs/joint.py:reading --config.train.init=runs/joint --workdir=runs/reading
python -m jointdiff.main --config=configs/joint.py:noisy --config.train.init=runs/reading --workdir=runs/noisy

and one that looks at two photographs more for every row:

python -m jointdiff.main --config=configs/joint.py:seeing --config.train.init=runs/noisy --workdir=runs/seeing
"""

import itertools

from jointdiff.config import default, modality, staged

PARTS = ("digit", "picture", "text", "audio")


def get_config(variant=""):
    if variant and variant not in VARIANTS:
        raise ValueError(f"unknown variant {variant!r}; there are {', '.join(VARIANTS)}")
    c = default()
    c.data.modalities = PARTS
    c.modality.digit = modality("image", "mnist")
    # what a picture shows appears at a quarter of the noise at which a word can be read
    c.modality.picture = modality("image", "cifar10", {"mode": "RGB"}, scale=4.0, mirror=True)
    c.modality.text = modality("text", "words", {"cell": (6, 10)}, {"classes": "cifar10"})
    c.modality.audio = modality("audio", "spoken_digits", {"fold": (1, 2), "window": 0.032}, {"variants": 16})
    c.backbone.unet.widths, c.backbone.unet.blocks = (96, 176, 192), (1, 2, 1)
    c.backbone.unet.attention = (False, True, True)
    c.backbone.blank = True
    # pictures are the hardest to draw and to tell apart
    c.loss.weight.digit, c.loss.weight.picture, c.loss.weight.text, c.loss.weight.audio = 0.8, 1.6, 0.6, 1.0
    c.loss.given.picture = 9.0
    c.loss.align.modality = "picture"  # what it shows is seen long before the loss alone would need it
    c.loss.align.weight = 1.5
    c.loss.pattern.absent = 0.2
    c.loss.pattern.conditional = 0.4
    c.optim.decay = 0.0
    c.train.steps = 4100
    c.train.evaluate_every = 4000
    c.train.evaluate_num = 128
    c.train.stages = (
        {
            "loss.pattern.joint": 0.15,
            "loss.pattern.conditional": 0.65,
            "loss.pattern.independent": 0.05,
            "loss.pattern.absent": 0.15,
            "loss.log_ratio.conditional": (1.6, 1.7),
            "loss.given.picture": 6.0,
            "optim.decay": 0.35,
            "train.steps": 8500,
        },
    )
    return VARIANTS[variant](c) if variant else c


def reading(c):
    """A run that starts where the other ended: a photograph alone is given in most rows, and what it says weighed most."""
    c = staged(c)[-1]
    c.train.stages, c.train.evaluate_every = (), 0
    c.loss.pattern.joint, c.loss.pattern.conditional = 0.15, 0.6
    c.loss.pattern.independent, c.loss.pattern.absent = 0.0, 0.25
    c.loss.given = {"+".join(s): 0.0 for k in (1, 2, 3) for s in itertools.combinations(PARTS, k)}
    c.loss.given.update({"picture": 10.0, "text": 3.0})
    c.loss.log_ratio.conditional = (2.0, 1.5)
    c.loss.weight = {"digit": 2.0, "picture": 1.0, "text": 3.0, "audio": 2.0}
    c.loss.align.weight = 5.0
    c.optim.warmup, c.optim.decay, c.train.ema, c.train.steps = 50, 0.6, 0.998, 5000
    return c


def noisy(c):
    """A run after that: what is in a photograph with noise is read, often with nothing beside it."""
    c = reading(c)
    c.data.missing = 0.4
    c.loss.pattern.joint, c.loss.pattern.conditional = 0.1, 0.3
    c.loss.pattern.independent, c.loss.pattern.absent = 0.45, 0.15
    c.loss.log_ratio.independent, c.loss.log_ratio.absent = (2.1, 1.6), (2.0, 1.6)
    c.loss.given.update({"text": 3.0, "digit": 3.0, "audio": 3.0})
    c.loss.weight = {"digit": 1.0, "picture": 1.5, "text": 3.0, "audio": 1.5}
    c.loss.align.below = 10.0
    c.train.ema, c.train.steps = 0.999, 9000
    c.sample.reading.picture, c.sample.reading_shift.picture = 25.0, 6
    return c


def seeing(c):
    """A run after that: two photographs are only looked at for every whole row, as it is to see that takes many."""
    c = noisy(c)
    c.data.missing = 0.3
    c.loss.pattern.joint, c.loss.pattern.conditional = 0.15, 0.4
    c.loss.pattern.independent, c.loss.pattern.absent = 0.25, 0.2
    c.loss.given.update({"picture": 8.0, "text": 4.0})
    c.loss.align.rows, c.loss.align.weight = 128, 3.0
    c.optim.decay, c.train.steps = 1.0, 4400
    return c


VARIANTS = {"reading": reading, "noisy": noisy, "seeing": seeing}
