"""The settings of the edge ControlNet."""

from __future__ import annotations

from mezzotint_controlnet.training import ControlNetSettings

from .pictures import OUTLINES, SEED

SETTINGS = ControlNetSettings(
    preprocess=OUTLINES,
    steps=2400,
    batch_size=32,
    learning_rate=3e-4,
    schedule="cosine",
    warmup_steps=200,
    ema=0.998,
    # Half of the captions are empty, so that the outline has to say what the words do not.
    caption_dropout=0.5,
    buckets=False,
    save_dtype="float16",
    seed=SEED,
)
