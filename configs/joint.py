"""All four kinds in one tensor: an MNIST digit, a CIFAR-10 picture, the picture's class as text, and the spoken digit.

python -m jointdiff.main --config=configs/joint.py --workdir=runs/joint

First everything as often; then, from there, more of what is hard: a photograph alone says the class in a quarter of the rows and
is drawn from one in another, at noise at which the class is still open. 12600 steps of 0.9 to 1.1 s on one core; not its end yet
(experiments/any_direction).
"""

from jointdiff.config import default, modality


def get_config():
    c = default()
    c.data.modalities = ("digit", "picture", "text", "audio")
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
    return c
