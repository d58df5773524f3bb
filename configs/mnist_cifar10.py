"""The joint-diffusion paper: CIFAR-10 (3 channels) and MNIST (1), paired by class, one time for all.

python -m jointdiff.main --config=configs/mnist_cifar10.py --workdir=runs/mnist_cifar10

"""

from jointdiff.config import default, modality


def get_config():
    c = default()
    c.data.modalities = ("digit", "picture")
    c.modality.digit = modality("image", "mnist")
    c.modality.picture = modality("image", "cifar10", {"mode": "RGB"})
    c.backbone.unet.widths = (96, 192, 256)
    c.backbone.unet.blocks = (2, 3, 3)
    c.backbone.unet.attention = (False, True, True)
    c.loss.pattern = {"joint": 1.0, "conditional": 0.0, "independent": 0.0, "absent": 0.0}
    c.sample.condition = "replace"
    c.sample.sampler = "predictor_corrector"
    c.sample.steps = 500
    c.train.steps = 200000
    return c
