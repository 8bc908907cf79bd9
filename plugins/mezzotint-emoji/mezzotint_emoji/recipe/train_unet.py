"""Train the U-Net and the text encoder together on cached latents."""

from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from torch import Tensor, nn
from transformers import CLIPTextModel, CLIPTokenizer

from .captions import draw_caption
from .data import Data, load
from .networks import make_scheduler, make_text_encoder, make_unet
from .train_vae import encode
from .trainer import Batch, Schedule, Training, train

SCHEDULE = Schedule(steps=9600, batch=32, learning_rate=7e-4, warmup=200, ema=0.999)
STYLE_WEIGHTS = {
    "3d": 2
}  # pictures of this style come twice an epoch: it is what no style phrase should give


class Denoiser(nn.Module):
    """The two networks that are trained: token ids to embeddings, and noisy latents to v."""

    def __init__(self, unet: UNet2DConditionModel, text_encoder: CLIPTextModel) -> None:
        super().__init__()
        self.unet, self.text_encoder = unet, text_encoder

    def forward(self, latents: Tensor, timesteps: Tensor, ids: Tensor) -> Tensor:
        """(n, c, h, w) noisy latents, (n,) timesteps, (n, tokens) ids to (n, c, h, w) predictions of v."""
        embeddings = self.text_encoder(ids).last_hidden_state
        return self.unet(latents, timesteps, encoder_hidden_states=embeddings, return_dict=False)[0]


def make_denoiser(vocab_size: int, seed: int = 0) -> Denoiser:
    """The untrained networks of this seed."""
    torch.manual_seed(seed)
    return Denoiser(make_unet(), make_text_encoder(vocab_size)).to(memory_format=torch.channels_last)


class VelocityLoss:
    """Mean squared error of v (Salimans & Ho 2022) at timesteps that prefer the middle of the schedule."""

    def __init__(self) -> None:
        alphas_cumprod = make_scheduler().alphas_cumprod
        self.alpha, self.sigma = alphas_cumprod.sqrt(), (1 - alphas_cumprod).sqrt()

    def draw(self, latents: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """Noisy latents, timesteps and the v to predict.

        Three quarters of the timesteps are logit-normal (Esser et al. 2024), the rest uniform.
        """
        n = len(latents)
        normal = torch.sigmoid(torch.randn(n, generator=generator) + 0.3)
        uniform = torch.rand(n, generator=generator)
        fraction = torch.where(torch.rand(n, generator=generator) < 0.75, normal, uniform)
        timesteps = (fraction * len(self.alpha)).long().clamp(max=len(self.alpha) - 1)
        noise = torch.randn(latents.shape, generator=generator)
        alpha, sigma = (table[timesteps].view(-1, 1, 1, 1) for table in (self.alpha, self.sigma))
        return alpha * latents + sigma * noise, timesteps, alpha * noise - sigma * latents

    def __call__(
        self, denoiser: Denoiser, noisy: Tensor, timesteps: Tensor, ids: Tensor, target: Tensor
    ) -> dict[str, Tensor]:
        return {"loss": (denoiser(noisy, timesteps, ids) - target).square().mean()}


def cached_latents(work: Path, data: Data) -> Tensor:
    """Scaled latents of the pictures on white, (n, c, 8, 8), computed once for a VAE."""
    path = work / "vae" / "latents.pt"
    if not path.exists():
        vae = AutoencoderKL.from_pretrained(work / "vae").eval()
        torch.save(encode(vae, data) * vae.config.scaling_factor, path)
    return torch.load(path, weights_only=True)


def train_unet(
    work: Path, schedule: Schedule = SCHEDULE, sheet_every_s: float = 900.0, threads: int = 1
) -> None:
    """Train on the training split; a sheet of samples every quarter of an hour."""
    from .sheet import SheetEvery

    data = load(work).split("train")
    latents = cached_latents(work, data)
    tokenizer = CLIPTokenizer.from_pretrained(work / "tokenizer")
    training = Training(make_denoiser(len(tokenizer), schedule.seed), schedule, work / "unet_training")
    velocity_loss = VelocityLoss()

    def inputs_of(batch: Batch) -> tuple[Tensor, ...]:
        captions = [draw_caption(data.pictures[i], batch.random) for i in batch.indices]
        ids = tokenizer(captions, padding="max_length", truncation=True, return_tensors="pt").input_ids
        chosen = latents[torch.from_numpy(batch.indices)]
        noisy, timesteps, target = velocity_loss.draw(chosen, batch.generator)
        return noisy, timesteps, ids, target

    weights = np.array([STYLE_WEIGHTS.get(picture.style, 1) for picture in data.pictures])
    sheets = SheetEvery(work, sheet_every_s)
    train(training, inputs_of, velocity_loss, weights, after_save=sheets, threads=threads)
