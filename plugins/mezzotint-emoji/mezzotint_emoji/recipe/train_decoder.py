"""Train the decoder of the VAE; its encoder is not trained, see `encoder`."""

from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from torch import Tensor

from .checkpoint import training_folder
from .data import Data, load, to_tensor
from .encoder import load_encoder
from .layouts import Composer
from .networks import Decoder, make_vae
from .render import on_background
from .trained import load_vae
from .trainer import Batch, Schedule, Training, train

SCHEDULE = Schedule(steps=4_000, batch=16, learning_rate=2e-3, warmup=100, ema=0.998)
LATENT_NOISE = 0.04  # what the U-Net gives is never quite a latent of the encoder


def reconstruction_loss(reconstruction: Tensor, image: Tensor) -> Tensor:
    """L1 of pixels and of their differences to the right and below, for sharp edges, and a squared error.

    Without the squared error, training starts on a plateau: white everywhere is the median of every pixel.
    """
    error = reconstruction - image
    edges = error.diff(dim=-1).abs().mean() + error.diff(dim=-2).abs().mean()
    return error.abs().mean() + 0.5 * edges + 4 * error.square().mean()


def psnr(reconstruction: Tensor, image: Tensor) -> Tensor:
    """Peak signal-to-noise ratio in dB of images in [-1, 1], each (n,)."""
    return 10 * torch.log10(4 / (reconstruction.clamp(-1, 1) - image).square().mean(dim=(1, 2, 3)))


def train_decoder(work: Path, schedule: Schedule = SCHEDULE, threads: int = 1) -> None:
    """Train on scenes of the training split; the held-out pictures are measured at every checkpoint."""
    data = load(work)
    seen, unseen = data.split("train"), data.split("concept", "pair")
    composer = Composer(seen.pictures, seen.pixels)
    encoder = load_encoder(work / "encoder.safetensors")
    torch.manual_seed(schedule.seed)
    vae = make_vae(encoder)
    training = Training(
        Decoder(vae).to(memory_format=torch.channels_last), schedule, training_folder(work, "decoder")
    )

    def inputs_of(batch: Batch) -> tuple[Tensor, Tensor]:
        examples = [composer.draw(int(i), batch.random) for i in batch.indices]
        images = to_tensor(np.stack([composer.pixels_of(example) for example in examples]))
        latents = encoder(images)
        noise = torch.randn(latents.shape, generator=batch.generator)
        return images, latents + LATENT_NOISE * noise

    def loss(decoder: Decoder, images: Tensor, latents: Tensor) -> dict[str, Tensor]:
        reconstruction = decoder(latents)
        mse = (reconstruction - images).square().mean()
        return {"loss": reconstruction_loss(reconstruction, images), "mse": mse}

    sample = unseen.take(range(0, len(unseen.pictures), 8))

    def report(step: int) -> None:
        print(f"step {step}  PSNR of held-out pictures {measure(load_vae(work), sample):.2f} dB", flush=True)

    train(training, inputs_of, loss, np.ones(len(seen.pictures), int), after_save=report, threads=threads)


@torch.no_grad()
def measure(vae: AutoencoderKL, data: Data) -> float:
    """Mean PSNR in dB of the reconstructions on white, through the VAE as diffusers runs it."""
    images = to_tensor(on_background(data.pixels)).split(32)
    values = [psnr(vae.decode(vae.encode(x).latent_dist.mode()).sample, x) for x in images]
    return torch.cat(values).mean().item()
