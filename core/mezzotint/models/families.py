"""The kinds of model that open: the parts of their folders, and where they differ in use."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from .text_encoding import Embed, hidden_states_before_the_last_layer, last_hidden_states


class Part(NamedTuple):
    """What `model_index.json` says of a part."""

    library: str
    classes: tuple[str, ...] = ()
    """Any of these; empty for any scheduler."""


@dataclass(frozen=True)
class Family:
    """What is the same in all models of a kind."""

    title: str
    parts: Mapping[str, Part]
    """By the names of their folders. `tokenizer_2` goes with `text_encoder_2`, and so on."""
    embed: Embed = last_hidden_states
    """What the U-Net is told of the tokens, for CLIP encoders."""
    corrects_scheduler: bool = False
    """Whether two settings of old scheduler configurations are changed when a folder is opened."""
    upcasts_vae: bool = False
    """Whether a VAE in float16 that says `force_upcast` works in float32, as its activations overflow."""


_UNET = Part("diffusers", ("UNet2DConditionModel",))
_VAE = Part("diffusers", ("AutoencoderKL",))
_TEXT_ENCODER = Part("transformers", ("CLIPTextModel", "T5EncoderModel"))
_TOKENIZER = Part("transformers", ("CLIPTokenizer", "CLIPTokenizerFast", "T5Tokenizer", "T5TokenizerFast"))
_CLIP_TOKENIZER = Part("transformers", ("CLIPTokenizer", "CLIPTokenizerFast"))
_SCHEDULER = Part("diffusers")

STABLE_DIFFUSION = Family(
    "Stable Diffusion 1.x",
    {
        "unet": _UNET,
        "vae": _VAE,
        "text_encoder": _TEXT_ENCODER,
        "tokenizer": _TOKENIZER,
        "scheduler": _SCHEDULER,
    },
    corrects_scheduler=True,
)
PIXELS = Family(
    "DeepFloyd IF",
    {"unet": _UNET, "text_encoder": _TEXT_ENCODER, "tokenizer": _TOKENIZER, "scheduler": _SCHEDULER},
)
"""A folder without a VAE: what is denoised is the picture."""
STABLE_DIFFUSION_XL = Family(
    "Stable Diffusion XL",
    {
        "unet": _UNET,
        "vae": _VAE,
        "text_encoder": Part("transformers", ("CLIPTextModel",)),
        "tokenizer": _CLIP_TOKENIZER,
        "text_encoder_2": Part("transformers", ("CLIPTextModelWithProjection",)),
        "tokenizer_2": _CLIP_TOKENIZER,
        "scheduler": _SCHEDULER,
    },
    embed=hidden_states_before_the_last_layer,
    upcasts_vae=True,
)


def family_of(index: Mapping[str, Any]) -> Family:
    """The family of a diffusers folder, by the parts that its `model_index.json` names."""
    if names_part(index, "text_encoder_2"):
        return STABLE_DIFFUSION_XL
    return STABLE_DIFFUSION if names_part(index, "vae") else PIXELS


def names_part(index: Mapping[str, Any], name: str) -> bool:
    """Whether the index names a part at all; diffusers writes `[null, null]` for one that is left out."""
    return index.get(name) not in (None, [None, None])


def text_encoder_names(family: Family) -> list[str]:
    """`text_encoder`, `text_encoder_2` …, in order."""
    return [name for name in family.parts if name.startswith("text_encoder")]


def tokenizer_name(text_encoder: str) -> str:
    """`tokenizer_2` for `text_encoder_2`."""
    return text_encoder.replace("text_encoder", "tokenizer")
