"""What can caching save at most? The arithmetic of a training step, counted and not run.

    python benchmarks/lora_training_bound.py [--model FOLDER ...]

With latents and embeddings cached, a step is the U-Net alone; without, the VAE's encoder and the text encoder come on top,
each once forward. So images a second with caches are at most `bound` times those without, if every operation is as fast
as every other and reading pictures costs nothing. LoRA of rank 8 on the attention layers, as in `lora_training.py`:
the backward pass goes through frozen layers and needs no gradient of their weights. Everything is on torch's meta device.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from lora_training import QUARTER_TEXT, QUARTER_UNET, QUARTER_VAE, RANK, TARGETS
from mezzotint_emoji import MODEL
from torch.utils.flop_counter import FlopCounterMode
from transformers import CLIPTextConfig, CLIPTextModel

SD15_VAE = {
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
    "block_out_channels": (128, 256, 512, 512),
    "layers_per_block": 2,
    "latent_channels": 4,
}
SD15_UNET = {"cross_attention_dim": 768, "attention_head_dim": 8}
CLIP_L = {
    "hidden_size": 768,
    "intermediate_size": 3072,
    "projection_dim": 768,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
}


def main() -> None:
    """Count and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", type=Path, nargs="+", default=[MODEL], help="diffusers folders")
    options = parser.parse_args()
    print(f"{'GFLOP for one picture':26}{'VAE':>10}{'text':>10}{'U-Net':>10}{'bound':>8}")
    for name, vae, text, unet in counted(options.model):
        print(f"{name:26}{vae:10.2f}{text:10.2f}{unet:10.2f}{(vae + text + unet) / unet:8.2f}", flush=True)


def counted(folders: list[Path]) -> Iterator[tuple[str, float, float, float]]:
    """(name, VAE, text encoders, U-Net there and back), in GFLOP."""
    with torch.device("meta"):
        for folder in folders:
            vae = AutoencoderKL.from_config(_config(folder / "vae"))
            unet = UNet2DConditionModel.from_config(_config(folder / "unet"))
            text = CLIPTextModel(CLIPTextConfig(**_config(folder / "text_encoder")))
            side = unet.config.sample_size * 2 ** (len(vae.config.block_out_channels) - 1)
            yield str(folder)[-26:], of_vae(vae, side), of_text(text), of_unet(unet)
        vae, clip = AutoencoderKL(**SD15_VAE), CLIPTextModel(CLIPTextConfig(**CLIP_L))
        for side in (256, 512):
            unet = UNet2DConditionModel(**SD15_UNET, sample_size=side // 8)
            yield f"Stable Diffusion 1.5, {side}", of_vae(vae, side), of_text(clip), of_unet(unet)
        vae, clip = AutoencoderKL(**QUARTER_VAE), CLIPTextModel(CLIPTextConfig(**QUARTER_TEXT))
        yield "sd15-quarter", of_vae(vae, 256), of_text(clip), of_unet(UNet2DConditionModel(**QUARTER_UNET))


def of_vae(vae: AutoencoderKL, side: int) -> float:
    """Encoding one picture."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        vae.encode(torch.zeros(1, 3, side, side))
    return counter.get_total_flops() / 1e9


def of_text(text_encoder: CLIPTextModel) -> float:
    """One caption."""
    count = text_encoder.config.max_position_embeddings
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        text_encoder(torch.zeros(1, count, dtype=torch.long))
    return counter.get_total_flops() / 1e9


def of_unet(unet: UNet2DConditionModel) -> float:
    """A step on one picture, forward and backward, with LoRA on its attention."""
    from peft import LoraConfig, inject_adapter_in_model

    unet.requires_grad_(False)
    inject_adapter_in_model(LoraConfig(r=RANK, lora_alpha=RANK, target_modules=TARGETS), unet)
    side = unet.config.sample_size
    with FlopCounterMode(display=False) as counter:
        prediction = unet(
            torch.zeros(1, unet.config.in_channels, side, side),
            torch.zeros(1),
            torch.zeros(1, 77, unet.config.cross_attention_dim),
            return_dict=False,
        )[0]
        prediction.sum().backward()
    return counter.get_total_flops() / 1e9


def _config(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / "config.json").read_text())
    return content


if __name__ == "__main__":
    main()
