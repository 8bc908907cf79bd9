"""The extension `prompt-schedule`."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self

from mezzotint import Conditioning, Extension, Field, hookimpl
from pydantic import field_validator, model_validator

if TYPE_CHECKING:
    from mezzotint import Pass, Run


logger = logging.getLogger("mezzotint")


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

    @field_validator("prompts", mode="before")
    @classmethod
    def _is_mapping(cls, value: Any) -> Any:
        if not isinstance(value, Mapping):
            raise ValueError(
                f"""give fractions with their prompts, such as {{"0.5": "a wolf"}}, not {value!r}"""
            )
        return value

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
        from .token_padding import pad_conditioning

        if run.step is None:
            return None
        encoded = run.state(self, lambda: self._encode(run))
        tokens = max(each.embeddings.shape[1] for each in (conditioning, *encoded.values()))
        changed = pad_conditioning(conditioning, tokens, run)
        if pass_.conditioning == ("negative" if self.negative else "positive"):
            changed = self._at(run.step.fraction, changed, encoded, run)
        return None if changed is conditioning else changed

    def _encode(self, run: Run) -> dict[float, Conditioning]:
        """Once a run; says which prompts never come."""
        count = run.step.count  # type: ignore[union-attr]
        late = [text for start, text in self.prompts.items() if start > (count - 1) / count]
        if late:
            logger.warning("prompt-schedule: %r begins after the last of %d steps", late[0], count)
        return {
            start: run.encode([text], negative=self.negative) for start, text in sorted(self.prompts.items())
        }

    def _at(
        self, fraction: float, own: Conditioning, encoded: Mapping[float, Conditioning], run: Run
    ) -> Conditioning:
        import torch

        from .interpolation import Interpolation, interpolate_conditionings
        from .token_padding import pad_conditioning

        current = own
        for start, conditioning in encoded.items():
            if fraction < start:
                break
            after = pad_conditioning(conditioning, own.embeddings.shape[1], run).repeat(own.rows)
            progress = min(1.0, (fraction - start) / self.fade) if self.fade else 1.0
            t = torch.full((own.rows, 1, 1), progress).to(own.embeddings)
            current = interpolate_conditionings(current, after, t, Interpolation.LERP)
        return current
