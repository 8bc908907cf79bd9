"""What is trained: the part that LoRA and ControlNet training differ in."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mezzotint import Pipeline
from PIL.Image import Image
from torch import Tensor, nn

from .data.dataset import Dataset
from .data.images import View
from .encoding.text import embed
from .optimizers import ParameterGroup
from .prompts import SamplePrompt
from .settings import TrainingSettings


@dataclass(frozen=True, eq=False)
class Facts:
    """What a trained file's metadata tells."""

    settings: TrainingSettings
    step: int
    epoch: int
    dataset: Dataset
    processes: int
    started: float
    """Seconds since 1970."""


class Trainee(ABC):
    """Networks in a pipeline of which some parameters are trained.

    The parameters that require gradients when training begins are those that are trained, kept in checkpoints and
    averaged. Whoever makes a trainee puts its parts into the pipeline and takes them out again; see
    `mezzotint_lora.training.attached_lora`.
    """

    pipe: Pipeline
    networks: nn.Module
    """`forward(noisy, timesteps, text, conditioning) -> prediction`; accelerate wraps it for several processes."""
    trains_text_encoder: bool = False
    """Then `text` is token ids (n, tokens), else embeddings (n, tokens, dim)."""

    @abstractmethod
    def parameter_groups(self) -> Sequence[ParameterGroup]:
        """The trained parameters with their learning rates."""

    @abstractmethod
    def export(self, path: Path, facts: Facts) -> None:
        """Write the file or folder that people use, with the weights as they are now."""

    def conditioning(self, views: Sequence[View]) -> Tensor | None:
        """Control maps (n, c, height, width) of pictures, or `None` where the networks take none.

        Raises:
            DataError: a picture's map cannot be read or made.
        """
        return None

    def draw(self, prompt: SamplePrompt) -> Image:
        """A picture with the weights as they are now."""
        return self.pipe(prompt.prompt, **prompt.arguments(self.pipe.native_size)).images[0]

    def check(self, data: Dataset) -> None:  # noqa: B027 (most can use any data)
        """Refuse data that the networks cannot use, before anything is encoded.

        Raises:
            DataError: why.
        """


class Denoiser(nn.Module):
    """A U-Net, and a text encoder if that is trained as well, as one network."""

    def __init__(self, unet: nn.Module, text_encoder: nn.Module | None = None, clip_skip: int = 0) -> None:
        super().__init__()
        self.unet = unet
        self.text_encoder = text_encoder
        self.clip_skip = clip_skip
        # Of the base: trained parameters may have another.
        self.dtype = next(unet.parameters()).dtype

    def forward(
        self, noisy: Tensor, timesteps: Tensor, text: Tensor, conditioning: Tensor | None = None
    ) -> Tensor:
        """(n, c, h, w) noisy latents at (n,) timesteps to the prediction (n, c, h, w)."""
        embeddings = text if self.text_encoder is None else embed(self.text_encoder, text, self.clip_skip)
        prediction: Tensor = self.unet(
            noisy.to(self.dtype),
            timesteps,
            encoder_hidden_states=embeddings.to(self.dtype),
            return_dict=False,
        )[0]
        return prediction
