"""PolyMNIST: five views of a digit, each written by another hand and pasted on a background of its own; 15 channels at 28 x 28.

python -m jointdiff.main --config=configs/polymnist.py --workdir=runs/polymnist
python -m jointdiff.main --config=configs/polymnist.py:half --workdir=runs/half
python -m jointdiff.main --config=configs/polymnist.py:towers --workdir=runs/towers

The backgrounds are pictures in polymnist_backgrounds/ under the data root, one a view. With `half` every row of training lacks
each of its views as often as not, but never all. With `towers` the network is taught to see by small ones that have learned
which views belong together. Nothing but the views is used to train, no label. 8000
steps of 0.4 to 0.8 s on one core of an AMD EPYC, one to two hours (experiments/polymnist).
"""

from jointdiff.config import default, modality


def get_config(variant=""):
    if variant not in ("", "half", "towers"):
        raise ValueError(f"unknown variant {variant!r}; there are 'half' and 'towers'")
    c = default()
    c.data.grid = (28, 28)
    c.data.modalities = tuple(f"view{i}" for i in range(5))
    for i, name in enumerate(c.data.modalities):
        c.modality[name] = modality("image", "polymnist", {"mode": "RGB"}, {"view": i})
    c.data.missing = 0.5 if variant == "half" else 0.0
    c.backbone.unet.widths, c.backbone.unet.blocks = (96, 192), (2, 2)
    c.backbone.unet.attention = (False, True)
    c.backbone.blank = True
    c.loss.pattern.joint, c.loss.pattern.conditional = 0.25, 0.4
    c.loss.pattern.independent, c.loss.pattern.absent = 0.05, 0.3
    c.loss.given = dict.fromkeys(c.data.modalities, 1.0)  # sets of all sizes, the small ones more often
    c.optim.matrix_lr = 4e-3
    c.train.steps = 8000
    c.train.ema = 0.999
    c.train.evaluate_every = 2000
    # chosen on training rows
    c.sample.guidance, c.sample.guidance_between, c.sample.lowest = 3.0, (0.2, 0.98), 0.2
    return towers(c) if variant == "towers" else c


def towers(c):
    """What views share is seen after some hundred steps; a tenth of the weight keeps it from then on."""
    c.loss.align.modality, c.loss.align.teacher, c.loss.align.weight = "+".join(c.data.modalities), "towers", 1.0
    c.optim.decay, c.train.steps, c.train.evaluate_every = 0.0, 1075, 0
    c.train.stages = ({"loss.align.weight": 0.1, "optim.warmup": 50, "optim.decay": 0.5, "train.steps": 2010},)
    c.sample.guidance = 1.5  # chosen on training rows
    return c
