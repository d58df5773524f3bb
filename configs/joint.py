"""All four kinds in one tensor: an MNIST digit, a CIFAR-10 picture, the picture's class as text, and the spoken digit.

python -m jointdiff.main --config=configs/joint.py --workdir=runs/joint

"""

from jointdiff.config import default, modality


def get_config():
    c = default()
    c.data.modalities = ("digit", "picture", "text", "audio")
    c.modality.digit = modality("image", "mnist")
    c.modality.picture = modality("image", "cifar10", {"mode": "RGB"})
    c.modality.text = modality("text", "words", {"cell": (6, 10)}, {"classes": "cifar10"})
    c.modality.audio = modality("audio", "spoken_digits", {"fold": (2, 2)}, {"variants": 16})
    c.backbone.unet.widths = (96, 192, 256)
    c.backbone.unet.blocks = (2, 3, 3)
    c.backbone.unet.attention = (False, True, True)
    c.train.steps = 200000
    return c
