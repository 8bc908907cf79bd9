"""The settings of the style, and its training."""

from __future__ import annotations

from pathlib import Path

import mezzotint

from ...training import LoRASettings, train_lora
from .pictures import write_pictures

SETTINGS = LoRASettings(
    rank=16,
    targets="all",
    steps=1500,
    batch_size=8,
    learning_rate=1e-3,
    schedule="cosine",
    warmup_steps=50,
    ema=0.99,
    buckets=False,
    cache="memory",
    save_every=250,
    title="Twemoji style for the emoji model",
    author="mezzotint",
    comment="Trained on 200 pictures of Twemoji (CC BY 4.0, Twitter, Inc. and other contributors)",
)


def train_style(work: Path, output: Path, model: str = "emoji", *, steps: int | None = None) -> Path:
    """Train on the 200 pictures; goes on where a run that was killed stopped."""
    settings = SETTINGS if steps is None else SETTINGS.replaced(steps=steps)
    pictures = write_pictures(work, work / "twemoji")
    assert isinstance(settings, LoRASettings)
    return train_lora(mezzotint.load(model), pictures, output, settings, resume=True).path
