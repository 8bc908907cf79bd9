"""A solver and a spacing as a complete diffusers scheduler.

A pipeline asks the model once a turn and hands the answer to `step`. A solver may want several answers
within one of its steps. As it is pure, it is simply called again from the start of its step with the
answers so far: its next `s.denoise` finds its answer, or becomes the sample that the pipeline asks the
model about next.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import torch
from diffusers.configuration_utils import ConfigMixin
from diffusers.schedulers.scheduling_utils import KarrasDiffusionSchedulers, SchedulerMixin
from diffusers.utils.outputs import BaseOutput

from ..errors import MezzotintError, PluginError, RequestError
from .attempt import Done, attempt
from .custom_interval import levels_from_sigmas, levels_from_timesteps
from .layout import Layout, lay_out
from .model_config import check_settings
from .noise import keyed_noise, sample_keys
from .noise_schedule import NoiseSchedule, alphas_cumprod, noise_schedule
from .plan import remember
from .replay_state import ReplayState, pack, unpack
from .specs import SolverSpec, SpacingSpec
from .step import Options, Past

if TYPE_CHECKING:
    from torch import Generator, Tensor


@dataclass
class ReplayOutput(BaseOutput):
    """What `step` returns."""

    prev_sample: Tensor
    """What to ask the model about next, or the final sample, (n, c, h, w)."""
    pred_original_sample: Tensor
    """The clean sample that the model's output means, (n, c, h, w)."""


