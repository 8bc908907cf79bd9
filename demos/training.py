"""The settings that the demonstrations share."""

from __future__ import annotations

from mezzotint_lora.training import LoRASettings

SETTINGS = LoRASettings(
    # What is drawn how is in the convolutions as much as in attention.
    targets="all",
    learning_rate=5e-4,
    schedule="cosine",
    buckets=False,
    vae_batch_size=16,
    save_every=100,
    save_dtype="float16",
    author="mezzotint",
)
