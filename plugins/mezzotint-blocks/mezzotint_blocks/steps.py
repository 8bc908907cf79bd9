"""The part of a run in which an extension acts, as two options that many of them have."""

from __future__ import annotations

from typing import Annotated

from mezzotint import Field, Run

Start = Annotated[float, Field(ge=0, le=1, description="first step it acts at, as a fraction of all steps")]
End = Annotated[
    float, Field(ge=0, le=1, description="first step it no longer acts at, as a fraction of all steps")
]


def within(run: Run, start: float, end: float) -> bool:
    """Whether this step's fraction (0 at the first step, below 1 at the last) is in [start, end)."""
    return run.step is not None and start <= run.step.fraction < end
