"""jointdiff: one diffusion model over several modalities, each generated from any others.

    import jointdiff as jd

    model = jd.load("digits")
    drawn = model.sample(given={"text": "seven"}, num=4)
    drawn.save("sevens")

Conventions: t = 0 is data and t = 1 is noise; `x_t = alpha(t) x_0 + sigma(t) eps`; every modality has a time of its own;
channels are in [-1, 1]; the score points towards the data.
"""

import importlib

_PUBLIC = {
    "load": "hub",
    "train": "training",
    "push_to_hub": "hub",
    "save_pretrained": "hub",
    "Model": "model",
    "Samples": "results",
    "Layout": "layout",
    "Denoiser": "denoiser",
    "Denoise": "types",
    "Noise": "types",
    "Sampling": "plan",
    "SDES": "sde",
    "SAMPLERS": "samplers",
    "CONDITIONS": "condition",
    "BACKBONES": "backbones",
    "MODALITIES": "modalities",
    "SOURCES": "data",
}
__all__ = list(_PUBLIC)


def __getattr__(name: str):
    """Public names, imported when first used: `import jointdiff` alone is quick."""
    if name not in _PUBLIC:
        raise AttributeError(f"jointdiff has no {name!r}; it has {', '.join(_PUBLIC)}")
    return getattr(importlib.import_module(f".{_PUBLIC[name]}", __name__), name)
