"""What a check found."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from .subject import Subject

Outcome = Literal["passed", "failed", "not applicable"]


@dataclass(frozen=True)
class Finding:
    """The answer of one check about one subject."""

    outcome: Outcome
    measured: str
    """What was measured, in words and numbers; why, if the check is not applicable."""
    grid: str = ""
    """On which noise levels, steps or shapes."""
    advice: str = ""
    """What to do about a failure, one sentence."""
    numbers: Mapping[str, float] = field(default_factory=dict)
    """What the card shows."""
    check: str = ""
    """Name of the check; the registry fills it in."""
    error: Exception | None = field(default=None, compare=False, repr=False)
    """What the subject raised, if it did."""

    @property
    def passed(self) -> bool:
        """Whether there is nothing to do."""
        return self.outcome != "failed"

    def __str__(self) -> str:
        where = f" [{self.grid}]" if self.grid else ""
        advice = f"\n    {self.advice}" if self.advice and not self.passed else ""
        return f"{self.check}: {self.outcome}: {self.measured}{where}{advice}"


def judge(
    holds: bool, measured: str, *, grid: str = "", advice: str, numbers: Mapping[str, float] | None = None
) -> Finding:
    """Passed if it holds, else failed."""
    return Finding("passed" if holds else "failed", measured, grid, advice, numbers or {})


def not_applicable(why: str) -> Finding:
    """The check says nothing about this subject."""
    return Finding("not applicable", why)


@dataclass(frozen=True)
class Check:
    """A question to a subject."""

    name: str
    """As in test ids, such as `order-alternating`."""
    function: Callable[[Subject], Finding]
    kinds: tuple[Literal["solver", "spacing", "scheduler"], ...]
    """What it can be asked about."""
    unless: Callable[[Subject], str] = lambda subject: ""
    """Why it says nothing about this subject, as far as that is known without running it; else empty."""

    def __call__(self, subject: Subject) -> Finding:
        """The finding; an error that the subject raises is a failure, not the end of the report."""
        if why := self.unless(subject):
            return replace(not_applicable(why), check=self.name)
        try:
            finding = self.function(subject)
        except Exception as error:
            return Finding(
                "failed",
                f"raised {type(error).__name__}: {error}",
                advice="conformance_tests shows the traceback of this check.",
                check=self.name,
                error=error,
            )
        return replace(finding, check=self.name)
