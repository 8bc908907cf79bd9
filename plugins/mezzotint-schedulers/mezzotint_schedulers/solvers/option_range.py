"""Options of solvers that are refused rather than taken for something else."""

from __future__ import annotations

import math
from typing import Any

from mezzotint.errors import RequestError
from mezzotint.scheduling import Step


def within(s: Step, option: str, low: float, high: float = math.inf) -> Any:
    """The option's value, if it lies in `low` … `high`.

    Raises:
        RequestError: it does not, or is NaN.
    """
    value = getattr(s.options, option)
    if not low <= value <= high:
        upper = "at least" if math.isinf(high) else "in"
        bounds = f"{low:g}" if math.isinf(high) else f"{low:g} … {high:g}"
        raise RequestError(f"option {option!r} is {value!r}; it must be {upper} {bounds}")
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
