"""An option that takes one name or several."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator


def _split(value: Any) -> Any:
    return (
        tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value
    )


Several = Annotated[tuple[str, ...], BeforeValidator(_split)]
"""Names as a list, or as one text with commas between."""
