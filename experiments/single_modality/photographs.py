"""Does company cost photographs anything? A network of photographs alone beside two that know words, digits and speech as well.

    python experiments/single_modality/photographs.py --workdir=runs/photographs_in_company       # an hour on one core; goes on
    python experiments/single_modality/photographs.py --workdir=runs/photographs_in_company --quick      # a minute

The network of configs/photographs.py, with a rate that stays: on photographs alone, on all four modalities of configs/joint.py that
weigh the same, and on these with a photograph weighing 17 times what each of the others does. What is measured is what run.py
measures, of photographs. Writes photographs.json after every figure, then photographs.md, beside this file or to --outdir.
"""

import functools

from run import ALONE, HERE, arguments, judged

from jointdiff import config as cfg

FILES = HERE.parents[1] / "configs"
MINUTES = (15,)
WEIGHED = {"loss.weight": {"picture": 3.4, "digit": 0.2, "text": 0.2, "audio": 0.2}}


def network(changes: dict, quick: bool):
    """configs/photographs.py with the modalities of configs/joint.py; when quick, small, and its pictures are all digits."""
    config, joint = (cfg.from_file(FILES / f"{name}.py") for name in ("photographs", "joint"))
    config.data.modalities, config.modality = joint.data.modalities, joint.modality
    config.loss.given, config.loss.weight, config.optim.decay = {}, {}, 0.0
    if quick:
        keypad = cfg.from_file(FILES / "keypad.py")
        config.data.grid, small = keypad.data.grid, keypad.modality
        config.modality.picture = config.modality.digit = small.image
        config.modality.text, config.modality.audio = small.text, small.audio
        config.backbone.unet.widths, config.train.batch = (16, 32), 8
    return cfg.changed(config, changes)


CONFIGS = {
    "company": functools.partial(network, {}),
    "picture": functools.partial(network, {"data.modalities": ("picture",), **ALONE}),
    "company, picture weighed": functools.partial(network, WEIGHED),
}

if __name__ == "__main__":
    args = arguments(__doc__, "photographs_in_company", HERE, CONFIGS, num=200, seeds=3)
    judged(args, CONFIGS, ("picture",), MINUTES, "photographs", likely=24)
