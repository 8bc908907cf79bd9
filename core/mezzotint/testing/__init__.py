"""What tests need: fingerprints that prove clean removal, and tiny random models."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

_WHERE = {
    "Fingerprint": "fingerprinting",
    "fingerprint": "fingerprinting",
    "save_tiny_model": "tiny",
    "tiny_pipeline": "tiny",
}

__all__ = [*_WHERE]

if TYPE_CHECKING:
    from .fingerprinting import Fingerprint as Fingerprint
    from .fingerprinting import fingerprint as fingerprint
    from .tiny import save_tiny_model as save_tiny_model
    from .tiny import tiny_pipeline as tiny_pipeline


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_WHERE[name]}"), name)
