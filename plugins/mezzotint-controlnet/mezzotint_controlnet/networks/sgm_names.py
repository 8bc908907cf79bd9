"""Names of a ControlNet's tensors in the files of its authors, derived from the model's own.

The layout of lllyasviel's ControlNet and of sgm: `input_blocks.{i}`, `middle_block.{i}`, `zero_convs.{i}.0`,
`input_hint_block.{i}`. Input block 0 is `conv_in`; then each of diffusers' down blocks takes its layers and
its downsampler, one input block each.
"""

from __future__ import annotations

from collections.abc import Iterable

_RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
_TOP = {
    "conv_in": "input_blocks.0.0",
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "add_embedding.linear_1": "label_emb.0.0",
    "add_embedding.linear_2": "label_emb.0.2",
    "controlnet_mid_block": "middle_block_out.0",
}


def sgm_names(names: Iterable[str], layers_per_block: int, hint_blocks: int) -> dict[str, str]:
    """diffusers' tensor name → the name in a single file.

    Args:
        names: of a `ControlNetModel`'s state dict.
        hint_blocks: convolutions of `controlnet_cond_embedding` between its first and its last.
    """
    return {name: _sgm_name(name, layers_per_block, hint_blocks) for name in names}


def _sgm_name(name: str, layers_per_block: int, hint_blocks: int) -> str:
    module, _, kind = name.rpartition(".")
    if module in _TOP:
        return f"{_TOP[module]}.{kind}"
    parts = module.split(".")
    match parts:
        case ["controlnet_cond_embedding", "conv_in"]:
            return f"input_hint_block.0.{kind}"
        case ["controlnet_cond_embedding", "blocks", k]:
            return f"input_hint_block.{2 * (int(k) + 1)}.{kind}"
        case ["controlnet_cond_embedding", "conv_out"]:
            return f"input_hint_block.{2 * (hint_blocks + 1)}.{kind}"
        case ["controlnet_down_blocks", i]:
            return f"zero_convs.{i}.0.{kind}"
        case ["down_blocks", b, "resnets", j, *inside]:
            return f"input_blocks.{_input_block(b, j, layers_per_block)}.0.{_resnet(inside)}.{kind}"
        case ["down_blocks", b, "attentions", j, *inside]:
            return f"input_blocks.{_input_block(b, j, layers_per_block)}.1.{'.'.join(inside)}.{kind}"
        case ["down_blocks", b, "downsamplers", "0", "conv"]:
            return f"input_blocks.{(int(b) + 1) * (layers_per_block + 1)}.0.op.{kind}"
        case ["mid_block", "resnets", j, *inside]:
            return f"middle_block.{2 * int(j)}.{_resnet(inside)}.{kind}"
        case ["mid_block", "attentions", j, *inside]:
            return f"middle_block.{2 * int(j) + 1}.{'.'.join(inside)}.{kind}"
    # Parts that no such file has keep their name, and are reported as missing under it.
    return name


def _input_block(block: str, layer: str, layers_per_block: int) -> int:
    return 1 + int(block) * (layers_per_block + 1) + int(layer)


def _resnet(inside: list[str]) -> str:
    return _RESNET.get(".".join(inside), ".".join(inside))
