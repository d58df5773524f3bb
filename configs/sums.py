"""Two handwritten digits, their sum, and the reason ("3 and 5"): addition in all directions, 4 channels at 32 x 32.

python -m jointdiff.main --config=configs/sums.py --workdir=runs/sums
python -m jointdiff.main --config=configs/sums.py:questions --workdir=runs/questions

With `questions` what is asked is one more text: sum, larger or difference. 25000 steps of 0.41 s on one core, three hours.
"""

from jointdiff.config import default, modality

LINES = {"cell": (10, 10), "lines": True}


def get_config(variant=""):
    if variant not in ("", "questions"):
        raise ValueError(f"unknown variant {variant!r}; there is 'questions'")
    c = default()
    c.data.scene.name = "sums"
    c.modality.first = modality("image", "first")
    c.modality.second = modality("image", "second")
    c.modality.answer = modality("text", "answer", {"cell": (15, 30), "alphabet": "0123456789 "})
    c.modality.rationale = modality("text", "rationale", {**LINES, "alphabet": "0123456789 and"})
    if variant:
        c.data.scene.options.questions = ("sum", "larger", "difference")
        c.modality.question = modality("text", "question", {"cell": (6, 12)})
    c.data.modalities = ("first", "second", "answer", "rationale", *(("question",) if variant else ()))
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
    # what is drawn together has to fit: chosen on training rows
    c.sample.guidance, c.sample.guidance_between, c.sample.steps = 1.25, (0.2, 0.9), 24
    return c
