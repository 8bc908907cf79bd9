"""All findings about one subject."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from .card import Card, make_card
from .checks import CHECKS
from .finding import Check, Finding
from .subject import StepOptions, Subject, subject_of


@dataclass(frozen=True)
class Report:
    """What `check_solver`, `check_spacing` and `check_scheduler` return."""

    subject: Subject
    findings: tuple[Finding, ...]

    @property
    def failed(self) -> tuple[Finding, ...]:
        """What has to be put right."""
        return tuple(finding for finding in self.findings if not finding.passed)

    @property
    def card(self) -> Card:
        """Order, evaluations a step, stability range and so on, as far as they were measured."""
        return make_card(self.subject, self.findings)

    def __getitem__(self, check: str) -> Finding:
        """The finding of a check, by name."""
        for finding in self.findings:
            if finding.check == check:
                return finding
        raise KeyError(f"{check!r} was not run; there are {', '.join(each.check for each in self.findings)}")

    def raise_if_failed(self) -> None:
        """Raise an `AssertionError` that lists the failures, on which grid, and what to do."""
        if self.failed:
            listed = "\n".join(map(str, self.failed))
            count = f"{len(self.failed)} check" + ("s" if len(self.failed) > 1 else "")
            raise AssertionError(f"{self.subject.name} fails {count}:\n{listed}")

    def __str__(self) -> str:
        return "\n".join([*map(str, self.findings), "", str(self.card)])


def checks_for(subject: Subject) -> tuple[Check, ...]:
    """The checks of a kind of subject, in order."""
    return tuple(check for check in CHECKS if subject.kind in check.kinds)


def check_solver(
    solver: Any,
    *,
    accuracy_order: int | None = None,
    options: StepOptions | None = None,
    leave_out: Sequence[str] = (),
) -> Report:
    """Check a `SolverSpec`, as formula and as the scheduler that it becomes.

    Args:
        accuracy_order: instead of the one that it declares.
        options: of the solver, or a function from the number of steps to them, for solvers that take
            substeps of their own.
        leave_out: names of checks.
    """
    return _report(subject_of(solver, accuracy_order=accuracy_order, options=options), leave_out)


def check_spacing(
    spacing: Any, *, options: StepOptions | None = None, leave_out: Sequence[str] = ()
) -> Report:
    """Check a `SpacingSpec` for every number of steps from 1 to 1000."""
    return _report(subject_of(spacing, options=options), leave_out)


def check_scheduler(
    scheduler: Any, *, accuracy_order: int | None = None, leave_out: Sequence[str] = ()
) -> Report:
    """Check anything that speaks diffusers' scheduler protocol.

    Args:
        scheduler: an object, its class, or a function that makes one from the settings among its keyword
            parameters (`trained_betas`, `prediction_type` …).
        accuracy_order: order of convergence that it should have; default: its `accuracy_order`, its
            config's `solver_order`, or else that it converges at all.
        leave_out: names of checks.
    """
    return _report(subject_of(scheduler, accuracy_order=accuracy_order), leave_out)


def _report(subject: Subject, leave_out: Sequence[str]) -> Report:
    check_names(subject, leave_out)
    return Report(
        subject, tuple(check(subject) for check in checks_for(subject) if check.name not in leave_out)
    )


def check_names(subject: Subject, names: Sequence[str]) -> None:
    """Raise a `ValueError` for a name that is no check of this kind of subject."""
    known = [check.name for check in checks_for(subject)]
    for name in names:
        if name not in known:
            raise ValueError(f"{name!r} is no check of a {subject.kind}; there are {', '.join(known)}")
