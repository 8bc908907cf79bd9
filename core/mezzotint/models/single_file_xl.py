"""A single .safetensors file of Stable Diffusion XL: U-Net, VAE and both text encoders.

Format: keys of Stability-AI's `generative-models`, as everyone shares them: `conditioner.embedders.0.transformer.` is
CLIP in transformers' names, `conditioner.embedders.1.model.` OpenCLIP in its own. What shapes do not say is SDXL's:
heads of 64, the VAE's scale, an Euler scheduler, zeros for an empty negative prompt.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..unet.added_conditions import SIZE_NUMBERS
from . import single_file
from .components import Components, TextEncoder
from .families import STABLE_DIFFUSION_XL
from .filling import filled, open_tokenizer
from .fit import check_fit
from .single_file import UNET, Shapes

if TYPE_CHECKING:
    import torch
    from torch import Tensor

TEXT = "conditioner.embedders.0.transformer."
SECOND = "conditioner.embedders.1.model."
_LABEL_EMBEDDING = [f"{UNET}label_emb.0.{layer}.{part}" for layer in (0, 2) for part in ("weight", "bias")]
_LABEL_WEIGHT = _LABEL_EMBEDDING[0]


def is_whole(shapes: Shapes) -> bool:
    """Whether a file has what only Stable Diffusion XL's base model has."""
    parts = (_LABEL_WEIGHT, f"{TEXT}text_model.embeddings.token_embedding.weight", f"{SECOND}text_projection")
    return all(name in shapes for name in parts)


def open_weights(path: Path, shapes: Shapes, weights: Mapping[str, Tensor], dtype: torch.dtype) -> Components:
    """Build the models that the shapes describe, and fill them.

    Raises:
        ModelError: a tensor is missing, unknown or of another shape; or there is no tokenizer.
    """
    from diffusers import EulerDiscreteScheduler
    from diffusers.loaders import single_file_utils as ldm
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    single_file.refuse_gaps(shapes, path, "U-Net", *_LABEL_EMBEDDING)
    first = CLIPTextConfig(**single_file.text_config(shapes, path, TEXT))
    second = CLIPTextConfig(**second_text_config(shapes, path))
    tokenizers = [
        open_tokenizer(path, first.vocab_size, first.max_position_embeddings),
        # The same words, and another token to pad with.
        open_tokenizer(path, second.vocab_size, second.max_position_embeddings, pad_token="!"),
    ]
    models = [
        filled(lambda: CLIPTextModel(first), ldm.convert_ldm_clip_checkpoint(dict(weights)), path, dtype),
        filled(
            lambda: CLIPTextModelWithProjection(second),
            ldm.convert_open_clip_checkpoint(_Configured(second), dict(weights), SECOND),
            path,
            dtype,
        ),
    ]
    vae = {**single_file.vae_config(shapes, path), "sample_size": 1024, "scaling_factor": 0.13025}
    config = {"timestep_spacing": "leading", **single_file.scheduler_config(shapes)}
    components = Components(
        **single_file.unet_and_vae(weights, unet_config(shapes, path), vae, path, dtype),
        text_encoders={
            name: TextEncoder(model, tokenizer)
            for name, model, tokenizer in zip(
                ("text_encoder", "text_encoder_2"), models, tokenizers, strict=True
            )
        },
        scheduler=EulerDiscreteScheduler(**config),
        family=STABLE_DIFFUSION_XL,
        zeros_for_empty_negative=True,
    )
    single_file.report_unused(path, shapes, ("conditioner.embedders.",))
    check_fit(path, components)
    return components


def unet_config(shapes: Shapes, path: Path) -> dict[str, Any]:
    """Configuration of the `UNet2DConditionModel` with these shapes."""
    config = single_file.unet_config(shapes, path)
    taken, pooled = shapes[_LABEL_WEIGHT][1], shapes[f"{SECOND}text_projection"][1]
    return {
        **config,
        "sample_size": 128,
        "attention_head_dim": tuple(max(1, channels // 64) for channels in config["block_out_channels"]),
        "addition_embed_type": "text_time",
        "addition_time_embed_dim": (taken - pooled) // SIZE_NUMBERS,
        "projection_class_embeddings_input_dim": taken,
    }


def second_text_config(shapes: Shapes, path: Path) -> dict[str, Any]:
    """Configuration of the `CLIPTextModelWithProjection` with these shapes."""
    sizes = {name.removeprefix(SECOND): shape for name, shape in shapes.items() if name.startswith(SECOND)}
    single_file.refuse_gaps(
        sizes,
        path,
        "text encoder",
        "token_embedding.weight",
        "transformer.resblocks.0.mlp.c_fc.weight",
        "positional_embedding",
        prefix=SECOND,
    )
    vocabulary, width = shapes[f"{SECOND}token_embedding.weight"]
    layers = 0
    while f"{SECOND}transformer.resblocks.{layers}.mlp.c_fc.weight" in shapes:
        layers += 1
    return {
        "vocab_size": vocabulary,
        "hidden_size": width,
        "intermediate_size": shapes[f"{SECOND}transformer.resblocks.0.mlp.c_fc.weight"][0],
        "num_hidden_layers": layers,
        "num_attention_heads": max(1, width // 64),
        "max_position_embeddings": shapes[f"{SECOND}positional_embedding"][0],
        "hidden_act": "gelu",
        "projection_dim": shapes[f"{SECOND}text_projection"][1],
        "bos_token_id": vocabulary - 2,
        "eos_token_id": vocabulary - 1,
        "pad_token_id": 0,
    }


class _Configured:
    """What diffusers' renaming looks at of a text encoder that is not made yet."""

    def __init__(self, config: Any) -> None:
        self.config = config
