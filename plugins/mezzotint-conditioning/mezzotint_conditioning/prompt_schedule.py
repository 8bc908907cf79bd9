"""The extension `prompt-schedule`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Self

from mezzotint import Conditioning, Extension, Field, hookimpl
from pydantic import model_validator

if TYPE_CHECKING:
    from mezzotint import Pass, Run
    from torch import Tensor


class PromptSchedule(Extension, name="prompt-schedule"):
    """Use other prompts in later parts of the run: `{0.3: "a wolf", 0.7: "a wolf in snow"}`."""

    prompts: Mapping[float, str] = Field(
        description="from which fraction of the steps which prompt; before the first, the run's own"
    )
    fade: float = Field(
        0.0,
        ge=0,
        le=1,
        description="over which fraction of the steps each change is blended; 0 switches at once",
    )
    negative: bool = Field(False, description="whether it is the negative prompt that changes")

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not self.prompts:
            raise ValueError("give at least one prompt, such as {0.5: 'a wolf'}")
        wrong = [start for start in self.prompts if not 0 <= start < 1]
        if wrong:
            raise ValueError(f"{wrong[0]:g} is no fraction of the steps: from 0 to below 1")
        return self

    @hookimpl(after="prompt-embeds")
    def conditioning(self, conditioning: Conditioning, pass_: Pass, run: Run) -> Conditioning | None:
        """The prompt of this part of the run, and for the other passes as many tokens."""
        from .token_padding import pad_tokens

        if run.step is None:
            return None
        encoded = run.state(self, lambda: self._encode(run))
        tokens = max(conditioning.embeddings.shape[1], *(each.shape[1] for each in encoded.values()))
        embeddings = pad_tokens(conditioning.embeddings, tokens, run)
        if pass_.conditioning == ("negative" if self.negative else "positive"):
            embeddings = self._at(run.step.fraction, embeddings, encoded, tokens, run)
        return None if embeddings is conditioning.embeddings else conditioning.replace(embeddings=embeddings)

    def _encode(self, run: Run) -> dict[float, Tensor]:
        return {start: run.encode([text]).embeddings for start, text in sorted(self.prompts.items())}

    def _at(
        self, fraction: float, own: Tensor, encoded: Mapping[float, Tensor], tokens: int, run: Run
    ) -> Tensor:
        import torch

        from .token_padding import pad_tokens

        current = own
        for start, embeddings in encoded.items():
            if fraction < start:
                break
            after = pad_tokens(embeddings, tokens, run).expand_as(own)
            progress = 1.0 if not self.fade else (fraction - start) / self.fade
            current = after if progress >= 1 else torch.lerp(current, after, progress)
        return current
