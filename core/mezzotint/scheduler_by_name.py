"""`mezzotint.scheduler`: a scheduler by name, for use in any diffusers pipeline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from .plugins.absent import hinting_at_absent_plugins
from .plugins.registry import Registry
from .scheduling import SolverSpec, SpacingSpec, make_scheduler

if TYPE_CHECKING:
    from diffusers import SchedulerMixin


def scheduler(
    name: str | SolverSpec,
    spacing: str | SpacingSpec | None = None,
    like: SchedulerMixin | Mapping[str, Any] | None = None,
    *,
    plugins: Sequence[object] = (),
    **options: Any,
) -> SchedulerMixin:
    """A diffusers `SchedulerMixin` from a solver or its name.

    Args:
        name: as for `scheduler=` of a run: `dpmpp-2m`, or `diffusers:ClassName`; or what `@solver` returns.
        spacing: at which noise levels the model is asked, by name, or what `@spacing` returns; default: as
            the scheduler `like` does.
        like: a scheduler (or its config) whose betas, prediction type and so on to take over; usually the
            model's own, `pipe.scheduler`.
        plugins: further plugins, as for `mezzotint.load`.
        options: of the solver, such as `eta`, of the spacing, such as `rho`, or of the model.

    Raises:
        UnknownNameError: nobody provides that name.
        RequestError: an argument is of the wrong kind, or the spacing or an option does not go with it.
    """
    registry = Registry.load(plugins)
    with hinting_at_absent_plugins(registry):
        return make_scheduler(
            name,
            spacing=spacing,
            like=like,
            schedulers=registry.schedulers,
            families=registry.families,
            spacings=registry.spacings,
            options=options,
        )
