"""MNIST, the digit's name as rendered text, and spoken digits as log-mel spectrograms: 4 channels at 32 x 32.

python -m jointdiff.main --config=configs/digits.py --workdir=runs/digits

Three stages of 42, 42 and 24 minutes on one core: what is said, how it looks and sounds, and conditions that are noisy or
absent. Then coherence is .95 to 1 in every direction and .98 from nothing (experiments/any_direction): the shipped weights.
"""

from jointdiff.config import default, modality


def get_config():
    c = default()
    c.data.modalities = ("image", "text", "audio")
    c.modality.image = modality("image", "mnist")
    c.modality.text = modality("text", "words", {"cell": (6, 10)}, {"classes": "digits"})
    c.modality.audio = modality("audio", "spoken_digits", {"fold": (1, 2), "window": 0.032}, {"variants": 16})
    c.backbone.unet.widths = (48, 96, 192)
    # speech is the hardest to draw, words the easiest
    c.loss.weight.image, c.loss.weight.text, c.loss.weight.audio = 1.0, 0.6, 1.4
    c.optim.matrix_lr = 4e-3
    c.train.steps = 12000
    c.train.ema = 0.999
    lower = {"conditional": (0.5, 1.7), "absent": (0.8, 1.7)}
    c.train.stages = (
        {
            "train.steps": 8000,
            "optim.decay": 0.8,
            "backbone.unet.dropout": 0.05,
            "loss.weight.text": 0.5,
            **{f"loss.log_ratio.{pattern}": levels for pattern, levels in lower.items()},
        },
        {
            "train.steps": 4000,
            "optim.matrix_lr": 2e-3,
            "optim.lr": 5e-4,
            "optim.decay": 0.9,
            "loss.pattern": {"joint": 0.2, "conditional": 0.25, "independent": 0.15, "absent": 0.4},
            "loss.log_ratio.absent": (0.5, 1.7),
            "loss.log_ratio.independent": (0.5, 1.7),
        },
    )
    c.sample.guidance, c.sample.guidance_between = 1.0, (0.2, 0.7)  # --guidance=0 for more variety
    return c
