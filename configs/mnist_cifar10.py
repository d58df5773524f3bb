"""The joint-diffusion paper: CIFAR-10 (3 channels) and MNIST (1), paired by class; the paper's way, and this package's.

python -m jointdiff.main --config=configs/mnist_cifar10.py --workdir=runs/paper
python -m jointdiff.main --config=configs/mnist_cifar10.py:ours --workdir=runs/ours

The paper's way is one time for all in training, replacement and a predictor-corrector in sampling (999 evaluations a sample).
Ours is all patterns of times and clean conditions (18 evaluations). Both have the same network, data and 8400 steps, of 0.85 s on
one core, half of that with bfloat16. Twice as many were not enough for either to draw a digit and a photograph that agree
(experiments/mnist_cifar10).
"""

from jointdiff.config import default, modality


def get_config(way: str = "paper"):
    if way not in ("paper", "ours"):
        raise ValueError(f"unknown way {way!r} of configs/mnist_cifar10.py; there are paper, ours")
    c = default()
    c.data.modalities = ("digit", "picture")
    c.modality.digit = modality("image", "mnist")
    c.modality.picture = modality("image", "cifar10", {"mode": "RGB"}, mirror=True)
    c.backbone.unet.widths, c.backbone.unet.blocks = (96, 176, 192), (1, 2, 1)
    c.backbone.unet.attention = (False, True, True)
    c.train.steps = 8400
    c.train.evaluate_every = 0
    c.train.ema = 0.999
    if way == "paper":
        for pattern in c.loss.pattern:
            c.loss.pattern[pattern] = float(pattern == "joint")
        c.sample.condition, c.sample.sampler, c.sample.steps = "replace", "predictor_corrector", 500
    else:
        c.modality.picture.scale = 4.0  # what it shows appears at a quarter of the noise at which a digit can be read
        c.backbone.blank = True
        c.loss.weight.digit, c.loss.weight.picture = 0.7, 1.3
        c.loss.given.picture = 3.0
        c.loss.align.modality, c.loss.align.weight = "picture", 1.5
        c.train.evaluate_every, c.train.evaluate_num = 2100, 200
    return c
