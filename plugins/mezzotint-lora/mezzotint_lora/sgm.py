"""Names of the original Stable Diffusion U-Net (sgm, ldm), which kohya's SDXL files use, from diffusers' names.

`input_blocks.4.1.transformer_blocks.0.attn1.to_q` is `down_blocks.1.attentions.0.….to_q` in SDXL. The counting
follows the model's own blocks, so that any number of layers and any blocks with attention come out right.
Source: diffusers `loaders/lora_conversion_utils.py` (`_maybe_map_sgm_blocks_to_diffusers`), Stability-AI
generative-models `sgm/modules/diffusionmodules/openaimodel.py`.
"""

from __future__ import annotations

from collections.abc import Iterable

_RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "time_emb_proj": "emb_layers.1",
    "conv_shortcut": "skip_connection",
}
_OUTSIDE = {
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "add_embedding.linear_1": "label_emb.0.0",
    "add_embedding.linear_2": "label_emb.0.2",
    "conv_in": "input_blocks.0.0",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
}


def sgm_names(modules: Iterable[str]) -> dict[str, str]:
    """diffusers' module name → the original one, for all modules of a U-Net that had one."""
    listed = list(modules)
    places = _places(set(listed))
    names = {name: _OUTSIDE[name] for name in listed if name in _OUTSIDE}
    for name in listed:
        for depth in (4, 3, 2):
            parts = name.split(".")
            head, rest = ".".join(parts[:depth]), ".".join(parts[depth:])
            if head in places and rest:
                names[name] = f"{places[head]}.{_inside(head, rest)}"
                break
    return names


def _inside(head: str, rest: str) -> str:
    if ".resnets." in head:
        return _RESNET.get(rest, rest)
    return "op" if ".downsamplers." in head and rest == "conv" else rest


def _places(modules: set[str]) -> dict[str, str]:
    """`down_blocks.1.attentions.0` → `input_blocks.4.1`, and so on for every part of the blocks."""
    places = {}
    position = 1
    for block in _counted("down_blocks", modules):
        for layer in _counted(f"{block}.resnets", modules):
            index = layer.rpartition(".")[2]
            places[layer] = f"input_blocks.{position}.0"
            if f"{block}.attentions.{index}" in modules:
                places[f"{block}.attentions.{index}"] = f"input_blocks.{position}.1"
            position += 1
        if f"{block}.downsamplers.0" in modules:
            places[f"{block}.downsamplers.0"] = f"input_blocks.{position}.0"
            position += 1
    for index, part in enumerate(("resnets.0", "attentions.0", "resnets.1")):
        places[f"mid_block.{part}"] = f"middle_block.{index}"
    position = 0
    for block in _counted("up_blocks", modules):
        for layer in _counted(f"{block}.resnets", modules):
            index = layer.rpartition(".")[2]
            places[layer] = f"output_blocks.{position}.0"
            if f"{block}.attentions.{index}" in modules:
                places[f"{block}.attentions.{index}"] = f"output_blocks.{position}.1"
            position += 1
        if f"{block}.upsamplers.0" in modules:
            # It stands behind the last layer of its block, after the attention if there is one.
            after = 2 if f"{block}.attentions.0" in modules else 1
            places[f"{block}.upsamplers.0"] = f"output_blocks.{position - 1}.{after}"
    return places


def _counted(prefix: str, modules: set[str]) -> list[str]:
    found = []
    while f"{prefix}.{len(found)}" in modules:
        found.append(f"{prefix}.{len(found)}")
    return found
