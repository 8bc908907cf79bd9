"""Names of schedulers and spacings as web UIs write them: `DPM++ 2M Karras`, `Euler a`, `dpmpp_2m`, `SGM Uniform`.

Case, blanks, dashes and underscores do not count, `++` is `pp`, the word `a` is `ancestral`, and `gpu` says only where
noise is drawn. What no such rule finds (ComfyUI's `normal` is A1111's `Uniform`) a spec says itself, in `also`. A name
of a scheduler may end in that of a spacing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from ..errors import RequestError, suggest
from .specs import SpacingSpec


def familiar_names(
    scheduler: Any, spacing: str | None, schedulers: Mapping[str, Any], spacings: Mapping[str, SpacingSpec]
) -> tuple[Any, str | None]:
    """Scheduler and spacing by their names here; what is unknown, and a scheduler that is no name, is left as it is.

    Raises:
        RequestError: the scheduler's name ends in one spacing, and another is asked for.
    """
    asked = spacing if spacing is None else known_spacing(spacing, spacings) or spacing
    if not isinstance(scheduler, str) or ":" in scheduler:
        return scheduler, asked
    found, named = _apart(scheduler, schedulers, spacings)
    if named is not None and asked is not None and named != asked:
        raise RequestError(
            f"scheduler {scheduler!r} names the spacing {named}, but {asked} is asked for; "
            f"write scheduler {found!r} and one spacing"
        )
    return found, named or asked


def known_scheduler(name: str, schedulers: Mapping[str, Any]) -> str | None:
    """The name here of what a web UI calls so, or `None`."""
    return _known(name, {each: getattr(spec, "also", ()) for each, spec in schedulers.items()})


def known_spacing(name: str, spacings: Mapping[str, SpacingSpec]) -> str | None:
    """The name here of what a web UI calls so, or `None`; that of a default dialect is the plain one."""
    called: dict[str, Sequence[str]] = dict.fromkeys(spacings, ())
    called |= {spec.family if spec.default else each: spec.also for each, spec in spacings.items()}
    return _known(name, called)


def near_names(
    name: str, schedulers: Mapping[str, Any], spacings: Mapping[str, SpacingSpec], others: Sequence[str] = ()
) -> str:
    """What may be meant by a name that no scheduler has: `did you mean …?`, or the whole list.

    Args:
        others: further names for the list, such as those of families.
    """
    spacing = known_spacing(name, spacings)
    if spacing is not None:
        return f"{spacing} is a spacing: give it as spacing (--spacing {spacing})"
    for scheduler, rest in _splits(name, schedulers):
        close = get_close_matches(rest, {spec.family for spec in spacings.values()}, n=1, cutoff=0.7)
        if close:
            return f"did you mean scheduler {scheduler} and spacing {close[0]}?"
    return suggest(written_here(name), [*schedulers, *others])


def written_here(name: str) -> str:
    """A name in the way of those here, for finding near misses: `SGM Unifrom` → `sgm-unifrom`."""
    return "-".join(_words(name))


def _apart(
    name: str, schedulers: Mapping[str, Any], spacings: Mapping[str, SpacingSpec]
) -> tuple[str, str | None]:
    whole = known_scheduler(name, schedulers)
    # What is a spacing by itself, ComfyUI's `ddim_uniform`, is not the scheduler `ddim`.
    if whole is not None or known_spacing(name, spacings) is not None:
        return whole or name, None
    for scheduler, rest in _splits(name, schedulers):
        spacing = known_spacing(rest, spacings)
        if spacing is not None:
            return scheduler, spacing
    return name, None


def _splits(name: str, schedulers: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Schedulers that the name begins with, the longest first, each with the rest."""
    words = _words(name)
    for end in range(len(words) - 1, 0, -1):
        scheduler = known_scheduler("-".join(words[:end]), schedulers)
        if scheduler is not None:
            yield scheduler, "-".join(words[end:])


def _known(name: str, called: Mapping[str, Sequence[str]]) -> str | None:
    """Of names here with what others call them, the only one that is meant."""
    if name in called:
        return name
    key = _key(name)
    found = [each for each, also in called.items() if key in map(_key, (each, *also))]
    return found[0] if len(found) == 1 else None


def _key(name: str) -> str:
    return "".join(_words(name))


def _words(name: str) -> list[str]:
    words = re.split(r"[\s_-]+", name.lower().replace("++", "pp"))
    return ["ancestral" if word == "a" else word for word in words if word not in ("", "gpu")]
