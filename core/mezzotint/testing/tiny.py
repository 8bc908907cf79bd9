"""Tiny random models in the shape of Stable Diffusion 1.x: real classes, a few thousand parameters, milliseconds."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from tokenizers.pre_tokenizers import ByteLevel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from ..models.components import Components, Source
from ..models.loading import open_folder
from ..pipeline.pipeline import Pipeline
from ..plugins.registry import Registry
from ..plugins.settings import Settings

MAX_TOKENS = 16
TEXT_DIM = 32


def save_tiny_model(folder: Path, *, prediction_type: str = "epsilon", seed: int = 0, **unet: Any) -> Path:
    """Write a diffusers folder with random weights: 32 px images, 16×16 latents; returns the folder.

    Args:
        prediction_type: `epsilon` or `v_prediction`, into the scheduler's configuration.
        seed: of the weights.
        unet: changes to the U-Net's configuration.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        tokenizer = tiny_tokenizer(folder / "tokenizer")
        tiny_unet(**unet).save_pretrained(folder / "unet")
        tiny_vae().save_pretrained(folder / "vae")
        _tiny_text_encoder(len(tokenizer)).save_pretrained(folder / "text_encoder")
    DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
        prediction_type=prediction_type,
    ).save_pretrained(folder / "scheduler")
    index = {
        "_class_name": "StableDiffusionPipeline",
        "unet": ["diffusers", "UNet2DConditionModel"],
        "vae": ["diffusers", "AutoencoderKL"],
        "text_encoder": ["transformers", "CLIPTextModel"],
        "tokenizer": ["transformers", "CLIPTokenizer"],
        "scheduler": ["diffusers", "DDIMScheduler"],
        "safety_checker": [None, None],
        "feature_extractor": [None, None],
        "requires_safety_checker": False,
    }
    (folder / "model_index.json").write_text(json.dumps(index, indent=2))
    return folder


def tiny_pipeline(
    folder: Path, *, plugins: Sequence[object] = (), prediction_type: str = "epsilon", seed: int = 0
) -> Pipeline:
    """A pipeline over a tiny model with the given plugins alone; installed ones are left out.

    Args:
        folder: where the model is, or is to be written if it is not there.
    """
    if not (folder / "model_index.json").exists():
        save_tiny_model(folder, prediction_type=prediction_type, seed=seed)
    registry = Registry.load(plugins, settings=Settings({}), entry_points=())
    components: Components = open_folder(folder, torch.float32)
    return Pipeline(components, registry, Source(str(folder), folder))


def tiny_unet(**changes: Any) -> UNet2DConditionModel:
    """A U-Net of the shape of Stable Diffusion 1.x, with changes to its configuration."""
    config: dict[str, Any] = {
        "sample_size": 16,
        "block_out_channels": (8, 16),
        "layers_per_block": 1,
        "in_channels": 4,
        "out_channels": 4,
        "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
        "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
        "cross_attention_dim": TEXT_DIM,
        "attention_head_dim": 2,
        "norm_num_groups": 4,
    }
    return UNet2DConditionModel(**{**config, **changes})


def tiny_vae() -> AutoencoderKL:
    """An autoencoder with two pixels a latent."""
    return AutoencoderKL(
        block_out_channels=(8, 16),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        latent_channels=4,
        norm_num_groups=4,
        sample_size=32,
    )


def _tiny_text_encoder(vocabulary: int) -> CLIPTextModel:
    model = CLIPTextModel(
        CLIPTextConfig(
            vocab_size=vocabulary,
            hidden_size=TEXT_DIM,
            intermediate_size=37,
            num_hidden_layers=2,
            num_attention_heads=2,
            max_position_embeddings=MAX_TOKENS,
            bos_token_id=vocabulary - 2,
            eos_token_id=vocabulary - 1,
            pad_token_id=vocabulary - 1,
        )
    )
    # As in a trained model: embeddings have a mean, which prompt weights rely on.
    torch.nn.init.normal_(model.final_layer_norm.bias, std=0.1)
    return model.eval()


def tiny_tokenizer(folder: Path, **options: Any) -> CLIPTokenizer:
    """CLIP's tokenizer with bytes alone and no merges, written to a folder."""
    letters = sorted(ByteLevel.alphabet())
    tokens = [*letters, *(letter + "</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    tokenizer = CLIPTokenizer(
        vocab={token: number for number, token in enumerate(tokens)},
        merges=[],
        model_max_length=MAX_TOKENS,
        **options,
    )
    tokenizer.save_pretrained(folder)
    return tokenizer
