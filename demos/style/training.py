"""The settings of the style."""

from __future__ import annotations

from mezzotint_lora.training import LoRASettings

from . import CREDIT
from .pictures import PHRASE, TRIGGER

SETTINGS = LoRASettings(
    # Style is in the convolutions as much as in attention.
    targets="all",
    rank=16,
    steps=600,
    batch_size=16,
    learning_rate=1e-3,
    schedule="cosine",
    warmup_steps=40,
    ema=0.99,
    # Guidance subtracts what is drawn for no words, so that has to be in the style as well.
    caption_dropout=0.1,
    buckets=False,
    vae_batch_size=16,
    save_every=100,
    save_dtype="float16",
    trigger=TRIGGER,
    title="Twemoji style for the emoji model",
    author="mezzotint",
    license="CC-BY-4.0",
    comment=f"Trained on 200 pictures of {CREDIT}; `{PHRASE} of …, {TRIGGER}` asks for it",
)
