"""What a plugin's `schedulers` and `spacings` hooks return, and the decorators that make it."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

from ..errors import PluginError

if TYPE_CHECKING:
    from diffusers import SchedulerMixin
    from torch import Tensor

    from .noise_schedule import NoiseSchedule
    from .step import Step

Carry = Mapping[str, "Tensor"]
SolverResult = "Tensor | tuple[Tensor, Carry]"
SolverFunction = Callable[["Step"], "Tensor | tuple[Tensor, Carry]"]
SpacingFunction = Callable[..., Sequence[float]]

_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*(@[a-z0-9]+(-[a-z0-9]+)*)?")


@dataclass(frozen=True)
class SolverSpec:
    """A solver by name: one step of an ODE or SDE solver in the variance-exploding frame (x/α, σ/α)."""

    name: str
    function: SolverFunction
    accuracy_order: int
    """Global order of convergence p once the history is there: the error falls as (step size)^p. For
    stochastic solvers the weak order; 0 for those that only suit distilled models."""
    evals_per_step: int = 1
    """Model evaluations of a usual step; the step to σ = 0 may need fewer."""
    stochastic: bool = False
    """Whether it adds noise with its default options."""
    history: int = 0
    """How many earlier steps it looks at."""
    paper: str = ""
    """Where the method is from."""
    options: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    """Options with their defaults, seen by the solver as `s.options.NAME`."""
    start: Literal["marginal", "spacing"] = "marginal"
    """How large the first noise is. `marginal`: sqrt(1 + σ²), what the model was trained on; `spacing`: as
    the spacing says, which is how diffusers starts its k-diffusion solvers."""
    final_sigma: Literal["zero", "config"] = "zero"
    """Where the last step ends unless the model's `final_sigmas_type` says otherwise. `config`: at the σ of
    timestep 0 if the model's config has `set_alpha_to_one: false`, as DDIM does; `zero`: at 0."""
    description: str = ""
    unconditional: bool = False
    """Whether it needs the unconditional prediction beside the guided one, as `s.uncond_denoised`."""
    also: tuple[str, ...] = ()
    """What others call it, where case, blanks and the like are not all that differs."""

    def __deepcopy__(self, memo: object) -> SolverSpec:
        return self

    def __call__(self, step: Step) -> Tensor | tuple[Tensor, Carry]:
        """The next x, or the next x and tensors that `step.history[-1].carry` shows to the next step."""
        return self.function(step)


@dataclass(frozen=True)
class SpacingSpec:
    """A spacing by name: at which noise levels the model is asked."""

    name: str
    """Such as `karras`, or `leading@ddim` where one name stands for different mathematics."""
    function: SpacingFunction
    paper: str = ""
    default: bool = False
    """Whether the plain name, without `@dialect`, means this dialect."""
    start: Literal["sigma_max", "marginal"] = "sigma_max"
    """Size of the first noise for solvers that leave it to the spacing: σ_max, or sqrt(1 + σ_max²)."""
    options: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    """The function's keyword-only parameters with their defaults."""
    description: str = ""
    also: tuple[str, ...] = ()
    """What others call it, where case, blanks and the like are not all that differs."""

    def __deepcopy__(self, memo: object) -> SpacingSpec:
        return self

    @property
    def family(self) -> str:
        """The name without its dialect."""
        return self.name.partition("@")[0]

    def __call__(self, n: int, schedule: NoiseSchedule, **options: Any) -> Sequence[float]:
        """n + 1 strictly decreasing σ, the last 0 or `schedule.sigma_min`."""
        return self.function(n, schedule, **options)


@dataclass(frozen=True)
class SchedulerSpec:
    """A scheduler by name that is no solver: anything that speaks diffusers' protocol."""

    name: str
    make: Callable[[Mapping[str, Any], Mapping[str, Any]], SchedulerMixin]
    """From the model's scheduler config and the options of the call to a scheduler."""
    description: str = ""


@dataclass(frozen=True)
class SchedulerFamily:
    """Schedulers by `prefix` and name, such as `diffusers:EulerDiscreteScheduler`, listed when asked."""

    prefix: str
    """Without the colon."""
    names: Callable[[], Sequence[str]]
    make: Callable[[str, Mapping[str, Any]], SchedulerMixin]
    """From a name and a config (the model's, with changes) to a scheduler."""
    description: str = ""


SchedulerProvided = SolverSpec | SchedulerSpec | SchedulerFamily | type
"""What a plugin's `schedulers` hook may return in its list; a type is a diffusers scheduler class."""


def solver(
    name: str,
    *,
    accuracy_order: int,
    evals_per_step: int = 1,
    stochastic: bool = False,
    history: int = 0,
    paper: str = "",
    start: Literal["marginal", "spacing"] = "marginal",
    final_sigma: Literal["zero", "config"] = "zero",
    unconditional: bool = False,
    also: tuple[str, ...] = (),
    **options: Any,
) -> Callable[[SolverFunction], SolverSpec]:
    """Turn a function of a `Step` into a `SolverSpec`; see there for the fields.

        @solver("euler", accuracy_order=1)
        def euler(s):
            return s.x + (s.sigma_next - s.sigma) * s.derivative

    Keywords beyond the fields are the solver's options with their defaults.

    Raises:
        PluginError: a malformed name, or numbers out of range.
    """
    _check_name("solver", name, dialect=False)
    if accuracy_order < 0 or evals_per_step < 1 or history < 0:
        raise PluginError(f"solver {name!r}: evals_per_step starts at 1, accuracy_order and history at 0")

    def make(function: SolverFunction) -> SolverSpec:
        return SolverSpec(
            name,
            function,
            accuracy_order,
            evals_per_step,
            stochastic,
            history,
            paper,
            MappingProxyType(options),
            start,
            final_sigma,
            _summary(function),
            unconditional,
            also,
        )

    return make


def spacing(
    name: str,
    *,
    paper: str = "",
    default: bool = False,
    start: Literal["sigma_max", "marginal"] = "sigma_max",
    also: tuple[str, ...] = (),
) -> Callable[[SpacingFunction], SpacingSpec]:
    """Turn a function of `n`, a `NoiseSchedule` and keyword-only options into a `SpacingSpec`.

        @spacing("exponential")
        def exponential(n, schedule):
            return schedule.finish(geomspace(schedule.sigma_max, schedule.sigma_min, n))

    Raises:
        PluginError: a malformed name.
    """
    _check_name("spacing", name, dialect=True)

    def make(function: SpacingFunction) -> SpacingSpec:
        options = {
            parameter.name: parameter.default
            for parameter in inspect.signature(function).parameters.values()
            if parameter.kind is parameter.KEYWORD_ONLY
        }
        plain = "@" not in name
        return SpacingSpec(
            name,
            function,
            paper,
            default or plain,
            start,
            MappingProxyType(options),
            _summary(function),
            also,
        )

    return make


def _check_name(kind: str, name: str, *, dialect: bool) -> None:
    if not _NAME.fullmatch(name) or ("@" in name and not dialect):
        allowed = "lower-case words joined by dashes" + (", with an optional @dialect" if dialect else "")
        raise PluginError(f"{kind} name {name!r}: use {allowed}")


def _summary(function: Callable[..., Any]) -> str:
    return (inspect.getdoc(function) or "").partition("\n")[0]
