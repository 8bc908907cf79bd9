"""`LoRA`: an adapter on the models of a pipeline, for one run or for all inside `pipe.using`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from mezzotint import Extension, Field, hookimpl
from pydantic import field_validator, model_validator

from . import schedule as schedules

if TYPE_CHECKING:
    from mezzotint import Pipeline, Run
    from torch import Tensor

    from .fitting import Report
    from .stack import Handle


class LoRA(Extension, name="lora"):
    """LoRA and its kin (LoCon, LoHa, LoKr, DoRA, full differences, norms) from a file of any layout."""

    path: Path = Field(
        description="safetensors file of kohya, LyCORIS, diffusers or peft, or a folder of the last two"
    )
    weight: float = Field(
        1.0,
        description="multiplies the whole change; 0 is the base, negative the opposite",
    )
    fuse: bool = Field(
        False, description="add it into the weights for the time of use: no cost a step, more memory"
    )
    text_encoder_weight: float | None = Field(
        None, description="in place of weight for text encoders; default: weight"
    )
    blocks: dict[str, float] = Field(
        default_factory=dict,
        description='factors by place, such as {"down.*": 0.5, "mid": 0, "text.11": 0.3}; the closest counts',
    )
    schedule: tuple[tuple[float, float], ...] = Field(
        default_factory=tuple,
        description="factors over the run for the U-Net, [[fraction, factor], …] with lines between, such as "
        "[[0, 1], [0.5, 0]]",
    )
    strict: bool = Field(
        True,
        description="an error where a key of the file does not fit; else such keys are left out and reported",
    )
    swap_rank: int = Field(
        0,
        ge=0,
        description="room for ranks in a compiled model, so that another LoRA of at most this rank compiles "
        "nothing anew; 0 for no room",
    )

    @field_validator("schedule")
    @classmethod
    def _check_schedule(cls, value: tuple[tuple[float, float], ...]) -> tuple[tuple[float, float], ...]:
        schedules.check(value)
        return value

    @model_validator(mode="after")
    def _check_fuse(self) -> LoRA:
        if self.fuse and self.schedule:
            raise ValueError(
                "fuse keeps the weights as they are for all steps, and schedule changes them; use one"
            )
        return self

    def report(self, pipe: Pipeline) -> Report:
        """What of the file goes where in this pipeline's models, key by key; nothing is changed.

        Also of a file that does not fit: `report.fits` says whether it does.

        Raises:
            LoRAError: the file cannot be read.
        """
        from .loading import loaded

        return loaded(self, pipe, demanding=False).report

    @hookimpl
    @contextmanager
    def patch_text_encoder(self, text_encoder: Any, name: str, pipe: Pipeline) -> Iterator[None]:
        """Put a text encoder's part of the file on it."""
        with self._on(name, text_encoder, pipe):
            yield

    @hookimpl
    @contextmanager
    def patch_unet(self, unet: Any, pipe: Pipeline) -> Iterator[None]:
        """Put the U-Net's part of the file on it."""
        with self._on("unet", unet, pipe) as handle, _handed_over(self, pipe, handle):
            yield

    @hookimpl
    def step_begin(self, run: Run) -> Tensor | None:
        """Publish the report, and follow the schedule."""
        assert run.step is not None  # inside the loop
        if run.step.index == 0:
            run.publish(self, report=self.report(run.pipe))
        if self.schedule:
            _HANDLES[run.pipe][id(self)].scale(schedules.factor_at(self.schedule, run.step.fraction))
        return None

    @contextmanager
    def _on(self, component: str, model: Any, pipe: Pipeline) -> Iterator[Handle]:
        from .loading import loaded, stack_of, use_of

        ready = loaded(self, pipe)
        with stack_of(component, model, pipe).using(
            use_of(ready, component, self.fuse, self.swap_rank)
        ) as handle:
            yield handle


_HANDLES: WeakKeyDictionary[Pipeline, dict[int, Handle]] = WeakKeyDictionary()
"""Of the LoRAs that are on a pipeline at the moment, by the extension's id: an extension is frozen, and may be on
several pipelines at once. Not a resource of the pipeline, which may be freed meanwhile."""


@contextmanager
def _handed_over(extension: LoRA, pipe: Pipeline, handle: Handle) -> Iterator[None]:
    """Let `step_begin` find the handle."""
    handles = _HANDLES.setdefault(pipe, {})
    handles[id(extension)] = handle
    try:
        yield
    finally:
        del handles[id(extension)]
