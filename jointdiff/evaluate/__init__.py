"""Measures of a model, one file each."""

from .calibration import calibration
from .coherence import coherence
from .frechet import frechet, variety

METRICS = {"coherence": coherence, "frechet": frechet, "variety": variety, "calibration": calibration}