class ReplayScheduler(SchedulerMixin, ConfigMixin):  # type: ignore[misc]
    """A solver and a spacing, speaking diffusers' scheduler protocol.

    Samples are in the model's own frame, so `scale_model_input` changes nothing. Time is an index:
    `timesteps` tell the model its noise level and are never searched for a position, except to check where
    a run starts that `set_begin_index` did not announce. The config never changes; a run's state is one
    `ReplayState`.

    Args:
        solver, spacing: specs, or names that installed plugins provide (as a saved config has them).
        solver_options, spacing_options: changes to their options.
        num_train_timesteps, …: settings of the model, see `model_config.DEFAULTS`.
    """

    _compatibles = [each.name for each in KarrasDiffusionSchedulers]  # noqa: RUF012

    def __init__(
        self,
        solver: SolverSpec | str,
        spacing: SpacingSpec | str,
        solver_options: Mapping[str, Any] | None = None,
        spacing_options: Mapping[str, Any] | None = None,
        num_train_timesteps: int = 1000,
        beta_start: float = 0.00085,
        beta_end: float = 0.012,
        beta_schedule: str = "scaled_linear",
        trained_betas: Sequence[float] | None = None,
        prediction_type: str = "epsilon",
        rescale_betas_zero_snr: bool = False,
        steps_offset: int = 0,
        set_alpha_to_one: bool = True,
        final_sigmas_type: str = "zero",
        clip_sample: bool = False,
        clip_sample_range: float = 1.0,
        sigma_min: float | None = None,
        sigma_max: float | None = None,
        use_flow_sigmas: bool = False,
        flow_shift: float = 1.0,
    ) -> None:
        given = {key: value for key, value in locals().items() if key not in ("self", "__class__")}
        self.solver, self.spacing = _specs(solver, spacing)
        given |= {"solver": self.solver.name, "spacing": self.spacing.name}
        given |= {
            "solver_options": dict(solver_options or {}),
            "spacing_options": dict(spacing_options or {}),
        }
        check_settings(given)
        self.register_to_config(**given)  # type: ignore[no-untyped-call]
        self.options = Options(**{**self.solver.options, **given["solver_options"]})
        self.order = self.solver.evals_per_step
        self.noise_schedule = self._read_noise_schedule()
        self._clip = clip_sample_range if clip_sample else None
        self.alphas_cumprod = None if use_flow_sigmas else torch.from_numpy(alphas_cumprod(given)).float()
        self.num_inference_steps: int | None = None
        self.timesteps = torch.arange(num_train_timesteps - 1, -1, -1)
        self.sigmas = torch.from_numpy(self.noise_schedule.sigmas).flip(0).float()
        self._layout: Layout | None = None
        self._begin_index: int | None = None
        self._state: ReplayState | None = None

    def set_timesteps(
        self,
        num_inference_steps: int | None = None,
        device: str | torch.device | None = None,
        timesteps: Sequence[float] | Tensor | None = None,
        sigmas: Sequence[float] | Tensor | None = None,
    ) -> None:
        """Lay out a run: exactly one of a number of steps, timesteps, or noise levels.

        Args:
            timesteps: one a step, strictly falling.
            sigmas: one a step and the last one (0, or where to end), strictly falling; σ/α for
                variance-preserving models, σ for flow models, which may leave the last 0 out.

        Raises:
            RequestError: not exactly one is given, or it is no interval.
        """
        if sum(given is not None for given in (num_inference_steps, timesteps, sigmas)) != 1:
            raise RequestError("give exactly one of num_inference_steps, timesteps and sigmas")
        # Read again, as pipelines correct `steps_offset` in the config of a scheduler that they are given.
        self.noise_schedule = self._read_noise_schedule()
        if num_inference_steps is not None:
            levels = self._spaced(num_inference_steps)
        elif timesteps is not None:
            levels = levels_from_timesteps(timesteps, self.noise_schedule)
        else:
            levels = levels_from_sigmas(cast("Sequence[float]", sigmas), self.noise_schedule)
        self._start(levels, device)

    def _read_noise_schedule(self) -> NoiseSchedule:
        like_ddim = self.solver.final_sigma == "config" and not self.config["set_alpha_to_one"]
        at_sigma_min = self.config["final_sigmas_type"] == "sigma_min"
        return noise_schedule(self.config, ends_at_first_timestep=like_ddim or at_sigma_min)

    def _spaced(self, steps: int) -> list[float]:
        try:
            steps = operator.index(steps)
        except TypeError:
            raise RequestError(f"a number of steps is a whole number, not {steps!r}") from None
        if steps < 1:
            raise RequestError(f"a run needs at least one step, not {steps}")
        options = {**self.spacing.options, **self.config["spacing_options"]}
        try:
            levels = [float(level) for level in self.spacing(steps, self.noise_schedule, **options)]
        except MezzotintError:
            raise
        except Exception as error:
            given = "".join(f", {key}={value!r}" for key, value in options.items())
            raise PluginError(
                f"spacing {self.spacing.name!r} fails for {steps} steps{given}: {type(error).__name__}: {error}"
            ) from error
        if len(levels) != steps + 1:
            raise PluginError(
                f"spacing {self.spacing.name!r} gave {len(levels)} noise levels for {steps} steps, "
                f"not {steps + 1}"
            )
        return levels

    def _start(self, levels: Sequence[float], device: str | torch.device | None) -> None:
        layout = lay_out(
            self.solver, levels, self.options, self.noise_schedule, self.config["prediction_type"]
        )
        whole = all(time.is_integer() for time in layout.times)
        self.timesteps = torch.tensor(
            layout.times, dtype=torch.int64 if whole else torch.float32, device=device
        )
        self.sigmas = torch.tensor([*(slot.sigma for slot in layout.slots), levels[-1]], dtype=torch.float32)
        self.num_inference_steps = len(levels) - 1
        self._layout, self._begin_index, self._state = layout, None, None

    @property
    def init_noise_sigma(self) -> float:
        """Factor of the first noise, in the model's frame."""
        sigma = self._layout.levels[0] if self._layout else self.noise_schedule.sigma_max
        at_sigma_max = self.solver.start == "spacing" and self.spacing.start == "sigma_max"
        return self.noise_schedule.alpha(sigma) * (sigma if at_sigma_max else math.hypot(1, sigma))

    @property
    def step_starts(self) -> list[int]:
        """Indices of `timesteps` at which a step begins: what `set_begin_index` takes."""
        return list(self._running().step_starts)

    @property
    def begin_index(self) -> int | None:
        """Where in `timesteps` the run starts, if `set_begin_index` said so."""
        return self._begin_index

    @property
    def step_index(self) -> int | None:
        """Where in `timesteps` the run is; `None` before its first step."""
        return None if self._state is None else self._state.slot

    def set_begin_index(self, begin_index: int = 0) -> None:
        """Start at this index of `timesteps` (image-to-image); it must be the start of a step.

        Raises:
            RequestError: the index is out of range, or an evaluation within a step.
        """
        self._running().check_start(begin_index)
        self._begin_index = begin_index

    def state_dict(self) -> dict[str, Any]:
        """All of a run in progress, as plain data and tensors that `torch.save` writes.

        Raises:
            RequestError: there is no run yet.
        """
        return {
            "solver": self.solver.name,
            "levels": list(self._running().levels),
            "begin_index": self._begin_index,
            **pack(self._state),
        }

    def load_state_dict(self, state: Mapping[str, Any], device: str | torch.device | None = None) -> None:
        """Continue a run where `state_dict` was taken, bit for bit; `set_timesteps` need not be called.

        Raises:
            RequestError: the state is of another solver.
        """
        if state.get("solver") != self.solver.name:
            raise RequestError(
                f"this state is of solver {state.get('solver')!r}, not of {self.solver.name!r}"
            )
        self._start(state["levels"], device)
        self._begin_index = state["begin_index"]
        self._state = unpack(state, device)

    def scale_model_input(self, sample: Tensor, timestep: float | Tensor | None = None) -> Tensor:
        """The sample itself, as it is in the model's frame already."""
        return sample

    def step(
        self,
        model_output: Tensor,
        timestep: float | Tensor,
        sample: Tensor,
        generator: Generator | Sequence[Generator] | None = None,
        return_dict: bool = True,
        uncond_output: Tensor | None = None,
    ) -> ReplayOutput | tuple[Tensor, Tensor]:
        """Take the model's answer at `sample`, (n, c, h, w), and return what to ask it next.

        Args:
            generator: keys the noise of stochastic solvers, see `noise.sample_keys`; its state is not used.
            uncond_output: the model's answer without the condition, where `model_output` is the guided one;
                for solvers that declare `unconditional`.

        Raises:
            RequestError: `set_timesteps` was not called, the run is over, `timestep` is not that of this
                turn, shapes differ, the model's output is not finite, or there is no `uncond_output` for a solver that needs it.
        """
        layout = self._running()
        state = self._state
        if state is None:
            begin = layout.start(timestep) if self._begin_index is None else self._begin_index
            state = ReplayState(slot=begin)
        slot = layout.turn(state.slot, timestep)
        _check_shapes(model_output, sample, state)
        dtype = _working_dtype(sample, layout.levels[0])
        alphas = layout.alpha_tensors[dtype]
        x = _as(dtype, sample) / alphas[state.slot]
        denoised = self._denoised(layout, _as(dtype, model_output), x, state.slot)
        base = x if state.x is None else state.x
        answers = (*state.answers, denoised)
        keys, unconditional = state.keys, state.unconditional
        if self.solver.unconditional and state.x is None:
            unconditional = self._denoised(layout, _as(dtype, self._needed(uncond_output)), x, state.slot)

        def noise(stage: int) -> Tensor:
            nonlocal keys
            keys = keys or sample_keys(generator, len(sample))
            return keyed_noise(keys, slot.step, stage, like=base)

        outcome = attempt(
            self.solver,
            base,
            layout.levels,
            slot.step,
            answers,
            state.history,
            self.options,
            noise,
            unconditional,
        )
        if isinstance(outcome, Done):
            past = Past(base, layout.levels[slot.step], answers[0], outcome.carry)
            history = remember(self.solver, state.history, past)
            advanced = ReplayState(slot=state.slot + 1, history=history, keys=keys)
            sigma_next = layout.levels[slot.step + 1]
        else:
            advanced = ReplayState(state.slot + 1, base, answers, unconditional, state.history, keys)
            sigma_next = outcome.sigma
        layout.check_next(advanced.slot, sigma_next, within_step=advanced.x is not None)
        self._state = advanced
        prev_sample = _as(sample.dtype, outcome.x * alphas[advanced.slot])
        predicted = _as(sample.dtype, denoised)
        if not return_dict:
            return prev_sample, predicted
        return ReplayOutput(prev_sample=prev_sample, pred_original_sample=predicted)

    def add_noise(self, original_samples: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        """Clean samples with noise of the given timesteps, α x0 + σ ε, (n, c, h, w).

        A timestep of the run means its exact noise level, any other the training schedule's.

        Args:
            timesteps: (n,), or (1,) for all.
        """
        levels = [self._sigma_of(float(time)) for time in timesteps.reshape(-1)]
        sigmas = torch.tensor(levels, dtype=torch.float64)
        alphas = torch.tensor([self.noise_schedule.alpha(level) for level in levels], dtype=torch.float64)
        dtype = torch.promote_types(original_samples.dtype, torch.float32)
        shape = (-1, *[1] * (original_samples.ndim - 1))
        alpha = alphas.to(original_samples.device, dtype).reshape(shape)
        sigma = (alphas * sigmas).to(original_samples.device, dtype).reshape(shape)
        return (alpha * original_samples + sigma * noise).to(original_samples.dtype)

    def scale_noise(self, sample: Tensor, timestep: Tensor, noise: Tensor) -> Tensor:
        """`add_noise` under the name and argument order that flow pipelines use."""
        return self.add_noise(sample, noise, timestep)

    def __len__(self) -> int:
        return self.noise_schedule.num_train_timesteps

    def _running(self) -> Layout:
        if self._layout is None:
            raise RequestError("there is no run yet: call set_timesteps first")
        return self._layout

    def _denoised(self, layout: Layout, output: Tensor, x: Tensor, index: int) -> Tensor:
        """The clean sample that the model's output at `x` means, in turn `index`."""
        sigma = layout.slots[index].sigma
        of_x, of_output = layout.weights[index]
        denoised = torch.add(x if of_x == 1 else of_x * x, output, alpha=of_output)
        # A sum is not finite if a summand is not. Asking a GPU at each step would wait for it, and what is not
        # finite stays so to the end.
        asked = denoised.is_cpu or index == len(layout.slots) - 1
        if asked and not math.isfinite(float(denoised.sum())):
            raise RequestError(
                f"the model's output or the sample is not finite in step {layout.slots[index].step + 1} of "
                f"{self.num_inference_steps} of solver {self.solver.name!r} (σ = {sigma:.4g})"
            )
        return denoised if self._clip is None else denoised.clamp(-self._clip, self._clip)

    def _needed(self, uncond_output: Tensor | None) -> Tensor:
        if uncond_output is None:
            raise RequestError(
                f"solver {self.solver.name!r} needs the unconditional prediction beside the guided one and got "
                "none: diffusers' pipelines do not hand it over, and in mezzotint the pass 'negative' must run at "
                "every step"
            )
        return uncond_output

    def _sigma_of(self, timestep: float) -> float:
        at = self._begin_index if self._state is None else self._state.slot
        sigma = self._layout.sigma_of(timestep, after=at or 0) if self._layout else None
        return self.noise_schedule.sigma_of_timestep(timestep) if sigma is None else sigma


def _check_shapes(model_output: Tensor, sample: Tensor, state: ReplayState) -> None:
    if model_output.shape != sample.shape:
        raise RequestError(
            f"the model's output {tuple(model_output.shape)} and the sample {tuple(sample.shape)} differ in shape"
        )
    before = state.history[-1].x if state.history else state.x
    if before is not None and before.shape != sample.shape:
        raise RequestError(
            f"the sample had shape {tuple(before.shape)} a step before and has {tuple(sample.shape)} now; "
            "call set_timesteps to begin another run"
        )


def _as(dtype: torch.dtype, tensor: Tensor) -> Tensor:
    # Asking first is a third of what `to` costs where there is nothing to do.
    return tensor if tensor.dtype == dtype else tensor.to(dtype)


def _working_dtype(sample: Tensor, highest: float) -> torch.dtype:
    """float32 at least; float64 for flow and zero-SNR models, whose noise levels reach 4096 and more.

    In this frame samples are as large as σ, and float32 would leave an error of 1e-7 of that.
    """
    if highest > 100 and not sample.is_mps:
        return torch.float64
    return torch.float64 if sample.dtype == torch.float64 else torch.float32


def _specs(solver: SolverSpec | str, spacing: SpacingSpec | str) -> tuple[SolverSpec, SpacingSpec]:
    """The specs themselves, or those of installed plugins for names, as configs from a file have them."""
    if isinstance(solver, SolverSpec) and isinstance(spacing, SpacingSpec):
        return solver, spacing
    import mezzotint

    names = [each if isinstance(each, str) else each.name for each in (solver, spacing)]
    made: Any = mezzotint.scheduler(names[0], spacing=names[1])
    return made.solver, made.spacing
