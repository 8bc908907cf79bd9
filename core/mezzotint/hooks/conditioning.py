"""What the U-Net is told about the prompts, and the default way from text to embeddings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from ..errors import RequestError

if TYPE_CHECKING:
    from torch import Tensor, device


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


T5_TOKENS = 77
"""Tokens of a prompt that DeepFloyd IF was trained with; its T5 itself takes any number."""


def encode_text(
    prompts: list[str], tokenizer: Any, text_encoder: Any, on: device, dtype: Any
) -> tuple[Conditioning, list[str]]:
    """Last hidden states of the model's text encoder, as diffusers' pipeline of that model computes them.

    Returns:
        The conditioning, rows = `len(prompts)`, and for each prompt the text that did not fit (empty where
        all of it did).
    """
    encode = encode_with_t5 if text_encoder.config.model_type == "t5" else encode_with_clip
    return encode(prompts, tokenizer, text_encoder, on, dtype)


def encode_with_clip(
    prompts: list[str], tokenizer: Any, text_encoder: Any, on: device, dtype: Any
) -> tuple[Conditioning, list[str]]:
    """CLIP's last hidden states for texts, as `StableDiffusionPipeline.encode_prompt` computes them."""
    limit = tokenizer.model_max_length
    inputs = _tokenize(prompts, tokenizer, limit)
    mask = inputs.attention_mask.to(on) if getattr(text_encoder.config, "use_attention_mask", False) else None
    embeddings = text_encoder(inputs.input_ids.to(on), attention_mask=mask)[0]
    return Conditioning(embeddings.to(dtype=dtype, device=on)), _cut_off(prompts, tokenizer, limit)


def encode_with_t5(
    prompts: list[str], tokenizer: Any, text_encoder: Any, on: device, dtype: Any, *, tokens: int = T5_TOKENS
) -> tuple[Conditioning, list[str]]:
    """T5's last hidden states for texts, as `IFPipeline.encode_prompt` computes them: in lower case, padding masked.

    The mask is for the encoder; the U-Net of IF attends to the padding as well.
    """
    plain = [prompt.lower().strip() for prompt in prompts]
    inputs = _tokenize(plain, tokenizer, tokens)
    embeddings = text_encoder(inputs.input_ids.to(on), attention_mask=inputs.attention_mask.to(on))[0]
    return Conditioning(embeddings.to(dtype=dtype, device=on)), _cut_off(plain, tokenizer, tokens)


def _tokenize(prompts: list[str], tokenizer: Any, limit: int) -> Any:
    return tokenizer(prompts, padding="max_length", max_length=limit, truncation=True, return_tensors="pt")


def _cut_off(prompts: list[str], tokenizer: Any, limit: int) -> list[str]:
    rest = []
    for ids in tokenizer(prompts, verbose=False).input_ids:
        # The last token that fits is the end marker, so text is lost from `limit - 1` on.
        rest.append(tokenizer.decode(ids[limit - 1 : -1]) if len(ids) > limit else "")
    return rest
