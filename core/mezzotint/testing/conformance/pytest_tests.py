"""The kit as tests: one line in a test file, one test id a check."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from .card import make_card
from .finding import Check, Finding
from .report import check_names, checks_for
from .subject import StepOptions, Subject, subject_of

PROPERTY = "mezzotint-finding"
"""Name of the test property that carries a finding to the plugin that prints the cards."""


def conformance_tests(
    thing: Any,
    *,
    accuracy_order: int | None = None,
    options: StepOptions | None = None,
    exceptions: Mapping[str, str] | None = None,
) -> Callable[..., None]:
    """A parametrised test function with one case for each check.

        test_my_solver = conformance_tests(my_solver)

    Args:
        thing: a solver, a spacing, a scheduler, its class or a factory, see `subject_of`.
        accuracy_order, options: see `check_solver`.
        exceptions: from a check that the subject is known to fail to the reason; such a test must fail.

    Raises:
        ValueError: an exception for a check that there is not.
    """
    subject = subject_of(thing, accuracy_order=accuracy_order, options=options)
    expected = exceptions or {}
    check_names(subject, list(expected))
    cases = [
        pytest.param(
            check,
            id=check.name,
            marks=[pytest.mark.xfail(reason=expected[check.name], strict=True)]
            if check.name in expected
            else [],
        )
        for check in checks_for(subject)
        if not check.unless(subject)
    ]

    @pytest.mark.parametrize("check", cases)
    def conformance(check: Check, record_property: Callable[[str, object], None]) -> None:
        finding = check(subject)
        record_property(PROPERTY, (subject.name, subject.accuracy_order, as_plain(finding)))
        if finding.outcome == "not applicable":
            pytest.skip(f"not applicable: {finding.measured}")
        if not finding.passed:
            raise AssertionError(f"{subject.name}: {finding}") from finding.error

    conformance.__doc__ = f"Conformance of {subject.kind} {subject.name}."
    return conformance


def as_plain(finding: Finding) -> dict[str, Any]:
    """A finding as plain data that test reports can carry between processes."""
    return {
        "check": finding.check,
        "outcome": finding.outcome,
        "measured": finding.measured,
        "numbers": dict(finding.numbers),
    }


def cards(properties: list[tuple[str, int | None, dict[str, Any]]]) -> list[str]:
    """Cards of all subjects whose findings test reports have brought, in order."""
    found: dict[tuple[str, int | None], list[Finding]] = {}
    for name, accuracy_order, plain in properties:
        found.setdefault((name, accuracy_order), []).append(Finding(**plain))
    return [
        str(make_card(Subject(name, "scheduler", accuracy_order=accuracy_order), findings))
        for (name, accuracy_order), findings in found.items()
    ]
