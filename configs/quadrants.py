"""PolyMNIST-D-Q: three views of a digit in a quadrant, the digit's name and the quadrant's; 11 channels at 64 x 64.

python -m jointdiff.main --config=configs/quadrants.py --workdir=runs/quadrants

Three rows of four lack one or two of their views. The backgrounds are pictures in polymnist_backgrounds/ under the data
root. 12000 steps of 1.2 s on one core of an AMD EPYC; not trained to its end yet.
"""

from jointdiff.config import default, modality

VIEWS = ("view0", "view1", "view2")


def get_config():
    c = default()
    c.data.scene.name = "quadrants"
    c.data.grid = (64, 64)
    c.data.modalities = (*VIEWS, "digit", "quadrant")
    for name in VIEWS:
        c.modality[name] = modality("image", name, {"mode": "RGB"})
    c.modality.digit = modality("text", "digit", {"cell": (12, 20)})
    c.modality.quadrant = modality("text", "quadrant", {"cell": (12, 20), "lines": True})
    c.backbone.unet.widths, c.backbone.unet.blocks = (64, 96, 160, 192), (1, 1, 2, 1)
    c.backbone.unet.attention = (False, False, True, True)
    c.backbone.blank = True
    c.loss.weight.digit = c.loss.weight.quadrant = 0.4
    c.loss.pattern.joint, c.loss.pattern.conditional = 0.25, 0.4
    c.loss.pattern.independent, c.loss.pattern.absent = 0.05, 0.3
    c.loss.given.digit = c.loss.given.quadrant = 2.0
    c.optim.matrix_lr = 4e-3
    c.train.steps = 12000
    c.train.ema = 0.999
    c.train.evaluate_every = 4000
    return c
