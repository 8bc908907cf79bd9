"""A single .safetensors file of Stable Diffusion 1.x: U-Net, VAE and text encoder in CompVis' layout.

Format: keys of `CompVis/stable-diffusion` (`model.diffusion_model.`, `first_stage_model.`,
`cond_stage_model.transformer.`), as AUTOMATIC1111 and ComfyUI read them. Sizes are read from the tensors'
shapes; what shapes do not say is Stable Diffusion's: 8 heads, 32 groups, epsilon unless the marker `v_pred`
is there. diffusers renames the keys; every tensor is accounted for.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import ModelError
from .components import Components
from .weights import read_header

if TYPE_CHECKING:
    import torch
    from torch import Tensor

logger = logging.getLogger("mezzotint")

UNET = "model.diffusion_model."
VAE = "first_stage_model."
TEXT = "cond_stage_model.transformer."
TOKENIZER = "openai/clip-vit-large-patch14"
"""Of every Stable Diffusion 1.x; from the Hugging Face cache or hub where no folder lies beside the file."""

_OTHERS = {
    "conditioner.embedders.": "Stable Diffusion XL",
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
    import torch
    from diffusers import AutoencoderKL, PNDMScheduler, UNet2DConditionModel
    from diffusers.loaders import single_file_utils as ldm
    from safetensors.torch import load_file
    from transformers import CLIPTextConfig, CLIPTextModel

    shapes = {name: tuple(entry["shape"]) for name, entry in read_header(path).items()}
    _check_family(path, shapes)
    unet, vae = unet_config(shapes), vae_config(shapes, path)
    weights = load_file(path)
    text = CLIPTextConfig(**text_config(shapes))
    tokenizer = _tokenizer(path, text.vocab_size)
    with torch.no_grad():
        components = Components(
            unet=_filled(
                lambda: UNet2DConditionModel(**unet),
                ldm.convert_ldm_unet_checkpoint(dict(weights), unet),
                path,
                dtype,
            ),
            vae=_filled(
                lambda: AutoencoderKL(**vae), ldm.convert_ldm_vae_checkpoint(dict(weights), vae), path, dtype
            ),
            text_encoder=_filled(
                lambda: CLIPTextModel(text), ldm.convert_ldm_clip_checkpoint(dict(weights)), path, dtype
            ),
            tokenizer=tokenizer,
            scheduler=PNDMScheduler(**scheduler_config(shapes)),
        )
    _report_unused(path, shapes)
    return components


def unet_config(shapes: Shapes) -> dict[str, Any]:
    """Configuration of the `UNet2DConditionModel` with these shapes."""
    channels, attends, depth = _levels(shapes)
    layers = sum(f"{UNET}input_blocks.{i}.0.in_layers.2.weight" in shapes for i in range(1, 100)) // len(
        channels
    )
    context = next(shape[1] for name, shape in shapes.items() if name.endswith(".attn2.to_k.weight"))
    linear = any(name.endswith(".1.proj_in.weight") and len(shape) == 2 for name, shape in shapes.items())
    return {
        "sample_size": 64,
        "in_channels": shapes[f"{UNET}input_blocks.0.0.weight"][1],
        "out_channels": shapes[f"{UNET}out.2.weight"][0],
        "down_block_types": tuple("CrossAttnDownBlock2D" if here else "DownBlock2D" for here in attends),
        "up_block_types": tuple("CrossAttnUpBlock2D" if here else "UpBlock2D" for here in reversed(attends)),
        "block_out_channels": tuple(channels),
        "layers_per_block": layers,
        "cross_attention_dim": context,
        "attention_head_dim": 8,
        "transformer_layers_per_block": depth,
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
        raise ModelError(f"{path} has no VAE ({VAE}…); a single file of Stable Diffusion 1.x has one")
    return {
        "sample_size": 512,
        "down_block_types": ("DownEncoderBlock2D",) * len(channels),
        "up_block_types": ("UpDecoderBlock2D",) * len(channels),
        "block_out_channels": tuple(channels),
        "layers_per_block": layers,
        "latent_channels": shapes[quant][1],
        "scaling_factor": 0.18215,
    }


def text_config(shapes: Shapes) -> dict[str, Any]:
    """Configuration of the `CLIPTextModel` with these shapes, heads of 64 as in CLIP."""
    sizes = {name.removeprefix(TEXT).removeprefix("text_model."): shape for name, shape in shapes.items()}
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


def scheduler_config(shapes: Shapes) -> dict[str, Any]:
    """Stable Diffusion 1.5's own scheduler; `v_pred` and `ztsnr` are markers that trainers write."""
    return {
        "beta_start": 0.00085,
        "beta_end": 0.012,
        "beta_schedule": "scaled_linear",
        "skip_prk_steps": True,
        "steps_offset": 1,
        "set_alpha_to_one": False,
        "prediction_type": "v_prediction" if "v_pred" in shapes else "epsilon",
        **({"rescale_betas_zero_snr": True, "timestep_spacing": "trailing"} if "ztsnr" in shapes else {}),
    }


