"""All four kinds in one tensor: an MNIST digit, a CIFAR-10 picture, the picture's class as text, and the spoken digit.

python -m jointdiff.main --config=configs/joint.py --workdir=runs/joint

About 8 minutes on one core (0.4 s a step). After 386 steps of it, on 32 conditions: text to digit .91, digit to text .81, digit
to speech .75; pictures from anything .09 to .25 and anything from pictures .16 to .31, where real pictures are told apart in
.71: those want a GPU and a hundred times the steps.
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
