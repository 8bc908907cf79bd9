"""The settings of the style."""

from __future__ import annotations

from .. import training
from . import CREDIT
from .pictures import PHRASE, TRIGGER

SETTINGS = training.SETTINGS.replaced(
    rank=16,
    # The last layers draw how; what is drawn where has been decided before them.
    only=(r"up_blocks\.1\.", "conv_out"),
    learning_rate=5e-4,
    steps=450,
    batch_size=16,
    warmup_steps=40,
    ema=0.99,
    # Guidance subtracts what is drawn for no words, so that has to be in the style as well.
    caption_dropout=0.1,
    trigger=TRIGGER,
    title="Twemoji style for the emoji model",
    license="CC-BY-4.0",
    comment=f"Trained on 200 pictures of {CREDIT}; `{PHRASE} of …, {TRIGGER}` asks for it",
)
