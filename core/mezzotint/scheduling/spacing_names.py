"""Spacing names and their dialects: `leading@ddim` is explicit, plain `leading` means the default dialect."""

from __future__ import annotations

from collections.abc import Mapping

from ..errors import DuplicateNameError, UnknownNameError, suggest
from .familiar_names import known_spacing, written_here
from .specs import SpacingSpec


def find_spacing(name: str, spacings: Mapping[str, SpacingSpec]) -> SpacingSpec:
    """The spacing of this name, or the default dialect of this plain name.

    Raises:
        UnknownNameError: there is none; near misses and dialects are listed.
        DuplicateNameError: two dialects claim to be the default.
    """
    name = known_spacing(name, spacings) or name
    dialects = [spec for spec in spacings.values() if spec.family == name]
    defaults = [spec for spec in dialects if spec.default]
    if len(defaults) == 1:
        return defaults[0]
    if len(defaults) > 1:
        raise DuplicateNameError(
            f"{' and '.join(spec.name for spec in defaults)} both claim to be the default for spacing {name!r}; "
            "name one of them"
        )
    try:
        return spacings[name]
    except KeyError:
        plain = {spec.family for spec in spacings.values() if spec.default}
        known = {*spacings, *plain}
        hint = "" if known else "pip install mezzotint-schedulers brings some."
        raise UnknownNameError(
            f"no spacing named {name!r}; {suggest(written_here(name), known)}{' ' + hint if hint else ''}"
        ) from None
