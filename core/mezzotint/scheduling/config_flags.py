"""A spacing as config flags of a diffusers scheduler class, where it has them."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from ..errors import RequestError

TIMESTEP_SPACINGS = ("leading", "linspace", "trailing")
SIGMA_FLAGS = {
    "karras": "use_karras_sigmas",
    "exponential": "use_exponential_sigmas",
    "beta": "use_beta_sigmas",
}


def spacing_flags(scheduler_class: type, spacing: str, config: Mapping[str, Any]) -> dict[str, Any]:
    """Config changes that make a diffusers scheduler class use this spacing, in the class's own dialect.

    Raises:
        RequestError: the class has no such spacing; those that it has are listed.
    """
    parameters = inspect.signature(scheduler_class.__init__).parameters  # type: ignore[misc]
    flags: dict[str, Any] = {
        flag: False for flag in (*SIGMA_FLAGS.values(), "use_lu_lambdas") if flag in parameters
    }
    has_timesteps = "timestep_spacing" in parameters and not config.get("use_flow_sigmas")
    if spacing in TIMESTEP_SPACINGS and has_timesteps:
        return {**flags, "timestep_spacing": spacing}
    if SIGMA_FLAGS.get(spacing) in parameters:
        return {**flags, SIGMA_FLAGS[spacing]: True}
    takes = [*(TIMESTEP_SPACINGS if has_timesteps else ())]
    takes += [name for name, flag in SIGMA_FLAGS.items() if flag in parameters]
    hint = " (dialects belong to solvers, a diffusers class has its own)" if "@" in spacing else ""
    raise RequestError(
        f"{scheduler_class.__name__} cannot take the spacing {spacing!r}{hint}; "
        + (f"it takes {', '.join(takes)}" if takes else "its spacing is fixed")
    )


def check_options(scheduler_class: type, options: Mapping[str, Any]) -> None:
    """Raise a `RequestError` for options that are no constructor argument of the class."""
    parameters = [
        name
        for name in inspect.signature(scheduler_class.__init__).parameters  # type: ignore[misc]
        if name not in ("self", "args", "kwargs")
    ]
    unknown = [name for name in options if name not in parameters]
    if unknown:
        raise RequestError(
            f"{scheduler_class.__name__} has no option {unknown[0]!r}; it has {', '.join(sorted(parameters))}"
        )
