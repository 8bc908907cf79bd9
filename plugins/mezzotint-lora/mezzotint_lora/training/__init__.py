"""LoRA and its kin, trained through peft on the training core of mezzotint.

    settings = LoRASettings(rank=8, steps=400, learning_rate=1e-3)
    train_lora(mezzotint.load("emoji"), "pictures", "style.safetensors", settings)

Names are imported when they are first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mezzotint.lazy_names import lazy_names

_WHERE = {
    "LoRASettings": "settings",
    "LoRATrainee": "trainee",
    "attached_lora": "trainee",
    "train_lora": "trainee",
}

__all__ = [*_WHERE]

if TYPE_CHECKING:
    from .settings import LoRASettings as LoRASettings
    from .trainee import LoRATrainee as LoRATrainee
    from .trainee import attached_lora as attached_lora
    from .trainee import train_lora as train_lora


__getattr__ = lazy_names(__name__, _WHERE)
