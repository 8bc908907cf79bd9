"""Rich tables as plain text, for strings and for pipes."""

from __future__ import annotations

from io import StringIO

from rich.console import Console, RenderableType

WIDTH = 160


def plain(renderable: RenderableType, width: int = WIDTH) -> str:
    """What rich would print on a terminal of that width, without colours or trailing blanks."""
    buffer = StringIO()
    Console(file=buffer, width=width, color_system=None, legacy_windows=False).print(renderable)
    return "\n".join(line.rstrip() for line in buffer.getvalue().splitlines()) + "\n"
