"""MNIST, the digit's name as rendered text, and spoken digits as log-mel spectrograms: 4 channels at 32 x 32.

python -m jointdiff.main --config=configs/digits.py --workdir=runs/digits

About 42 minutes on one core; then coherence is .89 to 1 in every direction and .91 from nothing (64 conditions each, 36
steps). The shipped weights go on from there, by the second and third command of jointdiff/models/digits.md: .95 to 1, and .98
from nothing (experiments/any_direction).
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
    c.sample.guidance, c.sample.guidance_between = 1.0, (0.2, 0.7)  # --guidance=0 for more variety
    return c
