"""All four kinds in one tensor: an MNIST digit, a CIFAR-10 picture, the picture's class as text, and the spoken digit.

python -m jointdiff.main --config=configs/joint.py --workdir=runs/joint

About 9 minutes on one core (0.4 s a step). Then, on 64 conditions: text to digit .95, digit to text .83, text to speech
.83, digit to speech .73, speech to text .70; pictures from anything .22 to .31 and anything from a picture alone .14 to .23,
where real pictures are told apart in .71: those want a GPU and a hundred times the steps.
"""

from jointdiff.config import default, modality


def get_config():
    c = default()
    c.data.modalities = ("digit", "picture", "text", "audio")
    c.modality.digit = modality("image", "mnist")
    c.modality.picture = modality("image", "cifar10", {"mode": "RGB"})
    c.modality.text = modality("text", "words", {"cell": (6, 10)}, {"classes": "cifar10"})
    c.modality.audio = modality("audio", "spoken_digits", {"fold": (1, 2), "window": 0.032}, {"variants": 16})
    c.train.steps = 1200
    c.train.evaluate_every = 600
    c.train.ema = 0.999
    return c
