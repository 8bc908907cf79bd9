"""What the U-Net is told about a prompt: syntax, encoders, textual inversion, image prompts, schedules, regions."""

from __future__ import annotations

from collections.abc import Sequence

from mezzotint import CommandSpec, Extension, hookimpl

from .blend import Blend
from .clip import CLIP
from .clip_skip import ClipSkip
from .ip_adapter.extension import IPAdapter
from .prompt_embeds import PromptEmbeds, embed, embed_pooled
from .prompt_schedule import PromptSchedule
from .prompt_syntax import PromptSyntax
from .region import Region
from .size_conditioning import SizeConditioning
from .t5 import T5
from .textual_inversion.extension import TextualInversion

EXTENSIONS: tuple[type[Extension], ...] = (
    CLIP,
    T5,
    Blend,
    ClipSkip,
    IPAdapter,
    PromptEmbeds,
    PromptSchedule,
    PromptSyntax,
    Region,
    SizeConditioning,
    TextualInversion,
)

__all__ = ["EXTENSIONS", "embed", "embed_pooled", *(extension.__name__ for extension in EXTENSIONS)]


@hookimpl
def extensions() -> Sequence[type[Extension]]:
    """Everything here that a run can use."""
    return EXTENSIONS


@hookimpl
def commands() -> Sequence[CommandSpec]:
    """`mezzotint textual-inversion …`."""
    return [
        CommandSpec(
            "textual-inversion train",
            "mezzotint_conditioning.textual_inversion.training.command:command",
            "Learn a word from pictures.",
        )
    ]
