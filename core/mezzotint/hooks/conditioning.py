"""What the U-Net is told about the prompts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from ..errors import RequestError

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, eq=False)
class Conditioning:
    """Text embeddings and what goes with them, one row an image (or an image and pass)."""

    embeddings: Tensor
    """`encoder_hidden_states`, (rows, tokens, dim)."""
    attention_mask: Tensor | None = None
    """1 for tokens to attend to, 0 for padding, (rows, tokens); `None` attends to all, as SD does."""
    added: Mapping[str, Tensor] = field(default_factory=dict)
    """`added_cond_kwargs` of the U-Net, such as SDXL's `text_embeds` and `time_ids`; rows first."""

    @property
    def rows(self) -> int:
        """Number of rows."""
        return int(self.embeddings.shape[0])

    def repeat(self, times: int) -> Conditioning:
        """Each row `times` times in a row, as diffusers repeats prompts for several images."""
        return self if times == 1 else self._map(lambda tensor: tensor.repeat_interleave(times, dim=0))

    def __getitem__(self, rows: slice) -> Conditioning:
        """Some of the rows."""
        return self._map(lambda tensor: tensor[rows])

    def zeros_at(self, rows: Sequence[bool]) -> Conditioning:
        """Zeros in place of the embeddings and the pooled text of some rows."""
        import torch

        if not any(rows):
            return self
        where = torch.tensor(rows, device=self.embeddings.device)
        pooled = self.added.get("text_embeds")
        added = {} if pooled is None else {"text_embeds": pooled.masked_fill(where[:, None], 0)}
        return self.replace(
            embeddings=self.embeddings.masked_fill(where[:, None, None], 0), added={**self.added, **added}
        )

    def replace(self, **changes: Any) -> Conditioning:
        """A copy with other fields."""
        return replace(self, **changes)

    def _map(self, change: Any) -> Conditioning:
        mask = self.attention_mask
        return Conditioning(
            change(self.embeddings),
            None if mask is None else change(mask),
            {name: change(tensor) for name, tensor in self.added.items()},
        )


@dataclass(frozen=True)
class Pass:
    """One of the U-Net passes of a step."""

    name: str
    """Such as `positive`, `negative`, `perturbed`."""
    conditioning: str = ""
    """Which prompt it is conditioned on: `positive` or `negative`; default: its own name."""

    def __post_init__(self) -> None:
        if not self.conditioning:
            object.__setattr__(self, "conditioning", self.name)


def concatenate(conditionings: Sequence[Conditioning]) -> Conditioning:
    """One conditioning with the rows of all, pass-major; masks and added conditions must agree in kind."""
    import torch

    first = conditionings[0]
    if len(conditionings) == 1:
        return first
    for other in conditionings[1:]:
        if other.added.keys() != first.added.keys():
            raise RequestError(
                f"the passes of a step have different added conditions: {sorted(first.added)} and {sorted(other.added)}"
            )
    mask = None
    if any(c.attention_mask is not None for c in conditionings):
        mask = torch.cat([_mask_or_ones(c) for c in conditionings])
    return Conditioning(
        torch.cat([c.embeddings for c in conditionings]),
        mask,
        {name: torch.cat([c.added[name] for c in conditionings]) for name in first.added},
    )


def _mask_or_ones(conditioning: Conditioning) -> Tensor:
    if conditioning.attention_mask is not None:
        return conditioning.attention_mask
    return conditioning.embeddings.new_ones(conditioning.embeddings.shape[:2])
