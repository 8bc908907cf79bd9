"""LoRA and its kin for mezzotint: load anything exactly, remove it exactly."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from mezzotint import CommandSpec, Extension, hookimpl
from mezzotint.lazy_names import lazy_names

from .extension import LoRA
from .tags import LoRATags

_WHERE = {
    "Adapter": "adapter",
    "Delta": "adapter",
    "LoRAError": "errors",
    "Report": "fitting",
    "Target": "adapter",
    "read_adapter": "files",
    "write_adapter": "files",
}

__all__ = ["LoRA", "LoRATags", *_WHERE]

if TYPE_CHECKING:
    from .adapter import Adapter as Adapter
    from .adapter import Delta as Delta
    from .adapter import Target as Target
    from .errors import LoRAError as LoRAError
    from .files import read_adapter as read_adapter
    from .files import write_adapter as write_adapter
    from .fitting import Report as Report


@hookimpl
def extensions() -> Sequence[type[Extension]]:
    """`lora` and `lora-tags`."""
    return [LoRA, LoRATags]


@hookimpl
def commands() -> Sequence[CommandSpec]:
    """`mezzotint lora …`."""
    at = "mezzotint_lora.cli"
    return [
        CommandSpec("lora inspect", f"{at}.inspect:command", "Show what is in a LoRA file, without a model."),
        CommandSpec("lora convert", f"{at}.convert:command", "Write a LoRA in another format."),
        CommandSpec(
            "lora merge", f"{at}.merge:command", "Make one LoRA of several, or a model with them in it."
        ),
        CommandSpec("lora resize", f"{at}.resize:command", "Lower the rank of a LoRA."),
        CommandSpec(
            "lora train", "mezzotint_lora.training.command:command", "Train a LoRA on a folder of pictures."
        ),
        CommandSpec("lora extract", f"{at}.extract:command", "Make a LoRA of the difference of two models."),
    ]


__getattr__ = lazy_names(__name__, _WHERE)
