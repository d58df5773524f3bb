"""The model card: what a model is, how it was trained, what it was measured to do, and on whose data.

Mitchell et al. 2019, arXiv:1810.03993.
"""

from . import config as cfg

ABOUT = {  # of every source: what it is, by whom, its licence
    "handwritten": "handwritten digits of 8 x 8 pixels, Alpaydin and Kaynak 1998, doi:10.24432/C50P49, CC BY 4.0",
    "dtmf": "key tones of a telephone, synthesised",
    "words": "the classes' names, drawn with Pillow's own font",
    "mnist": "MNIST, Y. LeCun and C. Cortes, widely stated as CC BY-SA 3.0",
    "fashion_mnist": "Fashion-MNIST, Xiao, Rasul and Vollgraf 2017, arXiv:1708.07747, MIT",
    "cifar10": "CIFAR-10, A. Krizhevsky 2009, no licence stated",
    "polymnist": "MNIST's digits on crops of the user's pictures, as Sutter et al. 2021, arXiv:2105.02470",
    "spoken_digits": "Free Spoken Digit Dataset, Z. Jackson et al., CC BY-SA 4.0",
    "manifest": "own data",
}


def card(model, name: str, results: str = "") -> str:
    """Markdown. `results` are the figures, such as the coherence.md that `--mode=evaluate` writes."""
    config, layout = model.config, model.layout
    rows = ["| modality | kind | channels | data |", "|---|---|---|---|"]
    for n, channels in layout.channels.items():
        entry = config.modality[n]
        rows.append(f"| {n} | {entry.kind} | {channels} | {ABOUT.get(entry.source, entry.source)} |")
    count = sum(p.numel() for p in model.denoiser.network.parameters()) / 1e6
    usual = cfg.flat(cfg.default().to_dict())
    own = {field: value for field, value in cfg.flat(config.to_dict()).items() if usual.get(field) != value}
    fields = [f"    {field} = {value!r}" for field, value in sorted(own.items()) if value not in ((), "", {})]
    c = config.train
    before = model.rows - c.steps * c.batch
    more = f", after {before} rows of earlier runs" if before > 0 else ""
    return "\n".join(
        [
            f"# Model card: `{name}`",
            "",
            f"One denoiser of {count:.2f} M parameters over {layout.shape[0]} channels of {layout.grid[0]} x {layout.grid[1]}. "
            "It draws each modality from any of the others, and all from nothing.",
            "",
            *rows,
            "",
            "## Training",
            "",
            f"{c.steps} steps of {c.batch} rows{more}, seed {config.seed}; averaged weights. What differs from the defaults:",
            "",
            *fields,
            "",
            "## Figures",
            "",
            results.strip() or "Not measured yet: `python -m jointdiff.main --mode=evaluate` does.",
            "",
            "## Limits",
            "",
            "It knows what its training data show, with their biases. Samples are drawn, not looked up, and may be wrong: what "
            "is given decides what is drawn only as far as the figures above say.",
            "",
        ]
    )
