"""A single .safetensors file of Stable Diffusion: U-Net, VAE and text encoder in CompVis' layout.

Format: keys of `CompVis/stable-diffusion` (`model.diffusion_model.`, `first_stage_model.`,
`cond_stage_model.transformer.`), as AUTOMATIC1111 and ComfyUI read them. Sizes are read from the tensors'
shapes; what shapes do not say is Stable Diffusion's: 8 heads, 32 groups, epsilon unless the marker `v_pred`
is there. diffusers renames the keys; every tensor is accounted for.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import ModelError
from .components import Components, TextEncoder
from .filling import filled, open_tokenizer
from .fit import check_fit
from .weights import read_header

if TYPE_CHECKING:
    import torch
    from torch import Tensor

logger = logging.getLogger("mezzotint")

UNET = "model.diffusion_model."
VAE = "first_stage_model."
TEXT = "cond_stage_model.transformer."

_OTHERS = {
    "conditioner.embedders.0.model.": "the refiner of Stable Diffusion XL",
    "conditioner.embedders.": "a part of Stable Diffusion XL",
    "cond_stage_model.model.": "Stable Diffusion 2",
    "model.diffusion_model.joint_blocks.": "Stable Diffusion 3",
    "model.diffusion_model.double_blocks.": "Flux",
    "control_model.": "a ControlNet",
    "lora_unet_": "a LoRA",
}
_WITHOUT_MEANING = (
    "model_ema.",
    "cond_stage_model.logit_scale",
    "cond_stage_model.text_projection",
    "embedding_manager.",
)
"""What other programs leave in such files and no one needs to draw."""

Shapes = Mapping[str, tuple[int, ...]]


def open_single_file(path: Path, dtype: torch.dtype) -> Components:
    """Read the shapes, build the models they describe, and fill them.

    Raises:
        ModelError: a pickle, a file of another family, or a tensor that is missing, unknown or of another shape.
    """
    from diffusers import PNDMScheduler
    from diffusers.loaders import single_file_utils as ldm
    from safetensors.torch import load_file
    from transformers import CLIPTextConfig, CLIPTextModel

    from . import single_file_xl

    shapes = {name: tuple(entry["shape"]) for name, entry in read_header(path).items()}
    if single_file_xl.is_whole(shapes):
        return single_file_xl.open_weights(path, shapes, load_file(path), dtype)
    _check_family(path, shapes)
    vae = vae_config(shapes, path)
    weights = load_file(path)
    text = CLIPTextConfig(**text_config(shapes, path))
    tokenizer = open_tokenizer(path, text.vocab_size, text.max_position_embeddings)
    encoder = filled(lambda: CLIPTextModel(text), ldm.convert_ldm_clip_checkpoint(dict(weights)), path, dtype)
    components = Components(
        **unet_and_vae(weights, unet_config(shapes, path), vae, path, dtype),
        text_encoders={"text_encoder": TextEncoder(encoder, tokenizer)},
        scheduler=PNDMScheduler(**scheduler_config(shapes), skip_prk_steps=True, set_alpha_to_one=False),
    )
    report_unused(path, shapes, (TEXT,))
    check_fit(path, components)
    return components


def unet_and_vae(
    weights: Mapping[str, Tensor],
    unet: Mapping[str, Any],
    vae: Mapping[str, Any],
    path: Path,
    dtype: torch.dtype,
) -> dict[str, Any]:
    """`unet` and `vae` of these configurations, with the file's weights."""
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from diffusers.loaders import single_file_utils as ldm

    return {
        "unet": filled(
            lambda: UNet2DConditionModel(**unet),
            ldm.convert_ldm_unet_checkpoint(dict(weights), unet),
            path,
            dtype,
        ),
        "vae": filled(
            lambda: AutoencoderKL(**vae), ldm.convert_ldm_vae_checkpoint(dict(weights), vae), path, dtype
        ),
    }


def unet_config(shapes: Shapes, path: Path) -> dict[str, Any]:
    """Configuration of the `UNet2DConditionModel` with these shapes."""
    ends = ("input_blocks.0.0.weight", "input_blocks.1.0.out_layers.3.weight", "out.2.weight")
    refuse_gaps(shapes, path, "U-Net", *(f"{UNET}{end}" for end in ends))
    channels, attends, depths = _levels(shapes)
    layers = sum(f"{UNET}input_blocks.{i}.0.in_layers.2.weight" in shapes for i in range(1, 100)) // len(
        channels
    )
    contexts = [shape[1] for name, shape in shapes.items() if name.endswith(".attn2.to_k.weight")]
    if not contexts:
        raise ModelError(f"{path} has no layer in its U-Net that attends to a text (….attn2.to_k.weight)")
    linear = any(name.endswith(".1.proj_in.weight") and len(shape) == 2 for name, shape in shapes.items())
    return {
        "sample_size": 64,
        "in_channels": shapes[f"{UNET}input_blocks.0.0.weight"][1],
        "out_channels": shapes[f"{UNET}out.2.weight"][0],
        "down_block_types": tuple("CrossAttnDownBlock2D" if here else "DownBlock2D" for here in attends),
        "up_block_types": tuple("CrossAttnUpBlock2D" if here else "UpBlock2D" for here in reversed(attends)),
        "block_out_channels": tuple(channels),
        "layers_per_block": layers,
        "cross_attention_dim": contexts[0],
        "attention_head_dim": 8,
        "transformer_layers_per_block": depths[0] if len(set(depths)) == 1 else tuple(depths),
        "use_linear_projection": linear,
    }


