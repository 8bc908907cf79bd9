"""The settings of the style."""

from __future__ import annotations

from pathlib import Path

from mezzotint_lora.training import LoRASettings

from .. import training
from . import CREDIT
from .pictures import PHRASE, TRIGGER

_SETTINGS = training.SETTINGS.replaced(
    rank=16,
    # The last layers draw how; what is drawn where has been decided before them.
    only=(r"up_blocks\.1\.", "conv_out"),
    learning_rate=8e-3,
    steps=700,
    # Half of them of the prior.
    batch_size=32,
    warmup_steps=40,
    ema=0.99,
    # Guidance subtracts what is drawn for no words, so that has to be in the style as well.
    caption_dropout=0.1,
    trigger=TRIGGER,
    title="Twemoji style for the emoji model",
    license="CC-BY-4.0",
    comment=f"Trained on 200 pictures of {CREDIT}; `{PHRASE} of …, {TRIGGER}` asks for it",
)


def with_prior(folder: Path) -> LoRASettings:
    """With pictures in the model's own style in each batch, so that the trigger alone asks for the new one."""
    # Counted little, they draw the new style towards their own; counted much, they tell the two apart by the trigger.
    return _SETTINGS.replaced(prior_data=folder, prior_weight=3.0)
