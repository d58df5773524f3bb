"""CIFAR-10 photographs and their classes as words: nothing else, so that to draw photographs has almost all of the training.

python -m jointdiff.main --config=configs/photographs.py --workdir=runs/photographs

4000 steps of 0.5 s on one core with bfloat16 (experiments/photographs). Then a run with more of what the word decides, at the noise
at which it is decided:

python -m jointdiff.main --config=configs/photographs.py:longer --config.train.init=runs/photographs --workdir=runs/longer
"""

from jointdiff.config import default, modality


def get_config(variant=""):
    if variant not in ("", "longer"):
        raise ValueError(f"unknown variant {variant!r}; there is 'longer'")
    c = default()
    c.data.modalities = ("picture", "text")
    c.modality.picture = modality("image", "cifar10", {"mode": "RGB"}, scale=4.0, mirror=True)
    c.modality.text = modality("text", "words", {"cell": (6, 10)}, {"classes": "cifar10"})
    # two blocks where the detail is, and little below
    c.backbone.unet.widths, c.backbone.unet.blocks, c.backbone.unet.attention = (96, 128), (2, 1), (False, True)
    c.backbone.blank = True
    c.loss.pattern.joint, c.loss.pattern.conditional = 0.2, 0.6
    c.loss.pattern.independent, c.loss.pattern.absent = 0.0, 0.2
    for pattern in ("joint", "conditional", "absent"):
        c.loss.log_ratio[pattern] = (0.7, 1.6)
    c.loss.given = {"text": 9.0, "picture": 1.0}
    c.loss.weight = {"picture": 1.9, "text": 0.1}
    c.optim.decay = 0.6
    c.train.steps, c.train.ema, c.train.evaluate_every = 4000, 0.999, 0
    return longer(c) if variant else c


def longer(c):
    """A run after that: the word is given in more of the rows, with more noise, and photographs are drawn with guidance."""
    c.loss.pattern.conditional, c.loss.pattern.absent = 0.65, 0.15
    c.loss.log_ratio.conditional = (1.3, 1.6)
    c.loss.log_ratio.joint = c.loss.log_ratio.absent = (1.1, 1.6)
    c.optim.decay, c.train.steps = 0.7, 6000
    c.sample.guidance, c.sample.steps = 5.0, 36  # chosen on training rows
    return c
