"""The settings of the character, with and without prior preservation."""

from __future__ import annotations

from pathlib import Path

from mezzotint_lora.training import LoRASettings

from .. import training
from . import CREDIT
from .pictures import CLASS, TRIGGER

PRIOR = 32
"""Pictures of the class."""
ALONE = training.SETTINGS.replaced(
    rank=8,
    steps=700,
    batch_size=4,
    warmup_steps=20,
    trigger=TRIGGER,
    title="The blue fox with a crown, for the emoji model",
    license="MIT",
    comment=f"Trained on six pictures made from {CREDIT}; `{CLASS}, {TRIGGER}` asks for it",
)


def with_prior(folder: Path) -> LoRASettings:
    """The same with as many pictures of the class in each batch as of the character."""
    return ALONE.replaced(batch_size=2 * ALONE.batch_size, prior_data=folder)
