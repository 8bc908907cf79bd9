"""Train the decoder of the VAE for longer, with the latents as they are.

The U-Net is trained on the latents, so the encoder cannot change any more; the decoder can, at any time.
"""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from torch import Tensor

from .data import load
from .train_vae import SCHEDULE as VAE_SCHEDULE
from .train_vae import augment, measure, reconstruction_loss, to_tensor
from .trainer import Batch, Schedule, Training, train

SCHEDULE = replace(VAE_SCHEDULE, steps=800, learning_rate=6e-4, seed=1)
LATENT_NOISE = 0.05  # of a deviation of 1: what the U-Net gives is never quite a latent of the encoder


def train_decoder(work: Path, schedule: Schedule = SCHEDULE, threads: int = 1) -> None:
    """Train on the training split and write the new decoder into `vae/`."""
    data = load(work)
    seen, unseen = data.split("train"), data.split("concept", "pair")
    vae = AutoencoderKL.from_pretrained(work / "vae").to(memory_format=torch.channels_last)
    vae.encoder.requires_grad_(False)
    vae.quant_conv.requires_grad_(False)
    training = Training(vae, schedule, work / "decoder_training")

    def inputs_of(batch: Batch) -> tuple[Tensor, Tensor]:
        image = to_tensor(augment(seen.pixels[batch.indices], batch.random))
        noise = torch.randn(len(image), vae.config.latent_channels, 8, 8, generator=batch.generator)
        return image, LATENT_NOISE * noise

    def loss(vae: AutoencoderKL, image: Tensor, noise: Tensor) -> dict[str, Tensor]:
        with torch.no_grad():
            latents = vae.encode(image).latent_dist.mean + noise
        reconstruction = vae.decode(latents).sample
        mse = (reconstruction - image).square().mean()
        return {"loss": reconstruction_loss(reconstruction, image), "mse": mse}

    train(training, inputs_of, loss, np.ones(len(seen.pictures), int), threads=threads)
    training.use_average()
    vae.eval().save_pretrained(work / "vae")
    report = json.loads((work / "vae_report.json").read_text())
    report |= {"decoder_steps": training.step, "psnr_held_out_after_decoder": measure(vae, unseen)}
    (work / "vae_report.json").write_text(json.dumps(report, indent=2) + "\n")
    print(json.dumps(report, indent=2))
