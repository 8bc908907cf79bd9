"""kohya's sd-scripts, and LyCORIS, which uses its names: `lora_unet_down_blocks_0_….lora_down.weight`.

Source: kohya-ss/sd-scripts `networks/lora.py`; KohakuBlueleaf/LyCORIS `lycoris/modules/*.py` (`weight_list`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..adapter import Adapter, Delta, Target
from ..deltas.kinds import ANY
from .layout import Layout, Part

if TYPE_CHECKING:
    from torch import Tensor

PREFIXES = {
    "lora_unet_": "unet",
    "lora_te_": "text_encoder",
    "lora_te1_": "text_encoder",
    "lora_te2_": "text_encoder_2",
    "lycoris_unet_": "unet",
    "lycoris_te_": "text_encoder",
    "lycoris_te1_": "text_encoder",
    "lycoris_te2_": "text_encoder_2",
    "lycoris_": "unet",
}
LYCORIS = {
    "hada_w1_a": Part("loha", "w1_a"),
    "hada_w1_b": Part("loha", "w1_b"),
    "hada_w2_a": Part("loha", "w2_a"),
    "hada_w2_b": Part("loha", "w2_b"),
    "hada_t1": Part("loha", "t1"),
    "hada_t2": Part("loha", "t2"),
    "lokr_w1": Part("lokr", "w1"),
    "lokr_w1_a": Part("lokr", "w1_a"),
    "lokr_w1_b": Part("lokr", "w1_b"),
    "lokr_w2": Part("lokr", "w2"),
    "lokr_w2_a": Part("lokr", "w2_a"),
    "lokr_w2_b": Part("lokr", "w2_b"),
    "lokr_t2": Part("lokr", "t2"),
}
"""Names that LyCORIS and peft share."""
SUFFIXES = {
    "lora_down.weight": Part("lora", "down"),
    "lora_up.weight": Part("lora", "up"),
    "lora_mid.weight": Part("lora", "mid"),
    "lora_up.bias": Part("lora", "up_bias"),
    "alpha": Part(ANY, "alpha"),
    "dora_scale": Part(ANY, "magnitude"),
    **LYCORIS,
    "diff": Part("full", "weight"),
    "diff_b": Part(ANY, "bias"),
    "w_norm": Part("norm", "weight"),
    "b_norm": Part("norm", "bias"),
}
REFUSED = {
    "oft_blocks": "OFT",
    "oft_diag": "OFT",
    "rescale": "OFT",
    "a1.weight": "GLoRA",
    "a2.weight": "GLoRA",
    "b1.weight": "GLoRA",
    "b2.weight": "GLoRA",
    "bm.weight": "GLoRA",
    "on_input": "IA³",
    "lora_E": "AdaLoRA",
}
LAYOUT = Layout("kohya", "kohya's sd-scripts and LyCORIS", PREFIXES, SUFFIXES, refused=REFUSED)
"""Underscored module names; nothing in them says where a dot was."""

_WRITTEN = {
    (part.kind, part.tensor): suffix for suffix, part in SUFFIXES.items() if part.tensor != "alpha"
} | {("full", "bias"): "diff_b"}


def write(adapter: Adapter, sdxl: bool) -> dict[str, Tensor]:
    """Tensors by key: underscored names, an alpha for every module that has a rank.

    Args:
        sdxl: two text encoders, so the first is `lora_te1_`.
    """
    prefixes = {
        "unet": "lora_unet_",
        "text_encoder": "lora_te1_" if sdxl else "lora_te_",
        "text_encoder_2": "lora_te2_",
    }
    tensors: dict[str, Tensor] = {}
    for target, delta in adapter.deltas.items():
        stem = f"{prefixes[target.component]}{_underscored(target)}"
        for name, tensor in delta.tensors.items():
            suffix = _WRITTEN.get((delta.kind, name)) or _WRITTEN[ANY, name]
            tensors[f"{stem}.{suffix}"] = tensor
        if delta.kind not in ("full", "norm"):
            tensors[f"{stem}.alpha"] = _alpha(delta)
    return tensors


def _underscored(target: Target) -> str:
    return target.module.replace(".", "_")


def _alpha(delta: Delta) -> Tensor:
    """A 0-d tensor in the weights' own type, as kohya writes it, or in the narrowest wider one that is exact."""
    import torch

    from ..deltas import rank_of

    value = delta.alpha or float(rank_of(delta))
    own = next(iter(delta.tensors.values())).dtype
    wider = (own if own.is_floating_point else torch.float32, torch.float32, torch.float64)
    return next(made for dtype in wider if float(made := torch.tensor(value, dtype=dtype)) == value)
