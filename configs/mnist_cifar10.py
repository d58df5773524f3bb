"""The joint-diffusion paper: CIFAR-10 (3 channels) and MNIST (1), paired by class, one time for all, replacement.

python -m jointdiff.main --config=configs/mnist_cifar10.py --workdir=runs/mnist_cifar10

About 7 minutes on one core (0.35 s a step); a sample takes 999 evaluations. After 382 steps of it, on 16 conditions, both
directions are at chance (digit .19, picture .13, where real ones are told apart in .99 and .71): one time for all learns what
goes together late. It is meant for a GPU and a hundred times the steps.
"""

from jointdiff.config import default, modality


def get_config():
    c = default()
    c.data.modalities = ("digit", "picture")
    c.modality.digit = modality("image", "mnist")
    c.modality.picture = modality("image", "cifar10", {"mode": "RGB"})
    for pattern in c.loss.pattern:
        c.loss.pattern[pattern] = float(pattern == "joint")
    c.sample.condition, c.sample.sampler, c.sample.steps = "replace", "predictor_corrector", 500
    c.train.steps = 1200
    c.train.evaluate_every = 0  # a sample takes 999 evaluations
    c.train.ema = 0.999
    return c
