"""The joint-diffusion paper: CIFAR-10 (3 channels) and MNIST (1), paired by class, one time for all, replacement.

python -m jointdiff.main --config=configs/mnist_cifar10.py --workdir=runs/mnist_cifar10

About 8 minutes on one core (0.35 s a step); a sample takes 999 evaluations. Then, on 32 conditions, digit to picture has .13
and picture to digit .25, where real ones are told apart in .71 and .99 and chance is .10: one time for all learns what goes
together late. It is meant for a GPU and a hundred times the steps.
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
