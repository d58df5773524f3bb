"""Measures of a model, one file each."""

from .coherence import coherence

METRICS = {"coherence": coherence}
