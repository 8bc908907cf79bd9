"""The models of a pipeline, and where they came from."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..plugins.discovery import Owner
from ..plugins.specs import RunDefaults

if TYPE_CHECKING:
    from diffusers import AutoencoderKL, SchedulerMixin, UNet2DConditionModel


@dataclass(eq=False)
class Components:
    """What a diffusers folder of Stable Diffusion 1.x shape holds."""

    unet: UNet2DConditionModel
    vae: AutoencoderKL
    text_encoder: Any
    tokenizer: Any
    scheduler: SchedulerMixin


@dataclass(frozen=True)
class Source:
    """Where a model came from, for recipes and listings."""

    name: str
    """The name it was loaded by: a plugin's model, or a path."""
    path: Path | None = None
    owner: Owner | None = None
    defaults: RunDefaults = field(default_factory=RunDefaults)
