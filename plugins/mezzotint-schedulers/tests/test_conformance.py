"""The conformance kit on every solver and spacing here: what their declarations promise is measured."""

import pytest
from mezzotint.testing.conformance import check_solver, check_spacing
from mezzotint_schedulers import SOLVERS, SPACINGS

OPTIONS = {"restart": lambda n: {"substeps": max(n // 4, 2)}}
"""Restart goes down again in substeps of its own; its order is one in steps and substeps together."""

EXCEPTIONS: dict[str, dict[str, str]] = {}
"""From a name to the checks that it fails, each with the reason; that it does fail is asserted as well."""


def failures(report):
    expected = EXCEPTIONS.get(report.subject.name, {})
    missing = [check for check in expected if report[check].passed]
    assert not missing, f"{report.subject.name} passes {missing} now: remove the exception"
    return "\n".join(str(finding) for finding in report.failed if finding.check not in expected)


@pytest.mark.parametrize("spec", SOLVERS, ids=lambda spec: spec.name)
def test_solver(spec):
    assert not failures(check_solver(spec, options=OPTIONS.get(spec.name)))


@pytest.mark.parametrize("spec", SPACINGS, ids=lambda spec: spec.name)
def test_spacing(spec):
    assert not failures(check_spacing(spec))


def test_what_is_not_measured_is_what_is_for_distilled_models():
    """LCM is the only one without an order: it jumps to the clean sample, which only a distilled model knows."""
    assert [spec.name for spec in SOLVERS if spec.accuracy_order == 0] == ["lcm"]
