"""MNIST, the digit's name as rendered text, and spoken digits as log-mel spectrograms: 4 channels at 32 x 32.

python -m jointdiff.main --config=configs/digits.py --workdir=runs/digits

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
