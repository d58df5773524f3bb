"""A handwritten digit that flies and bounces: 16 frames of film, the knocks, a caption and the digit's picture, at 32 x 32.

python -m jointdiff.main --config=configs/bounce.py --workdir=runs/bounce

Two stages, of 8200 and 7800 steps of 0.97 s on one core, four hours and a half: after the first, sound and motion are in step and
most films show their caption's digit, after the second nearly all (experiments/bounce).
"""

from jointdiff.config import default, modality


def get_config():
    c = default()
    c.data.scene.name = "bounce"
    c.data.modalities = ("picture", "film", "sound", "caption")
    c.modality.picture = modality("image", "picture")
    c.modality.film = modality("video", "film", {"frames": 16, "fps": 16.0})
    c.modality.sound = modality("audio", "sound", {"fold": (1, 2), "window": 0.032})
    c.modality.caption = modality("text", "caption", {"cell": (6, 10), "lines": True})
    c.backbone.unet.widths, c.backbone.unet.blocks = (64, 128, 192), (1, 2, 1)
    c.backbone.unet.attention = (False, True, True)
    c.backbone.unet.frame_width = 48  # a film is 16 examples of a shape
    c.backbone.blank = True
    c.loss.weight.picture, c.loss.weight.film, c.loss.weight.sound, c.loss.weight.caption = 0.5, 3.0, 1.0, 0.4
    c.loss.given.caption, c.loss.given.film = 3.0, 2.0
    c.loss.pattern.joint, c.loss.pattern.conditional = 0.2, 0.5
    c.loss.pattern.independent, c.loss.pattern.absent = 0.05, 0.25
    c.loss.align.modality, c.loss.align.weight = "picture+film", 1.0
    c.optim.matrix_lr = 4e-3
    c.train.steps = 8200
    c.train.ema = 0.999
    c.train.evaluate_every = 4100
    # then more of what a caption decides, where hardly anything of the film is to be seen
    c.train.stages = (
        {
            "seed": 1,
            "train.steps": 7800,
            "train.ema": 0.9993,
            "optim.matrix_lr": 3.5e-3,
            "optim.decay": 0.6,
            "loss.pattern": {"joint": 0.2, "conditional": 0.4, "independent": 0.05, "absent": 0.35},
            "loss.log_ratio.joint": (0.7, 1.7),
            "loss.log_ratio.conditional": (1.2, 1.7),
            "loss.log_ratio.absent": (1.3, 1.7),
        },
    )
    # chosen on training rows; at less noise than `lowest` its estimates get worse, and leave some in what is drawn
    c.sample.guidance, c.sample.guidance_between = 3.0, (0.2, 0.98)
    c.sample.steps, c.sample.lowest = 24, 0.4
    return c
