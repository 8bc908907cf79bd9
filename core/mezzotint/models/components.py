"""The models of a pipeline, and where they came from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..plugins.discovery import Owner
from ..plugins.specs import RunDefaults
from .families import STABLE_DIFFUSION, Family

if TYPE_CHECKING:
    from diffusers import AutoencoderKL, SchedulerMixin, UNet2DConditionModel
    from torch.nn import Module

    from ..hooks.conditioning import Conditioning


@dataclass(eq=False, slots=True)
class TextEncoder:
    """A text encoder and the tokenizer that it was trained with."""

    model: Any
    """transformers' `CLIPTextModel`, `CLIPTextModelWithProjection` or `T5EncoderModel`."""
    tokenizer: Any
    """transformers' `CLIPTokenizer` or `T5Tokenizer`."""


@dataclass(eq=False, slots=True)
class Components:
    """What a diffusers folder holds."""

    unet: UNet2DConditionModel
    vae: AutoencoderKL
    text_encoders: dict[str, TextEncoder]
    """By the names of their folders: `text_encoder`, and where there is a second one `text_encoder_2`."""
    scheduler: SchedulerMixin
    family: Family = STABLE_DIFFUSION
    zeros_for_empty_negative: bool = False
    """Whether an empty negative prompt is zeros instead of its embeddings (`force_zeros_for_empty_prompt`)."""

    def as_negative(self, encoded: Conditioning, texts: Sequence[str]) -> Conditioning:
        """What the U-Net is told of negative prompts, a row each: zeros for empty ones, where the model has it so."""
        if not self.zeros_for_empty_negative:
            return encoded
        return encoded.zeros_at([not text.strip() for text in texts])

    @property
    def modules(self) -> Mapping[str, Module]:
        """Everything with weights, by the names of their folders."""
        texts = {name: encoder.model for name, encoder in self.text_encoders.items()}
        return {"unet": self.unet, "vae": self.vae, **texts}


@dataclass(frozen=True)
class Source:
    """Where a model came from, for recipes and listings."""

    name: str
    """The name it was loaded by: a plugin's model, or a path."""
    path: Path | None = None
    owner: Owner | None = None
    defaults: RunDefaults = field(default_factory=RunDefaults)