def vae_config(shapes: Shapes, path: Path) -> dict[str, Any]:
    """Configuration of the `AutoencoderKL` with these shapes."""
    channels: list[int] = []
    while (name := f"{VAE}encoder.down.{len(channels)}.block.0.conv1.weight") in shapes:
        channels.append(shapes[name][0])
    layers = 0
    while f"{VAE}encoder.down.0.block.{layers}.conv1.weight" in shapes:
        layers += 1
    quant = f"{VAE}post_quant_conv.weight"
    if not channels or quant not in shapes:
        raise ModelError(f"{path} has no VAE ({VAE}…); a single file of Stable Diffusion has one")
    return {
        "sample_size": 512,
        "down_block_types": ("DownEncoderBlock2D",) * len(channels),
        "up_block_types": ("UpDecoderBlock2D",) * len(channels),
        "block_out_channels": tuple(channels),
        "layers_per_block": layers,
        "latent_channels": shapes[quant][1],
        "scaling_factor": 0.18215,
    }


def text_config(shapes: Shapes, path: Path, prefix: str = TEXT) -> dict[str, Any]:
    """Configuration of the `CLIPTextModel` with these shapes, heads of 64 as in CLIP."""
    sizes = {name.removeprefix(prefix).removeprefix("text_model."): shape for name, shape in shapes.items()}
    refuse_gaps(
        sizes,
        path,
        "text encoder",
        "embeddings.token_embedding.weight",
        "encoder.layers.0.mlp.fc1.weight",
        "embeddings.position_embedding.weight",
        prefix=f"{prefix}text_model.",
    )
    vocabulary, width = sizes["embeddings.token_embedding.weight"]
    layers = 0
    while f"encoder.layers.{layers}.mlp.fc1.weight" in sizes:
        layers += 1
    return {
        "vocab_size": vocabulary,
        "hidden_size": width,
        "intermediate_size": sizes["encoder.layers.0.mlp.fc1.weight"][0],
        "num_hidden_layers": layers,
        "num_attention_heads": max(1, width // 64),
        "max_position_embeddings": sizes["embeddings.position_embedding.weight"][0],
        "hidden_act": "quick_gelu",
        "bos_token_id": vocabulary - 2,
        "eos_token_id": vocabulary - 1,
        "pad_token_id": vocabulary - 1,
    }


def refuse_gaps(sizes: Shapes, path: Path, part: str, *names: str, prefix: str = "") -> None:
    """Raise a `ModelError` unless a part has these tensors, from which its sizes are read.

    Args:
        prefix: what the file has before these names.
    """
    for name in names:
        if name not in sizes:
            raise ModelError(f"{path} lacks {prefix}{name}; its {part} is cut short")


def scheduler_config(shapes: Shapes) -> dict[str, Any]:
    """Stable Diffusion's noise schedule; `v_pred` and `ztsnr` are markers that trainers write."""
    return {
        "beta_start": 0.00085,
        "beta_end": 0.012,
        "beta_schedule": "scaled_linear",
        "steps_offset": 1,
        "prediction_type": "v_prediction" if "v_pred" in shapes else "epsilon",
        **({"rescale_betas_zero_snr": True, "timestep_spacing": "trailing"} if "ztsnr" in shapes else {}),
    }


def _levels(shapes: Shapes) -> tuple[list[int], list[bool], list[int]]:
    """Of each resolution its channels, whether its blocks attend to the text, and transformer layers a block."""
    channels: list[int] = []
    attends: list[bool] = []
    depths: list[int] = []
    begins, index = True, 1
    while True:
        block = f"{UNET}input_blocks.{index}"
        width = shapes.get(f"{block}.0.out_layers.3.weight")
        if width is None:
            if f"{block}.0.op.weight" not in shapes:
                return channels, attends, depths
            begins = True
        else:
            if begins:
                channels.append(width[0])
                attends.append(f"{block}.1.proj_in.weight" in shapes)
                depths.append(1)
            begins = False
            while f"{block}.1.transformer_blocks.{depths[-1]}.norm1.weight" in shapes:
                depths[-1] += 1
        index += 1


def _check_family(path: Path, shapes: Shapes) -> None:
    if f"{UNET}input_blocks.0.0.weight" in shapes and any(name.startswith(TEXT) for name in shapes):
        return
    for prefix, family in _OTHERS.items():
        if any(name.startswith(prefix) for name in shapes):
            raise ModelError(
                f"{path} is {family} by its keys ({prefix}…); a single file is opened if it is a whole Stable "
                "Diffusion 1.x or XL"
            )
    if f"{UNET}input_blocks.0.0.weight" in shapes:
        raise ModelError(
            f"{path} has a U-Net ({UNET}…) and no text encoder ({TEXT}…): it is a part of a model. A single file is opened "
            "if it is a whole Stable Diffusion 1.x or XL"
        )
    first = ", ".join(list(shapes)[:3]) or "none"
    raise ModelError(
        f"{path} is no Stable Diffusion 1.x by its keys (there are {first} …); {UNET}… is missing"
    )


def report_unused(path: Path, shapes: Shapes, text: tuple[str, ...]) -> None:
    """Schedule buffers and markers are without meaning here; anything else is said.

    Args:
        text: where the text encoders' tensors are.
    """
    used = (UNET, VAE, *text, *_WITHOUT_MEANING)
    unused = [name for name in shapes if not name.startswith(used) and "." in name]
    if unused:
        logger.warning("%s: %d tensors are not used, such as %s", path, len(unused), unused[0])
