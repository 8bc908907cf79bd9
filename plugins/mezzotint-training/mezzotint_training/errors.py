"""What can go wrong before and while something is trained."""

from __future__ import annotations

from mezzotint.errors import MezzotintError


class TrainingError(MezzotintError):
    """A setting does not fit the model, the data or another setting, or the training cannot go on."""


class DataError(TrainingError):
    """A picture, caption or subset cannot be used; the file is named."""


class CheckpointError(TrainingError):
    """A checkpoint cannot be written or read, or belongs to another training."""
