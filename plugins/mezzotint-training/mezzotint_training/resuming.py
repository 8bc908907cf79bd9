"""Whether a checkpoint belongs to the training that is to go on."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .errors import CheckpointError

MAY_CHANGE = frozenset(
    [
        "steps",
        "epochs",
        "save_every",
        "keep",
        "validate_every",
        "sample_prompts",
        "sample_every",
        "save_dtype",
        "gradient_checkpointing",
        "tensorboard",
        "cache",
        "cache_folder",
    ]
)
"""Settings that a resumed training may have otherwise; the others decide what the next step does, or what the file is."""
_FACTS = {"model": "model", "data": "pictures or captions", "processes": "number of processes"}


def check_same(
    folder: Path, before: Mapping[str, Any], now: Mapping[str, Any], defaults: Mapping[str, Any]
) -> None:
    """Compare what a checkpoint says of its training with the one that asks for it.

    Args:
        defaults: of the settings; they hold for those that there were not yet when the checkpoint was written.

    Raises:
        CheckpointError: model, data, processes or a setting differ; which is said.
    """
    for fact, name in _FACTS.items():
        if before.get(fact) != now[fact]:
            detail = f": {before.get(fact)} then, {now[fact]} now" if fact == "processes" else ""
            raise CheckpointError(f"{folder}: the {name} changed{detail}; a resumed training needs the same")
    for name, value in now["settings"].items():
        was = before["settings"].get(name, defaults.get(name))
        if name not in MAY_CHANGE and was != value:
            raise CheckpointError(
                f"{folder} was trained with {name}={was}, not {value}; resume with the same settings"
            )
