"""A tiny random model in the shape of Stable Diffusion XL: two text encoders, a U-Net that is told sizes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from diffusers import EulerDiscreteScheduler
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from ..unet.added_conditions import SIZE_NUMBERS
from .tiny import MAX_TOKENS, TEXT_DIM, tiny_tokenizer, tiny_unet, tiny_vae

SECOND_DIM = 40
POOLED_DIM = 24
TIME_DIM = 8


def save_tiny_xl_model(
    folder: Path,
    *,
    prediction_type: str = "epsilon",
    force_zeros_for_empty_prompt: bool = True,
    seed: int = 0,
    **unet: Any,
) -> Path:
    """Write a diffusers folder with random weights: 32 px images, 16×16 latents; returns the folder.

    Args:
        prediction_type: `epsilon` or `v_prediction`, into the scheduler's configuration.
        force_zeros_for_empty_prompt: into the index; whether an empty negative prompt is zeros.
        seed: of the weights.
        unet: changes to the U-Net's configuration.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        words = len(tiny_tokenizer(folder / "tokenizer"))
        # As in the real one, padded with another token.
        tiny_tokenizer(folder / "tokenizer_2", pad_token="!")
        _unet(**unet).save_pretrained(folder / "unet")
        tiny_vae().save_pretrained(folder / "vae")
        CLIPTextModel(_text_config(words, TEXT_DIM)).save_pretrained(folder / "text_encoder")
        CLIPTextModelWithProjection(
            _text_config(words, SECOND_DIM, hidden_act="gelu", projection_dim=POOLED_DIM)
        ).save_pretrained(folder / "text_encoder_2")
    EulerDiscreteScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        steps_offset=1,
        timestep_spacing="leading",
        prediction_type=prediction_type,
    ).save_pretrained(folder / "scheduler")
    index = {
        "_class_name": "StableDiffusionXLPipeline",
        "unet": ["diffusers", "UNet2DConditionModel"],
        "vae": ["diffusers", "AutoencoderKL"],
        "text_encoder": ["transformers", "CLIPTextModel"],
        "text_encoder_2": ["transformers", "CLIPTextModelWithProjection"],
        "tokenizer": ["transformers", "CLIPTokenizer"],
        "tokenizer_2": ["transformers", "CLIPTokenizer"],
        "scheduler": ["diffusers", "EulerDiscreteScheduler"],
        "force_zeros_for_empty_prompt": force_zeros_for_empty_prompt,
    }
    (folder / "model_index.json").write_text(json.dumps(index, indent=2))
    return folder


def _unet(**changes: Any) -> Any:
    config: dict[str, Any] = {
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
        "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"),
        "transformer_layers_per_block": (1, 2),
        "attention_head_dim": (1, 2),
        "use_linear_projection": True,
        "cross_attention_dim": TEXT_DIM + SECOND_DIM,
        "addition_embed_type": "text_time",
        "addition_time_embed_dim": TIME_DIM,
        "projection_class_embeddings_input_dim": POOLED_DIM + SIZE_NUMBERS * TIME_DIM,
    }
    return tiny_unet(**{**config, **changes})


def _text_config(words: int, width: int, **changes: Any) -> CLIPTextConfig:
    return CLIPTextConfig(
        vocab_size=words,
        hidden_size=width,
        intermediate_size=37,
        num_hidden_layers=3,
        num_attention_heads=2,
        max_position_embeddings=MAX_TOKENS,
        bos_token_id=words - 2,
        eos_token_id=words - 1,
        pad_token_id=words - 1,
        **changes,
    )
