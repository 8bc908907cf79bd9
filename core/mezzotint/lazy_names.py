"""Names of a package that are imported when they are first used (PEP 562), so that importing it takes no torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any


def lazy_names(package: str, where: Mapping[str, str]) -> Callable[[str], Any]:
    """The `__getattr__` of a package: `__getattr__ = lazy_names(__name__, {"Result": "pipeline.result"})`.

    Args:
        package: its `__name__`.
        where: public name → module below the package.
    """

    def find(name: str) -> Any:
        if name not in where:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(import_module(f".{where[name]}", package), name)

    return find
