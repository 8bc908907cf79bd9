"""`python -m mezzotint.testing.conformance my_package.solvers:my_solver` prints all findings and the card."""

from __future__ import annotations

import os
import pkgutil
import sys
from collections.abc import Callable, Mapping
from typing import Any

from .report import Report, check_scheduler, check_solver, check_spacing
from .subject import subject_of

CHECK: Mapping[str, Callable[[Any], Report]] = {
    "solver": check_solver,
    "spacing": check_spacing,
    "scheduler": check_scheduler,
}


def main(arguments: list[str]) -> int:
    """Check each name; 1 if one of them fails, 2 if one is not there."""
    if not arguments:
        print(__doc__)
        return 2
    # As `python -m pytest` does: names in the folder that one is in.
    sys.path.insert(0, os.getcwd())
    failed = False
    for name in arguments:
        try:
            thing = pkgutil.resolve_name(name)
        except (ImportError, AttributeError, ValueError) as error:
            print(f"{name} cannot be imported: {error}; write package.module:name", file=sys.stderr)
            return 2
        subject = subject_of(thing)
        report = CHECK[subject.kind](subject)
        print(report)
        failed = failed or bool(report.failed)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
