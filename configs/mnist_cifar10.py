"""The joint-diffusion paper: CIFAR-10 (3 channels) and MNIST (1), paired by class, one time for all, replacement.

python -m jointdiff.main --config=configs/mnist_cifar10.py --workdir=runs/mnist_cifar10

@MC@
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
