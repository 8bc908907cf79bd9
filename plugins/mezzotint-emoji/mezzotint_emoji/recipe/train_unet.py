"""Train the U-Net and the text encoder together, on scenes that are composed for every step."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from .checkpoint import training_folder
from .data import load, load_tokenizer, to_tensor
from .encoder import load_encoder
from .layouts import Composer
from .networks import Denoiser, make_denoiser, make_scheduler
from .sheet import SheetEvery
from .trainer import Batch, Schedule, Training, train
from .words import load_word_vectors

SCHEDULE = Schedule(steps=15_000, batch=64, learning_rate=1e-3, warmup=300, ema=0.998)
# Where the caption decides what is drawn: below half of the steps, a wrong caption hardly raises the error.
MEAN_LOGIT = 0.8
# Pictures of this style come twice an epoch: it is what no style phrase should give.
STYLE_WEIGHTS = {"3d": 2}


class VelocityLoss:
    """Mean squared error of v (Salimans & Ho 2022) at timesteps that prefer much noise."""

    def __init__(self) -> None:
        alphas_cumprod = make_scheduler().alphas_cumprod
        self.alpha, self.sigma = alphas_cumprod.sqrt(), (1 - alphas_cumprod).sqrt()

    def draw(self, latents: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """Noisy latents, timesteps and the v to predict.

        Three quarters of the timesteps are logit-normal (Esser et al. 2024), the rest uniform.
        """
        n = len(latents)
        normal = torch.sigmoid(MEAN_LOGIT + torch.randn(n, generator=generator))
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


def train_unet(
    work: Path, schedule: Schedule = SCHEDULE, sheet_every_s: float = 900.0, threads: int = 1
) -> None:
    """Train on the training split; a sheet of samples every quarter of an hour."""
    words = load_word_vectors(work)
    fit(
        work,
        lambda: make_denoiser(words, schedule.seed),
        schedule,
        training_folder(work, "unet"),
        after_save=SheetEvery(work, sheet_every_s),
        threads=threads,
    )


def fit(
    work: Path,
    make: Callable[[], Denoiser],
    schedule: Schedule,
    folder: Path,
    after_save: Callable[[int], None] | None = None,
    threads: int = 1,
) -> Denoiser:
    """Train what `make` makes, with checkpoints in `folder`; returns it with the averaged weights."""
    data = load(work).drawn_often()
    composer = Composer(data.pictures, data.pixels)
    encoder = load_encoder(work / "encoder.safetensors")
    tokenizer = load_tokenizer(work)
    torch.manual_seed(schedule.seed)
    denoiser = make().to(memory_format=torch.channels_last)
    training = Training(denoiser, schedule, folder)
    velocity_loss = VelocityLoss()

    def inputs_of(batch: Batch) -> tuple[Tensor, ...]:
        examples = [composer.draw(int(i), batch.random) for i in batch.indices]
        captions = [example.caption for example in examples]
        ids = tokenizer(captions, padding="max_length", truncation=True, return_tensors="pt").input_ids
        latents = encoder(to_tensor(np.stack([composer.pixels_of(example) for example in examples])))
        noisy, timesteps, target = velocity_loss.draw(latents, batch.generator)
        return noisy, timesteps, ids, target

    weights = np.array([STYLE_WEIGHTS.get(picture.style, 1) for picture in data.pictures])
    train(training, inputs_of, velocity_loss, weights, after_save=after_save, threads=threads)
    training.use_average()
    return denoiser
