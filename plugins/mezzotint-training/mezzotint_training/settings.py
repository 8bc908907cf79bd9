"""Everything that a training can be told, declared once: Python call, command line, validation and documentation."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

from mezzotint.errors import option_errors
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from .data.policies import BadImage, MissingCaption
from .dependent_options import Needs, check_dependent, check_values, laid_over
from .errors import TrainingError
from .names_elsewhere import answer, names_elsewhere

Size = tuple[Annotated[int, Field(ge=8)], Annotated[int, Field(ge=8)]]
NOTHING_AT_THE_END = "with zero_terminal_snr the last timestep is all noise, which says nothing about the picture; use v_prediction"
Level = Annotated[int, Field(ge=0, le=255)]
Decay = Annotated[float, Field(ge=0, lt=1)]


def _is_text(value: str) -> bool:
    """Whether it can be written; the shell hands on bytes that are no UTF-8 as half characters."""
    return not any("\ud800" <= character <= "\udfff" for character in value)


class TrainingSettings(BaseModel):
    """Options that every training has."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    needs: ClassVar[tuple[Needs, ...]] = (
        Needs(("bucket_min", "bucket_max", "bucket_step", "bucket_no_upscale"), ("buckets",)),
        Needs(("keep_tokens",), ("shuffle_captions", "tag_dropout"), or_pictures=True),
        Needs(("cache_folder",), ("cache",), ("disk",)),
        Needs(("prior_caption", "prior_weight"), ("prior_data",), or_pictures=True),
        Needs(("validate_every",), ("validation",)),
        Needs(("sample_every",), ("sample_prompts",)),
    )
    """Options that do nothing alone; a subclass adds its own."""
    alternatives: ClassVar[tuple[tuple[str, str, str], ...]] = (
        ("steps", "epochs", "steps and epochs both say how long to train"),
    )
    """Options in place of one another, and what is said where both are set; a subclass adds its own."""

    # How long and how much at once.
    steps: int = Field(1000, ge=1, description="Steps of the optimizer.")
    epochs: int | None = Field(None, ge=1, description="Instead of steps: how often every picture comes.")
    batch_size: int = Field(4, ge=1, description="Pictures at once, in each process.")
    accumulate: int = Field(1, ge=1, description="Batches that make up a step.")
    seed: int = Field(0, ge=0, description="All chance comes from it.")
    mixed_precision: Literal["no", "bf16", "fp16"] = Field(
        "no", description="Precision of the networks' arithmetic."
    )
    gradient_checkpointing: bool = Field(False, description="Less memory, about a third slower.")
    compile: bool = Field(
        False, description="Compile the networks with torch's inductor: minutes at first, then faster steps."
    )

    # Pictures.
    resolution: Size | None = Field(None, description="WIDTHxHEIGHT in pixels; default: the model's.")
    buckets: bool = Field(
        True, description="Keep the aspect of pictures; without, all are cut to the resolution."
    )
    bucket_min: int | None = Field(None, ge=8, description="Least side of a bucket; default: as kohya, 256.")
    bucket_max: int | None = Field(
        None, ge=8, description="Greatest side of a bucket; default: as kohya, 1024."
    )
    bucket_step: int | None = Field(
        None, ge=8, description="Sides are multiples of it; default: as kohya, 64."
    )
    bucket_no_upscale: bool = Field(False, description="Never make a picture larger.")
    flip: bool = Field(False, description="Mirror pictures half of the times.")
    random_crop: bool = Field(False, description="Cut pictures at random places; needs cache=off.")
    background: tuple[Level, Level, Level] = Field(
        (255, 255, 255), description="Colour behind what is transparent."
    )
    bad_images: BadImage = Field("stop", description="When a file cannot be read.")
    masks: bool = Field(False, description="Count the loss where NAME.mask.png is white.")
    alpha_masks: bool = Field(False, description="Count the loss where pictures are opaque.")

    # Captions.
    caption: str | None = Field(None, description="For pictures that have none.")
    missing_captions: MissingCaption = Field("stop", description="When a picture has no caption.")
    shuffle_captions: bool = Field(False, description="Shuffle the parts between commas.")
    keep_tokens: int = Field(0, ge=0, description="Parts at the front that are not shuffled or dropped.")
    caption_dropout: float = Field(0.0, ge=0, le=1, description="Chance of an empty caption.")
    tag_dropout: float = Field(0.0, ge=0, le=1, description="Chance of leaving out a part of a caption.")
    clip_skip: int = Field(0, ge=0, description="Layers of the text encoder left out at the end.")

    # What is computed once.
    cache: Literal["memory", "disk", "off"] = Field(
        "memory", description="Keep latents and embeddings: while training, also for the next one, or not."
    )
    cache_folder: Path | None = Field(None, description="For cache=disk; default: the user's cache folder.")
    vae_batch_size: int = Field(
        1, ge=1, description="Pictures that the VAE encodes at once; above 1, to rounding."
    )

    # Loss.
    prediction_type: Literal["auto", "epsilon", "v_prediction", "sample"] = Field(
        "auto", description="What the network predicts; auto: as the model's scheduler says."
    )
    zero_terminal_snr: bool = Field(False, description="Rescale the schedule so that it ends in pure noise.")
    min_snr_gamma: float | None = Field(None, gt=0, description="Cap the weight of easy timesteps; usual: 5.")
    noise_offset: float = Field(0.0, ge=0, description="Vary the brightness of the noise; usual: 0.05.")
    input_perturbation: float = Field(0.0, ge=0, description="Extra noise on the input alone; usual: 0.1.")
    timestep_range: tuple[float, float] = Field(
        (0.0, 1.0), description="Part of the schedule that is trained."
    )
    timestep_sampling: Literal["uniform", "logit-normal"] = Field(
        "uniform", description="How timesteps are drawn."
    )
    prior_data: Path | None = Field(None, description="Pictures of the class, for prior preservation.")
    prior_caption: str | None = Field(None, description="Caption of pictures of the class that have none.")
    prior_weight: float = Field(1.0, ge=0, description="Weight of their loss.")

    # Optimizer.
    optimizer: Literal["adamw", "adamw-8bit", "prodigy", "schedule-free"] = Field(
        "adamw", description="Which."
    )
    learning_rate: float | None = Field(None, gt=0, description="Default: 1e-4; 1 for prodigy.")
    weight_decay: float = Field(0.01, ge=0, description="Pull towards 0.")
    betas: tuple[Decay, Decay] = Field((0.9, 0.999), description="Decay of the optimizer's means.")
    max_grad_norm: float = Field(1.0, ge=0, description="Clip the gradient to this length; 0 does not.")
    schedule: Literal["constant", "linear", "cosine", "cosine_with_restarts", "polynomial"] = Field(
        "constant", description="How the learning rate falls."
    )
    warmup_steps: int = Field(0, ge=0, description="Steps in which the learning rate rises.")
    ema: float | None = Field(
        None, gt=0, lt=1, description="Also keep averaged weights, with this decay, and save those."
    )

    # What is seen meanwhile.
    validation: float = Field(
        0.0, ge=0, lt=1, description="Share of pictures held out to measure the loss on."
    )
    validate_every: int = Field(100, ge=1, description="Steps between measurements.")
    sample_prompts: Path | None = Field(
        None, description="File of prompts to draw while training, one a line."
    )
    sample_every: int = Field(250, ge=1, description="Steps between samples.")
    tensorboard: bool = Field(True, description="Write the loss for TensorBoard.")

    # Checkpoints.
    save_every: int = Field(250, ge=1, description="Steps between checkpoints.")
    keep: int = Field(2, ge=1, description="Checkpoints that stay; older ones are removed.")

    def __init__(self, **options: Any) -> None:
        """Options by name.

        Raises:
            TrainingError: an option is unknown or out of range, two do not fit together, or one would do nothing.
        """
        try:
            super().__init__(**options)
        except ValidationError as error:
            raise self._refusal(error, options) from None

    @field_validator("resolution", mode="before")
    @classmethod
    def _size(cls, value: Any) -> Any:
        """`512` and `512x768` besides (512, 768)."""
        if isinstance(value, str):
            sides = value.lower().split("x")
            value = [int(side) if side.isdecimal() else side for side in sides]
            value = value * 2 if len(value) == 1 else value
        return (value, value) if isinstance(value, int) else value

    @field_validator("background", mode="before")
    @classmethod
    def _colour(cls, value: Any) -> Any:
        if not isinstance(value, list | tuple) or len(value) != 3:
            raise ValueError(f"three numbers R,G,B from 0 to 255, such as 255,255,255, not {value!r}")
        return value

    @model_validator(mode="after")
    def _fit_together(self) -> TrainingSettings:
        check_dependent(self)
        for name, value in self:
            if isinstance(value, str) and not _is_text(value):
                raise ValueError(f"{name} has bytes in it that are no characters")
        if self.random_crop and self.cache != "off":
            raise ValueError("random_crop needs cache=off, as every cut has other latents")
        if self.optimizer == "schedule-free" and self.schedule != "constant":
            raise ValueError(
                "schedule-free averages instead of lowering the learning rate; leave schedule=constant"
            )
        if self.optimizer == "schedule-free" and self.ema is not None:
            raise ValueError("schedule-free averages the weights itself; leave out ema")
        low, high = self.timestep_range
        if not 0 <= low < high <= 1:
            raise ValueError("timestep_range is two rising numbers from 0 to 1")
        if self.zero_terminal_snr and self.prediction_type == "epsilon":
            raise ValueError(NOTHING_AT_THE_END)
        return self

    @property
    def rate(self) -> float:
        """The learning rate, with the optimizer's default."""
        return self.learning_rate or (1.0 if self.optimizer == "prodigy" else 1e-4)

    @property
    def default_caption(self) -> str | None:
        """For pictures without one where nothing is set about them; here there is none."""
        return None

    @property
    def caption_of_others(self) -> str | None:
        """The caption of pictures that have none and show what is to be learned; `None` where `missing_captions` decides."""
        is_left = self.caption is None and "missing_captions" not in self.model_fields_set
        return self.default_caption if is_left else self.caption

    def steps_of(self, batches_per_epoch: int, processes: int) -> int:
        """As many steps as are asked for; where epochs are, as many as these take."""
        if self.epochs is None:
            return self.steps
        return math.ceil(self.epochs * batches_per_epoch / (self.accumulate * processes))

    def replaced(self, **changes: Any) -> Self:
        """The same with changes, checked; what was left to its default stays so, and what they leave nothing to do goes.

        What a change contradicts does not go: `cache` beside `random_crop`, or another `kind` beside `dora`, is an error.
        """
        return self.combined(self.model_dump(exclude_unset=True), changes)

    def over(self, below: Mapping[str, Any]) -> Self:
        """The same, checked, with `below` where nothing is set."""
        return self.combined(below, self.model_dump(exclude_unset=True))

    @classmethod
    def combined(cls, below: Mapping[str, Any], above: Mapping[str, Any]) -> Self:
        """Settings of options from two places, of which those above count; see `laid_over`.

        Raises:
            TrainingError: as for options by name, also for a value that goes.
        """
        options = laid_over(below, above, cls)
        try:
            check_values(cls, {name: value for name, value in below.items() if name not in options})
        except ValidationError as error:
            raise cls._refusal(error, below) from None
        return cls(**options)

    @classmethod
    def _refusal(cls, error: ValidationError, options: Mapping[str, Any]) -> TrainingError:
        """What is wrong with options, as one sentence."""
        fields = cls.model_fields
        for name, value in options.items():
            if name not in fields and (said := answer(name, value, fields)):
                return TrainingError(f"training: no option {name!r}; {said}")
        return TrainingError(option_errors("training", fields, error, elsewhere=names_elsewhere(fields)))
