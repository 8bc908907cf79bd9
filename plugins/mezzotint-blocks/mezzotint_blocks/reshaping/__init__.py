"""Blocks that compute something else."""

from mezzotint import Extension

from .freeu import FreeU
from .skip_scale import SkipScale

EXTENSIONS: tuple[type[Extension], ...] = (FreeU, SkipScale)
