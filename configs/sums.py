"""Two handwritten digits, their sum, and the reason ("3 and 5"): addition in all directions, 4 channels at 32 x 32.

python -m jointdiff.main --config=configs/sums.py --workdir=runs/sums
python -m jointdiff.main --config=configs/sums.py:questions --workdir=runs/questions

25000 steps of 0.41 s on one core, three hours. With `questions` what is asked is one more text, sum, larger or difference:
1500 steps from the shipped weights. Runs of 3500, 3600 and 1800 steps teach the first to read better and to draw evenly again:

python -m jointdiff.main --config=configs/sums.py:reading --config.train.init=runs/sums --workdir=runs/reading
python experiments/between.py --models runs/sums runs/reading --share=0.7 --out=runs/start.safetensors
python -m jointdiff.main --config=configs/sums.py:all --config.train.init=runs/start.safetensors --workdir=runs/all
python experiments/between.py --models runs/all runs/reading --share=0.5 --out=runs/between.safetensors
python -m jointdiff.main --config=configs/sums.py:draw --config.train.init=runs/between.safetensors --workdir=runs/draw
"""

import itertools

from jointdiff.config import default, modality, staged

LINES = {"cell": (10, 10), "lines": True}
PARTS = ("first", "second", "answer", "rationale")
VARIANTS = ("", "questions", "reading", "all", "draw")


def get_config(variant=""):
    if variant not in VARIANTS:
        raise ValueError(f"unknown variant {variant!r}; there are {', '.join(VARIANTS[1:])}")
    c = default()
    c.data.scene.name = "sums"
    c.modality.first = modality("image", "first")
    c.modality.second = modality("image", "second")
    c.modality.answer = modality("text", "answer", {"cell": (15, 30), "alphabet": "0123456789 "})
    c.modality.rationale = modality("text", "rationale", {**LINES, "alphabet": "0123456789 and"})
    if variant == "questions":
        c.data.scene.options.questions = ("sum", "larger", "difference")
        c.modality.question = modality("text", "question", {"cell": (6, 12)})
    c.data.modalities = ("first", "second", "answer", "rationale", *(("question",) if variant == "questions" else ()))
    c.backbone.unet.widths = (48, 96, 192)
    c.backbone.blank = True
    c.loss.weight.answer, c.loss.weight.rationale = 0.7, 0.7
    c.loss.pattern.joint, c.loss.pattern.conditional = 0.2, 0.4
    c.loss.pattern.independent, c.loss.pattern.absent = 0.05, 0.35
    # a sum in large figures is decided at more noise than a picture
    c.loss.log_ratio.conditional = c.loss.log_ratio.absent = (1.5, 1.7)
    c.optim.matrix_lr = 4e-3
    c.optim.decay = 0.0
    c.train.steps = 5000
    c.train.ema = 0.999
    c.train.evaluate_every = 4000
    # then more of what is hard: to read both digits at once, and to take one of them from the sum
    c.train.stages = (
        {
            "loss.pattern.conditional": 0.5,
            "loss.pattern.absent": 0.25,
            "loss.given": {
                **dict.fromkeys(("first", "second"), 3.0),
                "answer": 2.0,
                "first+second": 8.0,
                **dict.fromkeys(("first+answer", "second+answer"), 3.0),
            },
            "optim.decay": 0.5,
            "train.steps": 8000,
        },
        # what is left to learn is to read: the judge of the pictures teaches that
        {"loss.align.modality": "first+second", "loss.align.weight": 1.0, "train.steps": 12000},
    )
    # what is drawn together has to fit: chosen on training rows, with other seeds than those of the experiment
    c.sample.guidance, c.sample.guidance_between, c.sample.steps = 2.5, (0.2, 0.8), 24
    return more(c, variant) if variant else c


def more(c, variant):
    """Runs that start where others ended; `train.init` says which."""
    c = staged(c)[-1]
    c.train.stages = ()
    c.train.evaluate_every, c.train.checkpoint_every = 0, 500
    c.loss.pattern.independent = 0.0
    c.loss.given.update({"+".join(s): 0.0 for s in itertools.combinations(PARTS, 3)})
    moved = {"modality.first.moved": 2, "modality.second.moved": 2}
    if variant == "reading":  # both pictures given in most of the rows, and what they say weighed most
        c.loss.pattern.joint, c.loss.pattern.conditional, c.loss.pattern.absent = 0.15, 0.6, 0.25
        c.loss.given.update({**dict.fromkeys(PARTS, 0.0), "first+second": 40.0})
        c.loss.log_ratio.conditional = (2.0, 1.5)
        c.loss.weight.answer, c.loss.weight.rationale, c.loss.align.weight = 4.0, 4.0, 5.0
        c.optim.warmup, c.optim.decay, c.train.ema, c.train.steps = 50, 0.8, 0.998, 2000
        c.train.stages = ({**moved, "train.steps": 1500},)
        return c
    # everything again, and reading still often
    c.update_from_flattened_dict(moved)
    c.loss.pattern.joint, c.loss.pattern.conditional, c.loss.pattern.absent = 0.2, 0.5, 0.3
    c.loss.given.update({"answer": 8.0, "first+second": 30.0})
    c.loss.log_ratio.conditional = c.loss.log_ratio.absent = (1.7, 1.6)
    c.loss.weight.answer, c.loss.weight.rationale, c.loss.align.weight = 3.0, 3.0, 4.0
    c.optim.matrix_lr, c.optim.lr, c.optim.warmup, c.optim.decay = 2e-3, 5e-4, 30, 0.9
    c.train.ema, c.train.steps = 0.996, 1200
    if variant == "questions":  # what is asked has to be read as well as the digits
        every = itertools.chain(*(itertools.combinations((*PARTS, "question"), k) for k in range(1, 5)))
        c.loss.given = {
            **{"+".join(s): 0.0 for s in every},
            "first+second+question": 1.0,
            "first+second+rationale+question": 1.0,
        }
        c.train.init, c.train.ema, c.train.steps = "sums", 0.995, 1500
        c.optim.matrix_lr, c.optim.lr = 4e-3, 1e-3
        return c
    if variant == "draw":  # and from a sum two digits, as often as every other pair
        c.loss.pattern.joint, c.loss.pattern.conditional, c.loss.pattern.absent = 0.15, 0.45, 0.4
        c.loss.given.update({"answer": 24.0, "first+second": 24.0})
        c.train.ema, c.train.steps = 0.998, 1800
        return c
    longer = {"optim.matrix_lr": 3e-3, "optim.lr": 7e-4, "optim.decay": 0.8, "train.ema": 0.998, "train.steps": 2400}
    c.train.stages = ({"loss.given.answer": 12.0, **longer},)
    return c
