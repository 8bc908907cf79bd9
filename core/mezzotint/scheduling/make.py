"""From a scheduler's name to a scheduler."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, cast

from ..errors import RequestError
from .familiar_names import familiar_names
from .scheduler_names import Member, find_scheduler
from .spacing_names import find_spacing
from .specs import SchedulerFamily, SchedulerSpec, SolverSpec, SpacingSpec

if TYPE_CHECKING:
    from diffusers import SchedulerMixin


def make_scheduler(
    name: str | SolverSpec | None,
    *,
    spacing: str | SpacingSpec | None = None,
    like: SchedulerMixin | Mapping[str, Any] | None = None,
    schedulers: Mapping[str, SolverSpec | SchedulerSpec | type],
    families: Mapping[str, SchedulerFamily],
    spacings: Mapping[str, SpacingSpec],
    options: Mapping[str, Any] | None = None,
) -> SchedulerMixin:
    """A diffusers scheduler by name.

    Args:
        name: a solver or scheduler in `schedulers`, `prefix:name` of a family, a solver itself, or `None`
            for another one of the class of `like`.
        spacing: a name, or a spacing itself; default: what `like` uses. For a diffusers class it is mapped
            to the class's config flags.
        like: the model's own scheduler or its config: β, prediction type and so on are read from it.
            Default: Stable Diffusion's.
        options: of the solver, of the spacing, or settings of the model such as `prediction_type`; for a
            diffusers class, its constructor arguments.

    Raises:
        UnknownNameError: no scheduler or spacing of that name.
        RequestError: an argument of the wrong kind, an option that there is not, a spacing that the scheduler
            cannot take, or a model whose noise schedule solvers do not follow.
    """
    _check_kinds(name, spacing, like)
    chosen = dict(options or {})
    if isinstance(spacing, str | None):
        name, spacing = familiar_names(name, spacing, schedulers, spacings)
    # A scheduler that was made from a solver goes on with that.
    found: Any = getattr(like, "solver", type(like)) if name is None else name
    if isinstance(name, str):
        found = find_scheduler(name, schedulers, families, spacings)
    if isinstance(found, SolverSpec):
        return _replay(found, spacing, like, spacings, chosen)
    if isinstance(spacing, SpacingSpec):
        raise RequestError(
            f"spacing= {spacing.name!r} goes with a solver; a diffusers class takes its own spacings, by name"
        )
    if isinstance(found, SchedulerSpec):
        return _with_flags(found.make, like, spacing, chosen, check=False)
    if isinstance(found, Member):
        return _with_flags(found.make, like, spacing, chosen)
    return _with_flags(lambda config, extra: found.from_config({**config, **extra}), like, spacing, chosen)


def _check_kinds(name: object, spacing: object, like: object) -> None:
    if not isinstance(name, str | SolverSpec) and not (name is None and hasattr(like, "config")):
        raise RequestError(
            f"a scheduler is given by its name, such as 'euler' or 'diffusers:DDIMScheduler', or as what @solver "
            f"returns, not as {_kind(name)}"
        )
    if not isinstance(spacing, str | SpacingSpec | None):
        raise RequestError(
            f"spacing= takes a name, such as 'karras', or what @spacing returns, not {_kind(spacing)}"
        )
    if not (like is None or isinstance(like, Mapping) or isinstance(getattr(like, "config", None), Mapping)):
        inside = " pipe.scheduler" if hasattr(like, "scheduler") else " a scheduler or its config"
        raise RequestError(f"like= takes{inside}, not {_kind(like)}")


def _kind(value: object) -> str:
    """A value in a sentence: itself if it is short, else its type."""
    return repr(value) if value is None or isinstance(value, int | float | str) else type(value).__name__


def _replay(
    solver: SolverSpec,
    spacing: str | SpacingSpec | None,
    like: SchedulerMixin | Mapping[str, Any] | None,
    spacings: Mapping[str, SpacingSpec],
    options: Mapping[str, Any],
) -> SchedulerMixin:
    from .model_config import DEFAULTS, model_config, own_spacing
    from .replay import ReplayScheduler

    wanted = own_spacing(like) if spacing is None else spacing
    spec = wanted if isinstance(wanted, SpacingSpec) else find_spacing(wanted, spacings)
    known = {**DEFAULTS, **spec.options, **solver.options}
    for option, value in options.items():
        if option not in known:
            raise RequestError(
                f"neither solver {solver.name!r} nor spacing {spec.name!r} has an option {option!r}; "
                f"there are {', '.join(sorted(known))}"
            )
        _check_kind(option, value, known[option])
    config = model_config(like)
    config |= {key: value for key, value in options.items() if key in DEFAULTS}
    scheduler = ReplayScheduler(
        solver,
        spec,
        solver_options={key: value for key, value in options.items() if key in solver.options},
        spacing_options={key: value for key, value in options.items() if key in spec.options},
        **config,
    )
    return cast("SchedulerMixin", scheduler)


def _with_flags(
    make: Callable[[Mapping[str, Any], Mapping[str, Any]], SchedulerMixin],
    like: SchedulerMixin | Mapping[str, Any] | None,
    spacing: str | None,
    options: Mapping[str, Any],
    *,
    check: bool = True,
) -> SchedulerMixin:
    """A scheduler that is no solver; its class, once made, says which flags and options it takes."""
    from .config_flags import check_options, spacing_flags
    from .model_config import DEFAULTS

    config = (
        dict(DEFAULTS)
        if like is None
        else dict(like if isinstance(like, Mapping) else cast("Any", like).config)
    )
    scheduler = make(config, options if not check else {})
    if check:
        check_options(type(scheduler), options)
    changes = {} if spacing is None else spacing_flags(type(scheduler), spacing, config)
    if not changes and (not check or not options):
        return scheduler
    # diffusers keeps here which settings were left to the class, and ignores what the config has for them.
    left = [name for name in config.get("_use_default_values", ()) if name not in {*changes, *options}]
    return make({**config, **changes, "_use_default_values": left}, options)


def _check_kind(option: str, value: Any, default: Any) -> None:
    fits = (
        default is None
        or isinstance(value, type(default))
        or (isinstance(default, float) and isinstance(value, int) and not isinstance(value, bool))
    )
    if not fits or (isinstance(value, bool) and not isinstance(default, bool) and default is not None):
        raise RequestError(
            f"option {option!r} is {value!r}; it takes a {type(default).__name__} such as {default!r}"
        )
