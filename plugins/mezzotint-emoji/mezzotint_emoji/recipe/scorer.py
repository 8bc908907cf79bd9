"""A small model of which picture and which caption belong together, to measure with: no part of the product.

It is trained as CLIP is (Radford et al. 2021), but from nothing and on the training split alone, so its numbers can
be compared with each other and with nothing else. They are not CLIP scores.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, normalize

from .checkpoint import last_state, load_checkpoint, state_file, training_folder
from .data import Data, load, load_tokenizer, to_tensor
from .layouts import Composer
from .networks import make_text_encoder
from .trainer import Batch, Schedule, Training, train
from .words import load_word_vectors

SCHEDULE = Schedule(
    steps=500, batch=256, learning_rate=1.5e-3, warmup=100, ema=0.99, weight_decay=0.05, seed=2
)
WIDTH = 128


class Residual(nn.Module):
    """x + conv(gelu(norm(x)))."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm, self.conv = nn.GroupNorm(8, channels), nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv(nn.functional.gelu(self.norm(x)))


class Scorer(nn.Module):
    """Pictures and captions as unit vectors of one space, (n, WIDTH); where things lie is not pooled away."""

    def __init__(self, words: Tensor) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for before, channels in ((3, 32), (32, 64), (64, 128), (128, 192)):
            layers += [nn.Conv2d(before, channels, 3, stride=2, padding=1)]
            layers += [Residual(channels)] if channels > 32 else [nn.GELU()]
        self.image_layers = nn.Sequential(*layers, nn.GroupNorm(8, 192), nn.GELU(), nn.Flatten())
        self.image_head = nn.Linear(192 * 16, WIDTH)
        self.text_encoder = make_text_encoder(words)
        self.text_head = nn.Linear(words.shape[1], WIDTH)
        self.log_scale = nn.Parameter(torch.tensor(10.0).log())

    def images(self, images: Tensor) -> Tensor:
        """(n, 3, 64, 64) in [-1, 1] to (n, WIDTH)."""
        return normalize(self.image_head(self.image_layers(images)), dim=1)

    def texts(self, ids: Tensor) -> Tensor:
        """Token ids (n, tokens) to (n, WIDTH)."""
        return normalize(self.text_head(self.text_encoder(ids).pooler_output), dim=1)


def contrastive_loss(scorer: Scorer, images: Tensor, ids: Tensor) -> dict[str, Tensor]:
    """Each picture finds its caption among those of the batch, and each caption its picture."""
    logits = scorer.log_scale.exp().clamp(max=100) * scorer.images(images) @ scorer.texts(ids).T
    target = torch.arange(len(logits))
    loss = (cross_entropy(logits, target) + cross_entropy(logits.T, target)) / 2
    return {"loss": loss, "right": (logits.argmax(1) == target).float().mean()}


def train_scorer(work: Path, schedule: Schedule = SCHEDULE, threads: int = 1) -> None:
    """Train on the pictures that the U-Net is trained on, with captions of the same kind."""
    fit_scorer(work, load(work).drawn_often(), training_folder(work, "scorer"), schedule, threads)


def fit_scorer(work: Path, data: Data, folder: Path, schedule: Schedule, threads: int = 1) -> None:
    """Train on `data`, with checkpoints in `folder`; tokenizer and word vectors are those of `work`."""
    composer = Composer(data.pictures, data.pixels)
    tokenizer = load_tokenizer(work)
    torch.manual_seed(schedule.seed)
    training = Training(Scorer(load_word_vectors(work)), schedule, folder)

    def inputs_of(batch: Batch) -> tuple[Tensor, ...]:
        examples = [composer.captioned(int(i), batch.random) for i in batch.indices]
        ids = tokenizer(
            [example.caption for example in examples],
            padding="max_length",
            truncation=True,
            return_tensors="pt",
        ).input_ids
        return to_tensor(np.stack([composer.pixels_of(example) for example in examples])), ids

    train(training, inputs_of, contrastive_loss, np.ones(len(data.pictures), int), threads=threads)


class Judge:
    """A trained scorer with its tokenizer: embeds pictures and captions without gradients.

    Args:
        work: folder of the recipe.
        folder: of the scorer's checkpoint; default: the recipe's own scorer.
    """

    def __init__(self, work: Path, folder: Path | None = None) -> None:
        self.tokenizer = load_tokenizer(work)
        self.scorer = Scorer(load_word_vectors(work)).eval()
        state = last_state(work, "scorer") if folder is None else load_checkpoint(state_file(folder))
        with torch.no_grad():
            for parameter, mean in zip(self.scorer.parameters(), state["average"], strict=True):
                parameter.copy_(mean)

    @torch.no_grad()
    def images(self, pixels: np.ndarray) -> Tensor:
        """uint8 (n, 64, 64, 3) to (n, WIDTH)."""
        return torch.cat([self.scorer.images(part) for part in to_tensor(pixels).split(128)])

    @torch.no_grad()
    def texts(self, captions: Sequence[str]) -> Tensor:
        """Captions to (n, WIDTH)."""
        ids = self.tokenizer(
            list(captions), padding="max_length", truncation=True, return_tensors="pt"
        ).input_ids
        return torch.cat([self.scorer.texts(part) for part in ids.split(256)])
