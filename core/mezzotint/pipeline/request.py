"""What a person asks for, checked and complete, before anything is planned."""

from __future__ import annotations

import math
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from typing import TYPE_CHECKING, TypedDict, TypeVar

from ..errors import RequestError
from ..plugins.specs import RunDefaults

if TYPE_CHECKING:
    from diffusers import SchedulerMixin

    from ..plugins.extension import Extension

Value = TypeVar("Value")

MAX_PIXELS = 2**26
"""Of one image; more is a typing error, and no machine decodes it."""
MAX_SEED = 2**63 - 1
FALLBACK = RunDefaults(steps=30, guidance=7.5, negative="")


class RequestOptions(TypedDict, total=False):
    """The keywords of a call besides the prompt; what is absent or `None` comes from the model."""

    negative: str | Sequence[str] | None
    steps: int | None
    scheduler: str | SchedulerMixin | None
    spacing: str | None
    guidance: float | None
    seed: int | None
    n: int
    size: tuple[int, int] | None


@dataclass(frozen=True)
class Request:
    """One run's arguments with every default filled in."""

    prompts: tuple[str, ...]
    negatives: tuple[str, ...]
    """One for each prompt."""
    steps: int
    guidance: float
    seed: int
    n: int
    """Images for each prompt."""
    size: tuple[int, int]
    """(width, height) in pixels."""
    scheduler: str | SchedulerMixin | None
    """`None` is the model's own."""
    spacing: str | None
    use: tuple[Extension, ...] = ()
    """Extensions that the request itself brings, besides those of the call: see the hook point `request`."""

    @property
    def image_count(self) -> int:
        """Images of the run."""
        return len(self.prompts) * self.n

    @property
    def seeds(self) -> list[int]:
        """Seed of each image: `seed + k`."""
        return [self.seed + k for k in range(self.image_count)]


def resolve(
    prompt: str | Sequence[str],
    *,
    defaults: RunDefaults,
    native_size: tuple[int, int],
    size_multiple: int,
    negative: str | Sequence[str] | None = None,
    steps: int | None = None,
    scheduler: str | SchedulerMixin | None = None,
    spacing: str | None = None,
    guidance: float | None = None,
    seed: int | None = None,
    n: int = 1,
    size: tuple[int, int] | None = None,
) -> Request:
    """Fill in the model's defaults and check every value.

    Raises:
        RequestError: a value is out of range; the sentence says which and what is allowed.
    """
    prompts = _texts("prompt", prompt)
    negative = _first(negative, defaults.negative, FALLBACK.negative)
    negatives = _texts("negative", negative)
    if len(negatives) == 1:
        negatives *= len(prompts)
    if len(negatives) != len(prompts):
        raise RequestError(
            f"{len(negatives)} negative prompts for {len(prompts)} prompts: give one, or one each"
        )
    steps = _whole("steps", _first(steps, defaults.steps, FALLBACK.steps), 1)
    n = _whole("n", n, 1)
    seed = secrets.randbelow(2**32) if seed is None else _whole("seed", seed, 0, MAX_SEED - len(prompts) * n)
    guidance = _first(guidance, defaults.guidance, FALLBACK.guidance)
    if isinstance(guidance, bool) or not isinstance(guidance, Real) or not math.isfinite(guidance):
        raise RequestError(f"guidance must be a finite number, not {guidance!r}")
    if scheduler is None and defaults.scheduler is not None:
        scheduler = defaults.scheduler
        spacing = spacing if spacing is not None else defaults.spacing
    return Request(
        prompts,
        negatives,
        steps,
        float(guidance),
        seed,
        n,
        _size(_first(size, defaults.size, native_size), size_multiple),
        scheduler,
        spacing,
    )


def _first(*values: Value | None) -> Value:
    """The first value that is given; the last is always."""
    return next(value for value in values if value is not None)


def _texts(name: str, value: object) -> tuple[str, ...]:
    texts = (value,) if isinstance(value, str) else tuple(value) if isinstance(value, list | tuple) else ()
    if not texts or not all(isinstance(text, str) for text in texts):
        raise RequestError(f"{name} must be a string or a list of strings, not {value!r}")
    return texts


def _whole(name: str, value: object, low: int, high: int | None = None) -> int:
    number = int(value) if isinstance(value, Integral) and not isinstance(value, bool) else None
    if number is None or number < low or (high is not None and number > high):
        bounds = f"at least {low}" if high is None else f"from {low} to {high}"
        raise RequestError(f"{name} must be a whole number, {bounds}, not {value!r}")
    return number


def _size(size: object, multiple: int) -> tuple[int, int]:
    if not isinstance(size, list | tuple) or len(size) != 2:
        raise RequestError(f"size must be (width, height) in pixels, not {size!r}")
    width, height = (
        _whole(name, value, multiple) for name, value in zip(("width", "height"), size, strict=True)
    )
    for name, value in (("width", width), ("height", height)):
        if value % multiple:
            raise RequestError(
                f"{name} must be a multiple of {multiple} for this model, not {value}; "
                f"{value - value % multiple} and {value + multiple - value % multiple} are"
            )
    if width * height > MAX_PIXELS:
        raise RequestError(
            f"size {width}x{height} has {width * height:,} pixels; at most {MAX_PIXELS:,} are made"
        )
    return width, height
