"""The default way from text to embeddings."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from ..hooks.conditioning import Conditioning

if TYPE_CHECKING:
    from torch import Tensor, device

    from .components import TextEncoder

T5_TOKENS = 77
"""Tokens of a prompt that DeepFloyd IF was trained with; its T5 itself takes any number."""


class Embedded(NamedTuple):
    """What one text encoder says of token ids."""

    hidden_states: Tensor
    """(rows, tokens, dim)."""
    pooled: Tensor | None = None
    """One vector a text, projected, (rows, dim); of encoders that have a projection."""


Embed = Callable[[Any, "Tensor", "Tensor | None"], Embedded]
"""From a CLIP text encoder, ids (rows, tokens) and a mask or none to what a family of models is told of them."""


def encode_text(
    prompts: list[str], encoders: Sequence[TextEncoder], embed: Embed, on: device, dtype: Any
) -> tuple[Conditioning, list[str]]:
    """Embeddings of texts by the model's own encoders, as diffusers' pipeline of that model computes them.

    Returns:
        The conditioning, rows = `len(prompts)`, and for each prompt the text that did not fit (empty where
        all of it did).
    """
    if encoders[0].model.config.model_type == "t5":
        return encode_with_t5(prompts, encoders[0], on, dtype)
    return encode_with_clip(prompts, encoders, embed, on, dtype)


def encode_with_clip(
    prompts: list[str], encoders: Sequence[TextEncoder], embed: Embed, on: device, dtype: Any
) -> tuple[Conditioning, list[str]]:
    """Embeddings by one CLIP encoder or several side by side, as `encode_prompt` of diffusers' pipelines."""
    parts = []
    for encoder in encoders:
        inputs = _tokenize(prompts, encoder.tokenizer, encoder.tokenizer.model_max_length)
        mask = inputs.attention_mask.to(on) if uses_attention_mask(encoder.model) else None
        parts.append(embed(encoder.model, inputs.input_ids.to(on), mask))
    tokenizer = encoders[0].tokenizer
    cut = _cut_off(prompts, tokenizer, tokenizer.model_max_length)
    conditioning = side_by_side(parts)
    return conditioning.replace(embeddings=conditioning.embeddings.to(dtype=dtype, device=on)), cut


def encode_with_t5(
    prompts: list[str], encoder: TextEncoder, on: device, dtype: Any, *, tokens: int = T5_TOKENS
) -> tuple[Conditioning, list[str]]:
    """T5's last hidden states for texts, as `IFPipeline.encode_prompt` computes them: in lower case, padding masked.

    The mask is for the encoder; the U-Net of IF attends to the padding as well.
    """
    plain = [prompt.lower().strip() for prompt in prompts]
    inputs = _tokenize(plain, encoder.tokenizer, tokens)
    embeddings = encoder.model(inputs.input_ids.to(on), attention_mask=inputs.attention_mask.to(on))[0]
    return Conditioning(embeddings.to(dtype=dtype, device=on)), _cut_off(plain, encoder.tokenizer, tokens)


def uses_attention_mask(text_encoder: Any) -> bool:
    """Whether padding is masked in a CLIP encoder, by its configuration."""
    return bool(getattr(text_encoder.config, "use_attention_mask", False))


def last_hidden_states(text_encoder: Any, ids: Tensor, mask: Tensor | None = None) -> Embedded:
    """After the last layer and the final norm: Stable Diffusion 1 and 2."""
    return Embedded(text_encoder(ids, attention_mask=mask)[0])


def hidden_states_before_the_last_layer(
    text_encoder: Any, ids: Tensor, mask: Tensor | None = None
) -> Embedded:
    """What the last layer is given, not normalised, and the pooled embedding of all layers: Stable Diffusion XL.

    The same as transformers' `hidden_states[-2]`, which leaves hooks in the model when it is asked for.
    """
    seen: list[Tensor] = []
    last = getattr(text_encoder, "text_model", text_encoder).encoder.layers[-1]
    handle = last.register_forward_pre_hook(lambda layer, inputs: seen.append(inputs[0]))
    try:
        output = text_encoder(ids, attention_mask=mask)
    finally:
        handle.remove()
    return Embedded(seen[0], getattr(output, "text_embeds", None))


def side_by_side(parts: Sequence[Embedded]) -> Conditioning:
    """One conditioning from what each text encoder says: dims one after the other, and the first pooled embedding."""
    import torch

    pooled = next((part.pooled for part in parts if part.pooled is not None), None)
    states = [part.hidden_states for part in parts]
    return Conditioning(
        states[0] if len(states) == 1 else torch.cat(states, dim=-1),
        added={} if pooled is None else {"text_embeds": pooled},
    )


def _tokenize(prompts: list[str], tokenizer: Any, limit: int) -> Any:
    return tokenizer(prompts, padding="max_length", max_length=limit, truncation=True, return_tensors="pt")


def _cut_off(prompts: list[str], tokenizer: Any, limit: int) -> list[str]:
    rest = []
    for ids in tokenizer(prompts, verbose=False).input_ids:
        # The last token that fits is the end marker, so text is lost from `limit - 1` on.
        rest.append(tokenizer.decode(ids[limit - 1 : -1]) if len(ids) > limit else "")
    return rest
