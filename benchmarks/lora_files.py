"""Random models and LoRA files for the LoRA measurements."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import diffusers
import torch

ATTENTION = ("to_q", "to_k", "to_v", "to_out.0")


def random_model(folder: Path) -> Path:
    """A random U-Net of some ten million parameters with attention in three stages."""
    from mezzotint.testing import save_tiny_model

    return save_tiny_model(
        folder,
        block_out_channels=(128, 256, 256),
        layers_per_block=2,
        down_block_types=("CrossAttnDownBlock2D",) * 3,
        up_block_types=("CrossAttnUpBlock2D",) * 3,
        attention_head_dim=8,
        norm_num_groups=32,
    )


def save_loras(unet: torch.nn.Module, folder: Path, count: int, rank: int) -> list[Path]:
    """LoRAs of one alpha on all attention layers, in a format that both sides read alike."""
    from mezzotint_lora import Adapter, Delta, Target, write_adapter

    paths = []
    for seed in range(count):
        generator = torch.Generator().manual_seed(seed)
        deltas = {}
        for name, module in unet.named_modules():
            if name.endswith(ATTENTION):
                down = torch.randn(rank, module.in_features, generator=generator) * 0.02
                up = torch.randn(module.out_features, rank, generator=generator) * 0.02
                deltas[Target("unet", name)] = Delta("lora", {"down": down, "up": up}, float(rank))
        paths.append(folder / f"lora-{seed}.safetensors")
        write_adapter(paths[-1], Adapter(deltas), "diffusers")
    return paths


def stock_pipeline(model: Path) -> Any:
    """diffusers' own pipeline over the same folder."""
    stock = diffusers.StableDiffusionPipeline.from_pretrained(model, safety_checker=None)
    stock.set_progress_bar_config(disable=True)
    return stock


def predictor(unet: torch.nn.Module, size: int = 32) -> Any:
    """A function that runs the U-Net once on two rows."""
    generator = torch.Generator().manual_seed(0)
    sample = torch.randn(2, 4, size, size, generator=generator)
    text = torch.randn(2, 16, unet.config.cross_attention_dim, generator=generator)
    timestep = torch.tensor(500)

    def predict() -> torch.Tensor:
        with torch.no_grad():
            return unet(sample, timestep, text, return_dict=False)[0]

    return predict