def _levels(shapes: Shapes) -> tuple[list[int], list[bool], int]:
    """Channels of each resolution, whether its blocks attend to the text, and transformer layers a block."""
    channels: list[int] = []
    attends: list[bool] = []
    depth, begins, index = 1, True, 1
    while True:
        block = f"{UNET}input_blocks.{index}"
        width = shapes.get(f"{block}.0.out_layers.3.weight")
        if width is None:
            if f"{block}.0.op.weight" not in shapes:
                return channels, attends, depth
            begins = True
        else:
            if begins:
                channels.append(width[0])
                attends.append(f"{block}.1.proj_in.weight" in shapes)
            begins = False
            while f"{block}.1.transformer_blocks.{depth}.norm1.weight" in shapes:
                depth += 1
        index += 1


def _check_family(path: Path, shapes: Shapes) -> None:
    if f"{UNET}input_blocks.0.0.weight" in shapes and any(name.startswith(TEXT) for name in shapes):
        return
    for prefix, family in _OTHERS.items():
        if any(name.startswith(prefix) for name in shapes):
            raise ModelError(
                f"{path} is {family} by its keys ({prefix}…); a single file is opened if it is Stable Diffusion 1.x"
            )
    first = ", ".join(list(shapes)[:3]) or "none"
    raise ModelError(
        f"{path} is no Stable Diffusion 1.x by its keys (there are {first} …); {UNET}… is missing"
    )


def _filled(make: Callable[[], Any], state: Mapping[str, Tensor], path: Path, dtype: torch.dtype) -> Any:
    """A model with these weights, not initialised first."""
    from accelerate import init_empty_weights

    with init_empty_weights(include_buffers=False):
        model = make()
    expected = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    kind = type(model).__name__
    prefix = "" if any(name.startswith("text_model.") for name in expected) else "text_model."
    given = {name.removeprefix(prefix): tensor for name, tensor in state.items()}
    for name, shape in expected.items():
        if name not in given:
            raise ModelError(f"{path} lacks {name} of {kind}")
        if tuple(given[name].shape) != shape:
            raise ModelError(
                f"{path}: {name} of {kind} has shape {tuple(given[name].shape)}, expected {shape}"
            )
    unknown = [name for name in given if name not in expected and not name.endswith("position_ids")]
    if unknown:
        raise ModelError(f"{path} has {unknown[0]}, which {kind} of these sizes does not know")
    model.load_state_dict(
        {name: given[name].to(dtype).contiguous() for name in expected}, strict=True, assign=True
    )
    return model.requires_grad_(True).eval()


def _report_unused(path: Path, shapes: Shapes) -> None:
    """Schedule buffers and markers are without meaning here; anything else is said."""
    unused = [
        name for name in shapes if not name.startswith((UNET, VAE, TEXT, *_WITHOUT_MEANING)) and "." in name
    ]
    if unused:
        logger.warning("%s: %d tensors are not used, such as %s", path, len(unused), unused[0])


def _tokenizer(path: Path, vocabulary: int) -> Any:
    from transformers import CLIPTokenizer

    beside = path.parent / "tokenizer"
    source = str(beside) if beside.is_dir() else TOKENIZER
    try:
        tokenizer = CLIPTokenizer.from_pretrained(source)
    except Exception as error:
        raise ModelError(_no_tokenizer(path, source, type(error).__name__)) from error
    # Without its files transformers hands over a tokenizer of two tokens, and says nothing.
    if len(tokenizer) != vocabulary:
        raise ModelError(
            _no_tokenizer(path, source, f"{len(tokenizer)} tokens, the text encoder has {vocabulary}")
        )
    return tokenizer


def _no_tokenizer(path: Path, source: str, why: str) -> str:
    return (
        f"{path} holds no tokenizer, and {source} does not give it one ({why}); connect to the network once, or put "
        f"CLIP's tokenizer into the folder {path.parent / 'tokenizer'}"
    )
