"""MNIST, the digit's name as rendered text, and spoken digits as log-mel spectrograms: 6 channels at 32 x 32.

python -m jointdiff.main --config=configs/digits.py --workdir=runs/digits

"""

from jointdiff.config import default, modality


def get_config():
    c = default()
    c.data.modalities = ("image", "text", "audio")
    c.modality.image = modality("image", "mnist")
    c.modality.text = modality("text", "words", {"cell": (6, 10)}, {"classes": "digits"})
    c.modality.audio = modality("audio", "spoken_digits", {"fold": (2, 2)}, {"variants": 16})
    c.backbone.unet.widths = (48, 96, 192)
    c.train.steps = 17000
    return c
