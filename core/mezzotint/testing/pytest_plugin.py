"""What `pip install mezzotint` adds to pytest: `--mezzotint-card`, the cards of the conformance kit.

Loaded by every pytest run on the machine, so nothing else is imported before it is needed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option."""
    parser.getgroup("mezzotint").addoption(
        "--mezzotint-card",
        action="store_true",
        help="print a card for each solver, spacing or scheduler that conformance_tests has checked",
    )


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Print the cards from the properties that the tests' reports carry, also from other processes."""
    if not config.getoption("--mezzotint-card"):
        return
    from .conformance.pytest_tests import PROPERTY, cards

    properties = [
        value
        for reports in terminalreporter.stats.values()
        for report in reports
        for name, value in getattr(report, "user_properties", ())
        if name == PROPERTY and report.when == "call"
    ]
    if properties:
        terminalreporter.section("mezzotint conformance")
        for card in cards(properties):
            terminalreporter.write_line(card)
