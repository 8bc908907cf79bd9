"""One call of an extension's hook, as `hook_called` sees it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, eq=False)
class HookCall:
    """What one implementation was given and what came of it."""

    point: str
    """The hook point; `guidance` stands for each combination of predictions."""
    label: str
    """Of the extension: its name, with a number where a run uses several of it."""
    place: str
    """The block or layer, or empty."""
    before: Any
    """What could be changed, as it was; `None` where something is added or asked for rather than changed.

    A tensor, `BlockOutput`, `Conditioning`, tuple of passes or list of images, as the hook point has it. For
    `guidance` the prediction of the pass `positive`; for `unet_block` what the block itself gave, if it ran.
    """
    after: Any
    """What it became: the same object as `before` where nothing was changed, or the answer."""
    started: float
    """`time.perf_counter()` at the call."""
    seconds: float
    """How long it took; for `unet_block` without the block inside."""
