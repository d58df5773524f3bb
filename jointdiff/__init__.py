"""jointdiff: one diffusion model over several modalities, each generated from any others.

    import jointdiff

    model = jointdiff.load("digits")
    seven = model.modalities["text"].encode(["seven"])
    drawn = model.sample({"text": seven}, num=4, seed=0)  # {name: (4, C, H, W)} in [-1, 1]
    pictures = model.modalities["image"].decode(drawn["image"])  # (4, 32, 32) uint8

Conventions: t = 0 is data and t = 1 is noise; `x_t = alpha(t) x_0 + sigma(t) eps`; every modality has a time of its own;
channels are in [-1, 1]; the score points towards the data.
"""

import importlib

_PUBLIC = {
    "load": "state",
    "Model": "model",
    "Layout": "layout",
    "Denoiser": "denoiser",
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
