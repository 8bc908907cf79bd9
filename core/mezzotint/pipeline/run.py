"""The state of one run: what hooks see, and when each part of it is valid."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

from ..errors import MezzotintError
from ..hooks.conditioning import Conditioning, Pass
from ..scheduling.frame import ModelFrame
from ..scheduling.model_config import model_config
from ..scheduling.noise_schedule import NoiseSchedule, noise_schedule
from .request import Request

if TYPE_CHECKING:
    import torch
    from diffusers import SchedulerMixin
    from PIL.Image import Image
    from torch import Tensor

    from ..hooks.guidance import Guidance
    from ..planning.plan import Plan
    from ..plugins.extension import Extension
    from .pipeline import Pipeline

State = TypeVar("State")


@dataclass(frozen=True, eq=False)
class LoopStep:
    """Where the loop is. One step is one call of the U-Net; a Heun step of the solver is two."""

    index: int
    """From 0."""
    count: int
    timestep: Tensor
    """0-d, as the U-Net gets it."""

    @property
    def fraction(self) -> float:
        """`index / count`: 0 at the first step."""
        return self.index / self.count


@dataclass(eq=False)
class Run:
    """One run of a pipeline. Hooks may read everything and write only through what they return."""

    pipe: Pipeline
    request: Request
    plan: Plan
    generators: list[torch.Generator]
    """One for each image, seeded `seed + k` on the CPU; drawing from them changes the picture."""
    guidance: Guidance = field(init=False)
    """Valid once `guidance` was asked, which comes first."""
    scheduler: SchedulerMixin = field(init=False)
    """Valid from `timesteps` on."""
    timesteps: Tensor = field(init=False)
    """All that the loop visits, (k,), after every `timesteps` hook; valid from `initial_latents` on."""
    clock: Clock = field(default_factory=lambda: Clock())
    """Seconds since the loop began."""
    step: LoopStep | None = None
    """`None` before and after the loop."""
    passes: tuple[Pass, ...] = ()
    """The passes of this step; valid from `conditioning` on, and inside `evaluate` those of that evaluation."""
    latents: Tensor | None = None
    """(n, c, h, w), what this step started from; valid from `guidance.passes` to `step_end`."""
    conditioning: Conditioning | None = None
    """What the U-Net is told, p * n rows, after every `conditioning` hook; valid from `unet_residuals` to `unet_output`."""
    outputs: dict[str, dict[str, Any]] = field(default_factory=dict)
    """What extensions publish, by label; becomes `Result.outputs`."""
    _states: dict[int, tuple[Extension, object]] = field(default_factory=dict)
    _encode: Callable[[list[str]], Conditioning] = field(init=False)
    _evaluate: Callable[[Tensor], dict[str, Tensor]] = field(init=False)

    @property
    def n(self) -> int:
        """Images of the run."""
        return self.request.image_count

    @cached_property
    def device(self) -> torch.device:
        """Where the models are; `pipe.device` looks through the whole U-Net for it, which takes a millisecond."""
        return self.pipe.device

    def rows(self, pass_name: str) -> slice:
        """Which batch rows of U-Net tensors belong to a pass of this step.

        Raises:
            KeyError: this step does not run that pass.
        """
        for position, pass_ in enumerate(self.passes):
            if pass_.name == pass_name:
                return slice(position * self.n, (position + 1) * self.n)
        raise KeyError(pass_name)

    def state(self, extension: Extension, make: Callable[[], State]) -> State:
        """What an extension keeps during this run: made at the first call, the same object at later ones."""
        if id(extension) not in self._states:
            # The extension is kept with it, so that its id is not used again while the run lasts.
            self._states[id(extension)] = (extension, make())
        return self._states[id(extension)][1]  # type: ignore[return-value]

    def publish(self, extension: Extension, **values: Any) -> None:
        """Hand something back beside the pictures (maps, statistics): `result.outputs[label][name]`.

        The label is the extension's name, with `#2`, `#3` … where a run uses several of it.
        """
        label = next(use.label for use in self.plan.uses if use.extension is extension)
        self.outputs.setdefault(label, {}).update(values)

    def encode(self, prompts: list[str], *, negative: bool = False) -> Conditioning:
        """Embeddings of further texts, one row each, through the run's `encode_prompt`.

        Inside `encode_prompt` itself it is the pipeline's own encoder, so that an extension can build on it.

        Args:
            negative: as negative prompts, of which a model may have empty ones as zeros (Stable Diffusion XL).
        """
        encoded = self._encode(prompts)
        return self.pipe.components.as_negative(encoded, prompts) if negative else encoded

    def evaluate(self, latents: Tensor, passes: tuple[Pass, ...]) -> Mapping[str, Tensor]:
        """Run the U-Net once more inside a step, at its timestep, with every hook of the U-Net.

        For use in `Guidance.combine` and at `prediction`. Give the passes names of their own, so that other
        extensions can tell this evaluation from the step's.

        Args:
            latents: (n, c, h, w), at the noise level of the step.
            passes: conditioned on `positive` or `negative`, with any names.

        Returns:
            The prediction (n, c, h, w) of each pass, by its name.
        """
        if self.step is None:
            raise MezzotintError(
                "run.evaluate is for use inside a step: at prediction, or in Guidance.combine"
            )
        with self._while(passes):
            return self._evaluate(latents)

    @contextmanager
    def _while(self, passes: tuple[Pass, ...]) -> Iterator[None]:
        before, self.passes = self.passes, passes
        try:
            yield
        finally:
            self.passes = before

    def frame(self) -> ModelFrame:
        """This step's latents as the model sees them, and what its predictions mean there.

        Raises:
            RequestError: the model's own scheduler has no noise schedule that says so.
        """
        if self.step is None or self.latents is None:
            raise MezzotintError("run.frame() is for use inside a step")
        noise, prediction_type = self._noise_schedule
        sigma = noise.sigma_of_timestep(float(self.step.timestep))
        alpha = noise.alpha(sigma)
        scheduler: Any = self.scheduler
        sample, scale = self.latents, 1.0
        if hasattr(scheduler, "scale_model_input"):
            sample = scheduler.scale_model_input(sample, self.step.timestep)
            scale = float(scheduler.scale_model_input(sample.new_ones(()), self.step.timestep))
        return ModelFrame(sample, alpha, sigma * alpha, prediction_type, scale)

    @cached_property
    def _noise_schedule(self) -> tuple[NoiseSchedule, str]:
        config = model_config(self.pipe.scheduler)
        return noise_schedule(config), config["prediction_type"]


class RunCancelled(MezzotintError):
    """`Progress.cancel` was called; the model is as it was before the run."""


@dataclass(eq=False)
class Progress:
    """What `on_step` receives after each step."""

    index: int
    """From 0."""
    count: int
    seconds: float
    """Since the loop began."""
    latents: Tensor
    """(n, c, h, w) after this step."""
    _preview: Callable[[Tensor], list[Image]]
    cancelled: bool = False

    @property
    def seconds_left(self) -> float:
        """Estimate from the steps so far."""
        return self.seconds / (self.index + 1) * (self.count - self.index - 1)

    def preview(self) -> list[Image]:
        """Small, rough pictures of the latents as they are: a linear map to RGB, no VAE."""
        return self._preview(self.latents)

    def cancel(self) -> None:
        """Stop the run before the next step; the caller of the pipeline gets `RunCancelled`."""
        self.cancelled = True


class Clock:
    """Seconds since it was made or last started."""

    def __init__(self) -> None:
        self.start()

    def start(self) -> None:
        """Begin at zero."""
        self._start = time.perf_counter()

    def __call__(self) -> float:
        return time.perf_counter() - self._start
