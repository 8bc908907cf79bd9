"""The extension `prompt-syntax`: weights, editing and long prompts, written in the prompt itself."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from mezzotint import Conditioning, Extension, Field, hookimpl
from mezzotint.errors import RequestError
from mezzotint.hooks.prompt_marks import CHUNK, EDIT, WEIGHT

from .a1111.emphasis import Emphasis

if TYPE_CHECKING:
    from mezzotint import Pass, Run

    from .a1111.prompts import Prompts

CHANGE_CONDITIONING = ("blend", "prompt-embeds", "prompt-schedule")
"""Extensions of this distribution that change what `encode_prompt` made; they come after it."""


class Syntax(StrEnum):
    """Whose language the prompt is written in."""

    A1111 = "a1111"
    COMPEL = "compel"


class PromptSyntax(Extension, name="prompt-syntax"):
    """Weights, editing and long prompts: `(word:1.3)`, `[from:to:0.5]`, `[one|two]`, BREAK; or compel's `word++`.

    Text without syntax that fits into CLIP's 75 tokens gives the embeddings of the plain encoder, bit for bit.
    Longer text goes through the encoder in chunks of 75 tokens, which the U-Net attends to together; the negative
    prompt is filled up to the same length with empty chunks.
    """

    reads = (WEIGHT, EDIT, CHUNK)

    syntax: Syntax = Field(Syntax.A1111, description="language of the prompts")
    emphasis: Emphasis = Field(
        Emphasis.ORIGINAL,
        description="what an a1111 weight does; original restores the mean of the embeddings",
    )
    comma_backtrack: int = Field(
        20,
        ge=0,
        le=75,
        description="a full chunk ends at a comma that is at most so many tokens back (a1111)",
    )

    @hookimpl
    def encode_prompt(self, prompts: list[str], run: Run) -> Conditioning:
        """Embeddings of the prompts as they are at the first step."""
        refuse_other_encoders(run, self.extension_name)
        if self.syntax is Syntax.COMPEL:
            from .compel_syntax import CompelPrompts

            return run.state(self, lambda: CompelPrompts(run)).encode(prompts)
        return self._prompts(run).encode(prompts)

    @hookimpl(before=CHANGE_CONDITIONING)
    def conditioning(self, conditioning: Conditioning, pass_: Pass, run: Run) -> Conditioning | None:
        """The prompts as they are at this step, where that is not as at the first."""
        if self.syntax is Syntax.COMPEL:
            return None
        now = self._prompts(run).at(pass_.conditioning)
        return None if now is None else now.replace(added={**conditioning.added, **now.added})

    def _prompts(self, run: Run) -> Prompts:
        from .a1111.prompts import Prompts

        return run.state(self, lambda: Prompts(run, self.emphasis, self.comma_backtrack))


def refuse_other_encoders(run: Run, name: str) -> None:
    """Stop where the model's text encoder is not CLIP.

    Raises:
        RequestError: it is another one.
    """
    kind = type(run.pipe.text_encoder).__name__
    if not kind.startswith("CLIP"):
        raise RequestError(f"{name} is for CLIP text encoders; this model has {kind}")
