"""The conformance kit: does a solver, spacing or scheduler do what it says?

    from mezzotint.testing import conformance_tests

    test_my_solver = conformance_tests(my_solver)

Orders of convergence are measured against exact solutions, weak orders without Monte Carlo; purity, noise,
dtypes, resuming and evaluation counts are tested by running the thing as pipelines do. `CHECKS` lists all.
"""

from .card import Card
from .checks import CHECKS
from .finding import Check, Finding
from .pytest_tests import conformance_tests
from .report import Report, check_scheduler, check_solver, check_spacing
from .subject import Subject, subject_of

__all__ = [
    "CHECKS",
    "Card",
    "Check",
    "Finding",
    "Report",
    "Subject",
    "check_scheduler",
    "check_solver",
    "check_spacing",
    "conformance_tests",
    "subject_of",
]
