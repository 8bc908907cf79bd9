"""Train the VAE and measure the latents."""

import json
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from torch import Tensor
from torch.nn.functional import avg_pool2d

from .data import Data, load
from .networks import make_vae
from .render import on_background
from .trainer import Batch, Schedule, Training, train

SCHEDULE = Schedule(steps=3300, batch=16, learning_rate=1.4e-3, warmup=50, ema=0.995)
KL_WEIGHT, COLOR_WEIGHT = 1e-6, 2.0


def to_tensor(pixels: np.ndarray) -> Tensor:
    """uint8 (n, h, w, 3) to float32 (n, 3, h, w) in [-1, 1], channels last in memory."""
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).float().div(127.5).sub(1)


def augment(pixels: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Mirror half, shift by up to 4 pixels, put a third on a random colour. (n, h, w, 4) to (n, h, w, 3)."""
    out = []
    for picture in pixels:
        mirrored = picture[:, ::-1] if random.random() < 0.5 else picture
        shifted = np.roll(mirrored, random.integers(-4, 5, 2), axis=(0, 1))
        color = tuple(random.integers(0, 256, 3)) if random.random() < 1 / 3 else (255, 255, 255)
        out.append(on_background(shifted, color))
    return np.stack(out)


def reconstruction_loss(reconstruction: Tensor, image: Tensor) -> Tensor:
    """L1 of pixels and of their differences to the right and below, for sharp edges, and a squared error.

    Without the squared error, training starts on a plateau: white everywhere is the median of every pixel.
    """
    error = reconstruction - image
    edges = error.diff(dim=-1).abs().mean() + error.diff(dim=-2).abs().mean()
    return error.abs().mean() + 0.5 * edges + 2 * error.square().mean()


def color_loss(latents: Tensor, image: Tensor) -> Tensor:
    """Squared error of the first three latent channels against red, green and blue at 1/8 of the size.

    Group normalisation hides absolute colour from the layers; without this hint a green face stays orange for
    tens of thousands of images.
    """
    return (latents[:, :3] - avg_pool2d(image, 8)).square().mean()


def psnr(reconstruction: Tensor, image: Tensor) -> Tensor:
    """Peak signal-to-noise ratio in dB of images in [-1, 1], each (n,)."""
    return 10 * torch.log10(4 / (reconstruction.clamp(-1, 1) - image).square().mean(dim=(1, 2, 3)))


def train_vae(work: Path, schedule: Schedule = SCHEDULE, threads: int = 1) -> None:
    """Train on the pictures of the training split; then write `vae/` with normalised latents."""
    data = load(work)
    seen, unseen = data.split("train"), data.split("concept", "pair")
    torch.manual_seed(schedule.seed)
    vae = make_vae().to(memory_format=torch.channels_last)
    with torch.no_grad():
        # Starting with a standard deviation of 1 would drown the signal, and the encoder would never be used.
        vae.quant_conv.bias[vae.config.latent_channels :] = -6.0
    training = Training(vae, schedule, work / "vae_training")

    def inputs_of(batch: Batch) -> tuple[Tensor, Tensor]:
        image = to_tensor(augment(seen.pixels[batch.indices], batch.random))
        return image, torch.randn(len(image), vae.config.latent_channels, 8, 8, generator=batch.generator)

    def loss(vae: AutoencoderKL, image: Tensor, noise: Tensor) -> dict[str, Tensor]:
        posterior = vae.encode(image).latent_dist
        reconstruction = vae.decode(posterior.mean + posterior.std * noise).sample
        kl = posterior.kl().mean() / noise[0].numel()
        color = color_loss(posterior.mean, image)
        loss = reconstruction_loss(reconstruction, image) + COLOR_WEIGHT * color + KL_WEIGHT * kl
        mse = (reconstruction - image).square().mean()
        return {"loss": loss, "color": color, "kl": kl, "mse": mse}

    train(training, inputs_of, loss, np.ones(len(seen.pictures), int), threads=threads)
    training.use_average()
    vae.eval()
    normalize_latents(vae, encode(vae, seen))
    latents = encode(vae, seen)
    report = {
        "steps": training.step,
        "psnr_train": measure(vae, Data(seen.pictures[::8], seen.pixels[::8])),
        "psnr_held_out": measure(vae, unseen),
        "latent_mean": latents.mean().item(),
        "latent_std": latents.std().item(),
    }
    vae.register_to_config(scaling_factor=1 / report["latent_std"])
    vae.save_pretrained(work / "vae")
    (work / "vae" / "latents.pt").unlink(missing_ok=True)  # of an earlier encoder
    (work / "vae_report.json").write_text(json.dumps(report, indent=2) + "\n")
    print(json.dumps(report, indent=2))


@torch.no_grad()
def normalize_latents(vae: AutoencoderKL, latents: Tensor) -> None:
    """Give each latent channel mean 0 and deviation 1 by folding its statistics into the 1 × 1 convolutions.

    Stable Diffusion pipelines know one scaling factor for all channels, not one per channel.
    """
    channels = vae.config.latent_channels
    mean, std = latents.mean(dim=(0, 2, 3)), latents.std(dim=(0, 2, 3))
    quant, post_quant = vae.quant_conv, vae.post_quant_conv
    post_quant.bias += torch.einsum("oc,c->o", post_quant.weight[:, :, 0, 0], mean)
    post_quant.weight *= std[None, :, None, None]
    quant.weight[:channels] /= std[:, None, None, None]
    quant.bias[:channels] = (quant.bias[:channels] - mean) / std
    quant.bias[channels:] -= 2 * std.log()  # the second half is the log-variance


@torch.no_grad()
def encode(vae: AutoencoderKL, data: Data, batch: int = 64) -> Tensor:
    """The posterior means of the pictures on white, unscaled, (n, channels, 8, 8)."""
    images = to_tensor(on_background(data.pixels)).split(batch)
    return torch.cat([vae.encode(image).latent_dist.mean for image in images])


@torch.no_grad()
def measure(vae: AutoencoderKL, data: Data) -> float:
    """Mean PSNR in dB of the reconstructions on white."""
    images = to_tensor(on_background(data.pixels)).split(64)
    return (
        torch.cat([psnr(vae.decode(vae.encode(x).latent_dist.mean).sample, x) for x in images]).mean().item()
    )
