"""The ledger of a run: which extension changed what, by how much, in how much time."""

from .extension import Trace

__all__ = ["Trace"]
