"""diffusers' own files: `unet.down_blocks.0.….lora.down.weight`, and the older attention processors.

Source: huggingface/diffusers `loaders/lora_base.py` (`write_lora_layers`), `utils/state_dict_utils.py`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING

from mezzotint.strangers_json import parse

from ..adapter import Adapter
from ..deltas.kinds import ANY
from ..errors import LoRAError
from . import peft
from .kohya import REFUSED
from .layout import Found, Layout, Part

if TYPE_CHECKING:
    from torch import Tensor

WEIGHTS = "pytorch_lora_weights.safetensors"
"""What diffusers names the file in a folder."""
CONFIG_KEY = "lora_adapter_metadata"
"""Where the header keeps peft's configuration of each component, as JSON with keys such as `unet.r`."""
_ROOTS = ("down_blocks.", "mid_block.", "up_blocks.")
PREFIXES = {
    "unet.": "unet",
    "text_encoder.": "text_encoder",
    "text_encoder_2.": "text_encoder_2",
    # `unet.save_attn_procs` wrote the U-Net's names alone.
    **dict.fromkeys(_ROOTS, "unet"),
}
_PROCESSOR = {f"to_{x}_lora": f"to_{x}" for x in "qkv"} | {"to_out_lora": "to_out.0"}
_TEXT_PROCESSOR = {f"to_{x}_lora": f"{x}_proj" for x in "qkv"} | {"to_out_lora": "out_proj"}

SUFFIXES = {
    "lora.down.weight": Part("lora", "down"),
    "lora.up.weight": Part("lora", "up"),
    "lora_linear_layer.down.weight": Part("lora", "down"),
    "lora_linear_layer.up.weight": Part("lora", "up"),
    "alpha": Part(ANY, "alpha"),
    "dora_scale": Part(ANY, "magnitude"),
    **peft.SUFFIXES,
    # The attention processors of diffusers before 0.22: `….attn1.processor.to_q_lora.down.weight`.
    "down.weight": Part("lora", "down"),
    "up.weight": Part("lora", "up"),
    "down.weight.alpha": Part(ANY, "alpha"),
}


def _module(stem: str) -> str:
    """`….attn1.processor.to_q_lora` → `….attn1.to_q`; in text encoders `….self_attn.to_q_lora` → `….q_proj`."""
    head, _, layer = stem.rpartition(".")
    if layer not in _PROCESSOR:
        return stem
    names = _TEXT_PROCESSOR if head.endswith("self_attn") else _PROCESSOR
    return f"{head.removesuffix('.processor')}.{names[layer]}"


class _Prefixed(Layout):
    """Keys without a component's prefix keep the whole of their module's name."""

    def find(self, key: str) -> Found | None:
        """As `Layout.find`."""
        return super().find(f"unet.{key}" if key.startswith(_ROOTS) else key)


LAYOUT = _Prefixed(
    "diffusers",
    "diffusers",
    PREFIXES,
    SUFFIXES,
    module=_module,
    canonical=peft.canonical,
    refused=REFUSED,
)


def configurations(metadata: Mapping[str, str], where: object) -> dict[str, dict[str, object]]:
    """peft's configuration of each component, from the header; empty for files that have none.

    Args:
        where: the file that it is from, for the sentence.

    Raises:
        LoRAError: it is no JSON object, so that the alphas are unknown, or `peft.check_configuration` refuses it.
    """
    try:
        packed = parse(metadata.get(CONFIG_KEY, "{}"))
    except ValueError as error:
        raise LoRAError(
            f"{where}: {CONFIG_KEY} in its header, where diffusers keeps the alphas, is not valid JSON: {error}"
        ) from None
    if not isinstance(packed, dict):
        raise LoRAError(f"{where}: {CONFIG_KEY} in its header must be a JSON object")
    found: dict[str, dict[str, object]] = {}
    for key, value in packed.items():
        component, _, name = key.partition(".")
        found.setdefault(component, {})[name] = value
    for configuration in found.values():
        peft.check_configuration(configuration, where)
    return found


def write(adapter: Adapter) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors by key, in peft's names, which diffusers reads for every module, with peft's configuration.

    Raises:
        LoRAError: a kind that diffusers has no layout for.
    """
    tensors, packed = {}, {}
    for component in adapter.components:
        deltas = adapter.of(component)
        peft.refuse(deltas, "diffusers", ("lora",))
        for key, tensor in peft.tensors(deltas).items():
            tensors[f"{component}.{key}"] = tensor
        configuration = peft.configuration(deltas)
        packed.update({f"{component}.{key}": value for key, value in configuration.items()})
    metadata = {key: value for key, value in adapter.metadata.items() if key != CONFIG_KEY}
    return tensors, {"format": "pt", **metadata, CONFIG_KEY: json.dumps(packed, indent=2, sort_keys=True)}
