"""Models that a training passes through and does not change."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch.nn import Module


@contextmanager
def frozen(*models: Module) -> Iterator[None]:
    """No parameter of these models collects a gradient inside; on leaving each is as it was."""
    wanted = {parameter: parameter.requires_grad for model in models for parameter in model.parameters()}
    try:
        for parameter in wanted:
            parameter.requires_grad_(False)
        yield
    finally:
        for parameter, before in wanted.items():
            parameter.requires_grad_(before)
