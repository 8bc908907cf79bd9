"""The settings of the edge ControlNet."""

from __future__ import annotations

from mezzotint_controlnet.training import ControlNetSettings

from .pictures import OUTLINES, SEED

SETTINGS = ControlNetSettings(
    preprocess=OUTLINES,
    steps=4000,
    batch_size=16,
    learning_rate=1e-3,
    schedule="cosine",
    warmup_steps=100,
    ema=0.995,
    # Below, everything that an outline says is in the noisy latents already.
    timestep_range=(0.2, 1.0),
    # Half of the captions are empty, so that the outline has to say what the words do not.
    caption_dropout=0.5,
    buckets=False,
    vae_batch_size=16,
    save_dtype="float16",
    seed=SEED,
)
