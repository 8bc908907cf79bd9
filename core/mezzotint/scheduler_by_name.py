"""`mezzotint.scheduler`: a scheduler by name, for use in any diffusers pipeline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from .plugins.registry import Registry
from .scheduling import make_scheduler

if TYPE_CHECKING:
    from diffusers import SchedulerMixin


def scheduler(
    name: str,
    spacing: str | None = None,
    like: SchedulerMixin | Mapping[str, Any] | None = None,
    *,
    plugins: Sequence[object] = (),
    **options: Any,
) -> SchedulerMixin:
    """A diffusers `SchedulerMixin` from a solver's name.

    Args:
        name: as for `scheduler=` of a run: `dpmpp-2m`, or `diffusers:ClassName`.
        spacing: with what interval t falls, by name; default: the solver's.
        like: a scheduler (or its config) whose betas, prediction type and so on to take over; usually the
            model's own, `pipe.scheduler`.
        plugins: further plugins, as for `mezzotint.load`.
        options: the solver's own options, such as `eta`.

    Raises:
        UnknownNameError: nobody provides that name.
        RequestError: the spacing or an option does not go with it.
    """
    registry = Registry.load(plugins)
    return make_scheduler(
        name,
        spacing=spacing,
        like=like,
        schedulers=registry.schedulers,
        families=registry.families,
        spacings=registry.spacings,
        options=options,
    )
