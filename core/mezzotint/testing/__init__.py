"""What tests need: fingerprints that prove clean removal, tiny random models, and conformance of schedulers.

One line in a test file checks a solver, a spacing or a diffusers-style scheduler from end to end:

    test_my_solver = mezzotint.testing.conformance_tests(my_solver)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..lazy_names import lazy_names

_WHERE = {
    "Card": "conformance",
    "Finding": "conformance",
    "Fingerprint": "fingerprinting",
    "Report": "conformance",
    "check_scheduler": "conformance",
    "check_solver": "conformance",
    "check_spacing": "conformance",
    "conformance_tests": "conformance",
    "fingerprint": "fingerprinting",
    "save_tiny_model": "tiny",
    "save_tiny_pixel_model": "tiny_pixels",
    "save_tiny_xl_model": "tiny_xl",
    "tiny_pipeline": "tiny",
}

__all__ = [*_WHERE]

if TYPE_CHECKING:
    from .conformance import Card as Card
    from .conformance import Finding as Finding
    from .conformance import Report as Report
    from .conformance import check_scheduler as check_scheduler
    from .conformance import check_solver as check_solver
    from .conformance import check_spacing as check_spacing
    from .conformance import conformance_tests as conformance_tests
    from .fingerprinting import Fingerprint as Fingerprint
    from .fingerprinting import fingerprint as fingerprint
    from .tiny import save_tiny_model as save_tiny_model
    from .tiny import tiny_pipeline as tiny_pipeline
    from .tiny_pixels import save_tiny_pixel_model as save_tiny_pixel_model
    from .tiny_xl import save_tiny_xl_model as save_tiny_xl_model


__getattr__ = lazy_names(__name__, _WHERE)
