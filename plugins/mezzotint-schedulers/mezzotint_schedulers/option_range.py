"""Options of solvers and spacings that are refused rather than taken for something else."""

from __future__ import annotations

import math
from typing import Any

from mezzotint.errors import RequestError
from mezzotint.scheduling import Step

RHO = (0.1, 1000.0)
"""Of Karras et al.'s levels and their like: beyond, they overflow or cannot be told apart."""


def within(s: Step, option: str, low: float, high: float = math.inf) -> Any:
    """The option's value, if it lies in `low` … `high`.

    Raises:
        RequestError: it does not, or is NaN.
    """
    return checked(option, getattr(s.options, option), low, high)


def checked(option: str, value: Any, low: float, high: float = math.inf) -> Any:
    """The value of an option, if it lies in `low` … `high` and is finite.

    Raises:
        RequestError: it does not, or is NaN.
    """
    if not low <= value <= high or math.isinf(value):
        bounds = f"at least {low:g}, and finite" if math.isinf(high) else f"in {low:g} … {high:g}"
        raise RequestError(f"option {option!r} is {value!r}; it must be {bounds}")
    return value


def one_of(s: Step, option: str, *allowed: str) -> str:
    """The option's value, if it is one of `allowed`.

    Raises:
        RequestError: it is not.
    """
    value = getattr(s.options, option)
    if value not in allowed:
        raise RequestError(f"option {option!r} is {value!r}; there are {', '.join(allowed)}")
    return str(value)
