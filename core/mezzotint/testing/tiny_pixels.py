"""A tiny random model in the shape of DeepFloyd IF: pixels, T5, a U-Net that predicts its variance."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from diffusers import DDPMScheduler, UNet2DConditionModel
from transformers import T5Config, T5EncoderModel, T5Tokenizer

WIDTH = 32


def save_tiny_pixel_model(folder: Path, *, learned_variance: bool = True, seed: int = 0, **unet: Any) -> Path:
    """Write a diffusers folder with random weights, without a VAE: pictures of 16×16 pixels; returns the folder.

    Args:
        learned_variance: whether the U-Net predicts a variance in three further channels, as stage I of IF does.
        seed: of the weights.
        unet: changes to the U-Net's configuration.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        tokenizer = _tokenizer(folder / "tokenizer")
        _unet(6 if learned_variance else 3, **unet).save_pretrained(folder / "unet")
        _text_encoder(len(tokenizer)).save_pretrained(folder / "text_encoder")
    DDPMScheduler(
        beta_schedule="squaredcos_cap_v2",
        variance_type="learned_range" if learned_variance else "fixed_small",
        thresholding=True,
        dynamic_thresholding_ratio=0.95,
        sample_max_value=1.5,
    ).save_pretrained(folder / "scheduler")
    index = {
        "_class_name": "IFPipeline",
        "unet": ["diffusers", "UNet2DConditionModel"],
        "text_encoder": ["transformers", "T5EncoderModel"],
        "tokenizer": ["transformers", "T5Tokenizer"],
        "scheduler": ["diffusers", "DDPMScheduler"],
        "safety_checker": [None, None],
        "feature_extractor": [None, None],
        "watermarker": [None, None],
        "requires_safety_checker": False,
    }
    (folder / "model_index.json").write_text(json.dumps(index, indent=2))
    return folder


def _unet(out_channels: int, **changes: Any) -> UNet2DConditionModel:
    config: dict[str, Any] = {
        "sample_size": 16,
        "layers_per_block": 1,
        "block_out_channels": (16, 32),
        "down_block_types": ("ResnetDownsampleBlock2D", "SimpleCrossAttnDownBlock2D"),
        "mid_block_type": "UNetMidBlock2DSimpleCrossAttn",
        "up_block_types": ("SimpleCrossAttnUpBlock2D", "ResnetUpsampleBlock2D"),
        "in_channels": 3,
        "out_channels": out_channels,
        "cross_attention_dim": WIDTH,
        "encoder_hid_dim": WIDTH,
        "encoder_hid_dim_type": "text_proj",
        "attention_head_dim": 2,
        "addition_embed_type": "text",
        "addition_embed_type_num_heads": 2,
        "cross_attention_norm": "group_norm",
        "resnet_time_scale_shift": "scale_shift",
        "act_fn": "gelu",
        "norm_num_groups": 4,
    }
    return UNet2DConditionModel(**{**config, **changes})


def _text_encoder(vocabulary: int) -> T5EncoderModel:
    return T5EncoderModel(
        T5Config(
            vocab_size=vocabulary,
            d_model=WIDTH,
            d_kv=8,
            d_ff=37,
            num_layers=2,
            num_heads=4,
            feed_forward_proj="gated-gelu",
        )
    ).eval()


def _tokenizer(folder: Path) -> T5Tokenizer:
    """T5's tokenizer with single letters for pieces."""
    letters = "abcdefghijklmnopqrstuvwxyz0123456789.,:;!?'\"()[]-"
    pieces = [
        ("<pad>", 0.0),
        ("</s>", 0.0),
        ("<unk>", 0.0),
        ("▁", -2.0),
        *((letter, -3.0) for letter in letters),
    ]
    tokenizer = T5Tokenizer(vocab=pieces, extra_ids=0, model_max_length=77)
    tokenizer.save_pretrained(folder)
    return tokenizer
