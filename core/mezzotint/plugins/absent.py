"""What an error says about plugins that are installed and not loaded: the unknown name may come from one of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from ..errors import UnknownNameError
from .discovery import State
from .registry import Registry


@contextmanager
def hinting_at_absent_plugins(registry: Registry) -> Iterator[None]:
    """Add the hint to an `UnknownNameError` from inside; at most once, where these are nested."""
    try:
        yield
    except UnknownNameError as error:
        hint = hint_at_absent_plugins(registry)
        if not hint or hint in str(error):
            raise
        raise UnknownNameError(f"{error}{hint}") from None


def hint_at_absent_plugins(registry: Registry, what: str = "it") -> str:
    """One sentence for plugins that failed, one for those that are off, by cause; empty where all are loaded."""
    sentences = []
    failed = [row.owner.plugin for row in registry.rows if row.state is State.FAILED]
    if failed:
        number, them = ("A plugin", "it") if len(failed) == 1 else ("Some plugins", "them")
        sentences.append(
            f" {number} failed to load ({', '.join(failed)}); if {what} is from {them}: "
            f"mezzotint plugins explain {failed[0]}"
        )
    by_cause: dict[str, list[str]] = {}
    for row in registry.rows:
        if row.state is State.DISABLED:
            by_cause.setdefault(row.cause, []).append(row.owner.plugin)
    if by_cause:
        off = "; ".join(f"{', '.join(names)}: {cause}" for cause, names in by_cause.items())
        sentences.append(f" Plugins that are off may bring {what} ({off}); see: mezzotint plugins list")
    return "".join(sentences)
