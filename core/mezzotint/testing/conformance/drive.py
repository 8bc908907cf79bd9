"""A scheduler driven as pipelines drive it, and what a perfect model sees of it.

Nothing here looks into the scheduler: a check knows what the model is told (the timestep), what it is shown
(`scale_model_input` of the sample), and what noise level the training schedule has there.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ...scheduling.replay import ReplayScheduler
from .problems import Problem

if TYPE_CHECKING:
    from torch import Generator, Tensor

    from .subject import Subject


@dataclass(frozen=True)
class Frame:
    """From a timestep to the α and σ of what the model was trained on."""

    flow: bool
    """Whether α = 1 - t/N and σ = t/N; else they come from `log_sigmas`."""
    train_timesteps: int
    log_sigmas: tuple[float, ...] = ()
    """log(σ/α) of each training timestep of a variance-preserving model; between two it is linear."""

    def __call__(self, timestep: float) -> tuple[float, float]:
        """(α, σ)"""
        if self.flow:
            sigma = timestep / self.train_timesteps
            return 1 - sigma, sigma
        level = math.exp(float(np.interp(timestep, np.arange(self.train_timesteps), self.log_sigmas)))
        return 1 / math.hypot(1, level), level / math.hypot(1, level)

    def ratio(self, timestep: float) -> float:
        """σ/α, the noise level in the variance-exploding frame."""
        alpha, sigma = self(timestep)
        return sigma / alpha if alpha > 0 else math.inf


def frame_of(scheduler: Any) -> Frame | None:
    """What a model of this scheduler was trained on; `None` if its attributes do not say."""
    total = int(scheduler.config.get("num_train_timesteps", 1000))
    cumulative = getattr(scheduler, "alphas_cumprod", None)
    flow = scheduler.config.get("use_flow_sigmas") or (
        cumulative is None and hasattr(scheduler, "scale_noise")
    )
    if flow:
        return Frame(True, total)
    if cumulative is None:
        return None
    if isinstance(scheduler, ReplayScheduler):
        # Its attribute is float32 for diffusers' sake, what it computes with is not.
        return Frame(False, total, tuple(np.log(scheduler.noise_schedule.sigmas).tolist()))
    levels = 0.5 * (torch.log1p(-cumulative.double()) - cumulative.double().log())
    return Frame(False, total, tuple(levels.tolist()))


@dataclass(frozen=True)
class Model:
    """A perfect model of a problem, in a frame and with a prediction type."""

    problem: Problem
    frame: Frame
    prediction_type: str

    def __call__(self, x: Tensor, timestep: float) -> Tensor:
        """What a trained network would answer at `x`, in the frame's scale; of the dtype of `x`."""
        alpha, sigma = self.frame(timestep)
        wide = x.double()
        # At α = 0 a flow model sees noise alone, and its best guess is the mean of the data.
        denoised = self.problem.denoised(wide / max(alpha, 1e-9), sigma / max(alpha, 1e-9))
        noise = (wide - alpha * denoised) / sigma
        answers = {
            "epsilon": noise,
            "sample": denoised,
            "v_prediction": alpha * noise - sigma * denoised,
            "flow_prediction": noise - denoised,
        }
        return answers[self.prediction_type].to(x.dtype)


def perfect_model(problem: Problem, scheduler: Any, frame: Frame) -> Model:
    """The model that this scheduler's configuration expects."""
    usual = "flow_prediction" if frame.flow else "epsilon"
    return Model(problem, frame, scheduler.config.get("prediction_type") or usual)


@dataclass(frozen=True, eq=False)
class Turn:
    """One model evaluation."""

    index: int
    timestep: float
    seen: Tensor
    """What the model was shown, in its own frame."""
    after: Tensor
    """What `step` returned."""


def turns(
    scheduler: Any,
    model: Any,
    x: Tensor,
    *,
    generator: Generator | Sequence[Generator] | None = None,
    start: int = 0,
    stop: int | None = None,
) -> Iterator[Turn]:
    """The loop of a pipeline from where the scheduler is; `set_timesteps` has been called.

    Args:
        model: from what it is shown and the timestep to its answer.
        start, stop: indices of `timesteps`.
    """
    parameters = inspect.signature(scheduler.step).parameters
    extra: dict[str, Any] = {}
    if "generator" in parameters and generator is not None:
        extra["generator"] = generator
    for index, timestep in enumerate(scheduler.timesteps[start:stop], start):
        if "prev_timestep" in parameters:
            following = scheduler.timesteps[index + 1 : index + 2]
            extra["prev_timestep"] = following[0] if len(following) else None
        seen = scheduler.scale_model_input(x, timestep) if hasattr(scheduler, "scale_model_input") else x
        answer = model(seen, float(timestep))
        if "uncond_output" in parameters:
            # Without a condition both predictions are the same.
            extra["uncond_output"] = answer
        x = scheduler.step(answer, timestep, x, return_dict=False, **extra)[0]
        yield Turn(index, float(timestep), seen, x)


def run(
    subject: Subject, model: Any, noise: Tensor, steps: int, *, scheduler: Any = None, **arguments: Any
) -> list[Turn]:
    """All turns of a run from noise, with a fresh scheduler unless one is given."""
    scheduler = subject.make() if scheduler is None else scheduler
    scheduler.set_timesteps(steps)
    return list(turns(scheduler, model, first_sample(scheduler, noise), **arguments))


def first_sample(scheduler: Any, noise: Tensor) -> Tensor:
    """What a pipeline makes of noise; flow schedulers leave the noise as it is and have no factor."""
    return (noise * float(getattr(scheduler, "init_noise_sigma", 1.0))).to(noise.dtype)


def seeded(*seeds: int) -> list[Generator]:
    """One generator a sample."""
    return [torch.Generator().manual_seed(seed) for seed in seeds]


def smooth_model(x: Tensor, timestep: float) -> Tensor:
    """A model that is no perfect one: any function of sample and timestep, made of exactly rounded operations.

    So that a sample alone and in a batch gets the same bits, whatever the instruction set.
    """
    return x / (1 + x.abs()) * (0.9 - timestep / 4000)
