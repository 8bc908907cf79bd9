"""The families of U-Net models that LoRA files are made for: how each is recognised, and its module names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any

from .adapter import Adapter
from .names import Names

if TYPE_CHECKING:
    from torch.nn import Module


@dataclass(frozen=True, eq=False)
class Family:
    """A family by the shapes that its members share."""

    name: str
    title: str
    cross_attention: int
    """Width of the text embeddings."""
    unet: Mapping[str, Any] = field(default_factory=dict)
    """Where its U-Net's configuration differs from diffusers' defaults, which are those of SD 1."""
    two_text_encoders: bool = False


FAMILIES = (
    Family("sd1", "Stable Diffusion 1.x", 768, {"cross_attention_dim": 768}),
    Family(
        "sd2",
        "Stable Diffusion 2.x",
        1024,
        {
            "cross_attention_dim": 1024,
            "attention_head_dim": (5, 10, 20, 20),
            "use_linear_projection": True,
        },
    ),
    Family(
        "sdxl",
        "Stable Diffusion XL",
        2048,
        {
            "block_out_channels": (320, 640, 1280),
            "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
            "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
            "transformer_layers_per_block": (1, 2, 10),
            "attention_head_dim": (5, 10, 20),
            "cross_attention_dim": 2048,
            "addition_embed_type": "text_time",
            "addition_time_embed_dim": 256,
            "projection_class_embeddings_input_dim": 2816,
            "use_linear_projection": True,
        },
        two_text_encoders=True,
    ),
)
BY_NAME = {family.name: family for family in FAMILIES}
_OTHER_MARKS = {
    "double_blocks": "Flux",
    "single_transformer_blocks": "Flux",
    "joint_blocks": "Stable Diffusion 3",
    "joint_transformer_blocks": "Stable Diffusion 3",
    "lora_prior": "Stable Cascade",
    "context_block": "Stable Diffusion 3",
    "noise_refiner": "Lumina",
}


@dataclass(frozen=True)
class Guess:
    """Which family a file is for, and why; `family` is `None` where it is none of ours or nothing tells."""

    family: Family | None
    title: str
    because: str
    from_header: bool = False
    """Only the header says so, which whoever trained the file wrote as they liked."""

    def __bool__(self) -> bool:
        return bool(self.title)


def guess_family(adapter: Adapter) -> Guess:
    """From the widths of cross-attention, the models it changes, and what the header says, in this order."""
    for target, delta in adapter.of("unet").items():
        width = _text_width(target, delta.kind, delta.tensors)
        for family in FAMILIES:
            if width == family.cross_attention:
                return Guess(family, family.title, f"cross-attention over texts of {width} numbers a token")
    if adapter.of("text_encoder_2"):
        return Guess(BY_NAME["sdxl"], BY_NAME["sdxl"].title, "it changes a second text encoder")
    for name in [*adapter.unread, *(target.module for target in adapter.deltas)]:
        for mark, title in _OTHER_MARKS.items():
            if mark in name:
                return Guess(None, title, f"it has modules such as {name}")
    return _from_metadata(adapter.metadata)


def _text_width(module: str, kind: str, tensors: Mapping[str, Any]) -> int | None:
    if not module.endswith(("attn2.to_k", "attn2.to_v", "attn2_to_k", "attn2_to_v")):
        return None
    if kind == "lora":
        return int(tensors["down"].shape[1])
    if kind == "loha" and "t1" not in tensors:
        return int(tensors["w1_b"].shape[1])
    if kind == "full" and "weight" in tensors and tensors["weight"].ndim > 1:
        return int(tensors["weight"].shape[1])
    return None


def _from_metadata(metadata: Mapping[str, str]) -> Guess:
    said = f"{metadata.get('ss_base_model_version', '')} {metadata.get('modelspec.architecture', '')}".lower()
    for mark, name in (
        ("sdxl", "sdxl"),
        ("xl-v1", "sdxl"),
        ("sd_v2", "sd2"),
        ("diffusion-v2", "sd2"),
        ("sd_v1", "sd1"),
        ("diffusion-v1", "sd1"),
    ):
        if mark in said:
            return Guess(BY_NAME[name], BY_NAME[name].title, f"its header says {said.strip()}", True)
    for mark, title in (
        ("flux", "Flux"),
        ("sd3", "Stable Diffusion 3"),
        ("stable-diffusion-3", "Stable Diffusion 3"),
    ):
        if mark in said:
            return Guess(None, title, f"its header says {said.strip()}", True)
    return Guess(None, "", "nothing in the file tells")


def describe_model(unet: Module) -> str:
    """What a sentence says of a model: its family, or the width of text embeddings that it takes."""
    width = getattr(unet, "config", {}).get("cross_attention_dim")
    for family in FAMILIES:
        if width == family.cross_attention:
            return f"is {family.title}"
    return f"takes texts of {width} numbers a token"


def text_width(unet: Module) -> int | None:
    """The width of text embeddings that a U-Net takes."""
    width = getattr(unet, "config", {}).get("cross_attention_dim")
    return width if isinstance(width, int) else None


@cache
def names_of(family: Family) -> dict[str, Names]:
    """The module names of a family's models by component; made without weights, in a fraction of a second."""
    import torch
    from diffusers import UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    with torch.device("meta"):
        found = {
            "unet": Names.of(UNet2DConditionModel(**family.unet)),
            "text_encoder": Names.of(
                CLIPTextModel(CLIPTextConfig(num_hidden_layers=23 if family.name == "sd2" else 12))
            ),
        }
        if family.two_text_encoders:
            second = CLIPTextConfig(num_hidden_layers=32, projection_dim=1280)
            found["text_encoder_2"] = Names.of(CLIPTextModelWithProjection(second))
    return found
