"""A ControlNet from one .safetensors file: its names mapped from the model's own, every tensor accounted for.

Files carry no configuration. What a ControlNet shares with its U-Net is taken from the U-Net, what it does
not share (the hint's channels) from the file's shapes; a file for another U-Net then differs in a shape,
and the error names it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mezzotint.errors import ModelError
from mezzotint.models.weights import read_header

from .families import family
from .sgm_names import sgm_names

if TYPE_CHECKING:
    import torch
    from diffusers import ControlNetModel, UNet2DConditionModel

PREFIX = "control_model."
OTHER_KINDS = {
    "lora_controlnet": "a Control-LoRA, which mezzotint does not open",
    "lllite_unet": "a ControlNet-LLLite, which mezzotint does not open",
    "difference": "a difference to a base model; add the base model's weights first",
    "ip_adapter.": "an IP-Adapter",
    "task_embedding": "a ControlNet-Union; use ControlNetUnion(…) with its diffusers folder",
    "adapter.body.0": "a T2I-Adapter; use T2IAdapter(…)",
}
"""What a tensor's name gives away."""


def load_controlnet_file(path: Path, unet: UNet2DConditionModel, dtype: torch.dtype) -> ControlNetModel:
    """Open a single file as the ControlNet of this U-Net.

    Raises:
        ModelError: it is something else, for another U-Net, or lacks or has tensors; each sentence names them.
    """
    shapes = {name: tuple(entry["shape"]) for name, entry in read_header(path).items()}
    _refuse_other_kinds(path, shapes)
    prefix = PREFIX if any(name.startswith(PREFIX) for name in shapes) else ""
    is_diffusers = f"{prefix}controlnet_cond_embedding.conv_in.weight" in shapes
    hint = _hint_channels(path, shapes, prefix, is_diffusers)
    network = _empty_controlnet(unet, hint)
    expected = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    names = {name: name for name in expected}
    if not is_diffusers:
        names = sgm_names(expected, unet.config.layers_per_block, 2 * (len(hint) - 2))
    stored = {name: prefix + names[name] for name in expected}
    _check_family(path, shapes, stored, unet)
    _check_complete(path, shapes, stored, expected)
    return _fill(network, path, stored, dtype)


def _refuse_other_kinds(path: Path, names: Mapping[str, object]) -> None:
    for marker, kind in OTHER_KINDS.items():
        if any(name.removeprefix(PREFIX).startswith(marker) for name in names):
            raise ModelError(f"{path} is {kind}")


def _hint_channels(
    path: Path, shapes: Mapping[str, tuple[int, ...]], prefix: str, is_diffusers: bool
) -> tuple[int, ...]:
    """Channels of the picture, then of each stage of its embedding: (3, 16, 32, 96, 256)."""
    if is_diffusers:
        stem, first = f"{prefix}controlnet_cond_embedding", "conv_in"
        steps = [f"blocks.{k}" for k in range(1, 64, 2)]
    else:
        stem, first = f"{prefix}input_hint_block", "0"
        steps = [str(2 * k) for k in range(2, 64, 2)]
    start = shapes.get(f"{stem}.{first}.weight")
    if start is None or len(start) != 4:
        raise ModelError(
            f"{path} is no ControlNet: it has neither input_hint_block.0.weight "
            "nor controlnet_cond_embedding.conv_in.weight"
        )
    channels = [start[1], start[0]]
    for step in steps:
        shape = shapes.get(f"{stem}.{step}.weight")
        if shape is None or len(shape) != 4:
            break
        channels.append(shape[0])
    return tuple(channels)


def _empty_controlnet(unet: UNet2DConditionModel, hint: tuple[int, ...]) -> ControlNetModel:
    """A ControlNet of this U-Net's shape whose tensors take no memory yet."""
    import torch
    from diffusers import ControlNetModel

    with torch.device("meta"):
        network = ControlNetModel.from_unet(
            unet,
            conditioning_channels=hint[0],
            conditioning_embedding_out_channels=hint[1:],
            load_weights_from_unet=False,
        )
    # The U-Net of an inpainting model takes more channels; a ControlNet sees the latents alone.
    latents = unet.config.out_channels
    if unet.config.in_channels != latents:
        network.conv_in = torch.nn.Conv2d(latents, network.conv_in.out_channels, 3, padding=1, device="meta")
        network.register_to_config(in_channels=latents)
    return network


def _check_family(
    path: Path, shapes: Mapping[str, tuple[int, ...]], stored: Mapping[str, str], unet: UNet2DConditionModel
) -> None:
    """The most common mistake first: a ControlNet of SDXL on SD 1.5, or the other way round."""
    theirs = next(
        (
            shape[-1]
            for name, shape in shapes.items()
            if name.endswith("attn2.to_k.weight") and len(shape) == 2
        ),
        None,
    )
    ours = unet.config.cross_attention_dim
    if theirs is not None and isinstance(ours, int) and theirs != ours:
        raise ModelError(
            f"{path} is for another U-Net: its width of text embeddings (cross_attention_dim) is "
            f"{family(theirs)}, this U-Net's {family(ours)}"
        )


def _check_complete(
    path: Path,
    shapes: Mapping[str, tuple[int, ...]],
    stored: Mapping[str, str],
    expected: Mapping[str, tuple[int, ...]],
) -> None:
    missing = [key for key in stored.values() if key not in shapes]
    if missing:
        raise ModelError(f"{path} lacks {_some(missing)}, which the ControlNet of this U-Net has")
    unknown = sorted(shapes.keys() - set(stored.values()))
    if unknown:
        raise ModelError(f"{path} has {_some(unknown)}, which the ControlNet of this U-Net does not know")
    for name, key in stored.items():
        if not _same(shapes[key], expected[name]):
            raise ModelError(
                f"{path}: {key} has shape {shapes[key]}; the ControlNet of this U-Net expects {expected[name]}"
            )


def _same(stored: tuple[int, ...], expected: tuple[int, ...]) -> bool:
    """Equal, or a linear layer stored as a convolution of 1 × 1 or the other way round."""
    return stored == expected or (len(stored) != len(expected) and _bare(stored) == _bare(expected))


def _bare(shape: tuple[int, ...]) -> tuple[int, ...]:
    return shape[:2] if shape[2:] == (1, 1) else shape


def _fill(network: Any, path: Path, stored: Mapping[str, str], dtype: torch.dtype) -> Any:
    from safetensors import safe_open

    network = network.to_empty(device="cpu")
    with safe_open(path, framework="pt") as file:
        tensors = {
            name: file.get_tensor(key).reshape(network.get_parameter(name).shape).to(dtype)
            for name, key in stored.items()
        }
    network.load_state_dict(tensors, strict=True, assign=True)
    return network.eval()


def _some(names: list[str]) -> str:
    rest = f" and {len(names) - 1} more tensors" if len(names) > 1 else ""
    return f"{names[0]}{rest}"
