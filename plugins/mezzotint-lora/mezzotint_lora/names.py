"""From the names in LoRA files to modules: a table made from the model's own modules, never by taking names apart.

`down_blocks_0_attentions_0_proj_in` cannot be read without knowing the model: an underscore may have been a dot.
So every name that a module may have in a file is written down once, and names are looked up.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .sgm import sgm_names

if TYPE_CHECKING:
    from torch.nn import Module

TEXT_MODEL = "text_model."
"""transformers 5 dropped this level of `CLIPTextModel`; files keep it."""


@dataclass(frozen=True, eq=False)
class Names:
    """The module names of one model, and every spelling of them in files."""

    spellings: Mapping[str, str]
    """As a file spells it → the module's path in the model."""
    in_files: Mapping[str, str]
    """The module's path → its dotted name in diffusers' and peft's files."""
    sgm: Mapping[str, str]
    """The module's path → its name in the original U-Net, for those that had one."""

    @classmethod
    def of(cls, model: Module) -> Names:
        """Of a U-Net or a text encoder."""
        return cls.from_modules([name for name, _ in model.named_modules() if name])

    @classmethod
    def from_modules(cls, modules: Iterable[str]) -> Names:
        """From the dotted names of all modules."""
        listed = list(modules)
        is_unet = any(name.startswith(("down_blocks", "up_blocks", "mid_block")) for name in listed)
        sgm = sgm_names(listed) if is_unet else {}
        spellings: dict[str, str] = {}
        in_files = {}
        for name in listed:
            file_name = name if is_unet else with_text_model(name)
            in_files[name] = file_name
            for dotted in {name, file_name, sgm.get(name, name)}:
                spellings.setdefault(dotted, name)
                spellings.setdefault(dotted.replace(".", "_"), name)
        return cls(spellings, in_files, sgm)


def with_text_model(name: str) -> str:
    """A text encoder's module as files name it."""
    if name.startswith((TEXT_MODEL, "text_projection")) or name == TEXT_MODEL.rstrip("."):
        return name
    return f"{TEXT_MODEL}{name}"
