"""Prompts in the syntax of compel (https://github.com/damian0815/compel), read and weighted by that library."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from mezzotint import Conditioning
from mezzotint.errors import RequestError
from mezzotint.hooks.conditioning import concatenate
from mezzotint.models.text_encoding import Embedded, encode_with_clip, side_by_side

from .token_padding import pad_conditioning

if TYPE_CHECKING:
    from mezzotint import Run
    from mezzotint.models.components import TextEncoder
    from mezzotint.models.text_encoding import Embed
    from torch import Tensor


class CompelPrompts:
    """Embeddings of a run's prompts by compel: `word++`, `(word)1.3`, `("a", "b").blend(0.7, 0.3)`, `.and()`."""

    def __init__(self, run: Run) -> None:
        from compel import Compel

        pipe = run.pipe
        self._run = run
        self._compels = [
            Compel(
                tokenizer=encoder.tokenizer,
                text_encoder=_Embedder(encoder.model, pipe.components.family.embed),
                truncate_long_prompts=False,
                device=pipe.device,
                dtype_for_device_getter=lambda device: pipe.text_encoder.dtype,
            )
            for encoder in pipe.text_encoders.values()
        ]
        self._encoded: dict[str, Conditioning] = {}
        self._parsed: dict[str, Any] = {}
        texts = dict.fromkeys((*run.request.prompts, *run.request.negatives))
        self._tokens = max(self._row(text).embeddings.shape[1] for text in texts)

    def encode(self, prompts: Sequence[str]) -> Conditioning:
        """Embeddings (prompts, tokens, dim), filled up to the length of the run's longest prompt.

        Raises:
            RequestError: compel cannot read a prompt, or it uses `.swap()`, which compel itself leaves to others.
        """
        if all(self._is_plain(text) for text in prompts):
            encoded = self._run.encode(list(prompts))
        else:
            rows = [self._row(text) for text in prompts]
            longest = max(row.embeddings.shape[1] for row in rows)
            encoded = concatenate([pad_conditioning(row, longest, self._run) for row in rows])
        return pad_conditioning(encoded, self._tokens, self._run)

    def _row(self, text: str) -> Conditioning:
        if text not in self._encoded:
            self._encoded[text] = self._run.encode([text]) if self._is_plain(text) else self._weighted(text)
        return self._encoded[text]

    def _weighted(self, text: str) -> Conditioning:
        try:
            parsed = self._parse(text)
            if any(getattr(prompt, "wants_cross_attention_control", False) for prompt in parsed.prompts):
                raise RequestError(f"prompt {text!r} uses .swap(), which compel does not carry out")
            states = [compel.build_conditioning_tensor_for_conjunction(parsed)[0] for compel in self._compels]
        except RequestError:
            raise
        except Exception as error:
            raise RequestError(f"compel cannot read the prompt {text!r}: {error}") from error
        pipe = self._run.pipe
        words = " ".join(_words(parsed))
        conditioning = side_by_side(
            [
                Embedded(each if each.dim() == 3 else each[None], self._pooled(encoder, words))
                for each, encoder in zip(states, pipe.text_encoders.values(), strict=True)
            ]
        )
        # What else the model takes, such as sizes, is the same for every text.
        others = self._run.encode([""]).added
        return conditioning.replace(
            embeddings=conditioning.embeddings.to(pipe.text_encoder.dtype),
            added={**others, **conditioning.added},
        )

    def _pooled(self, encoder: TextEncoder, words: str) -> Tensor | None:
        """The pooled text of a prompt without its weights, of an encoder that has one."""
        if not hasattr(encoder.model, "text_projection"):
            return None
        pipe = self._run.pipe
        plain, _ = encode_with_clip(
            [words], [encoder], pipe.components.family.embed, pipe.device, pipe.text_encoder.dtype
        )
        return plain.added["text_embeds"]

    def _parse(self, text: str) -> Any:
        # Once for each text: compel's parser takes seconds for a few hundred words.
        if text not in self._parsed:
            self._parsed[text] = self._compels[0].parse_prompt_string(text)
        return self._parsed[text]

    def _is_plain(self, text: str) -> bool:
        """Whether compel sees nothing but the text itself, and it fits."""
        try:
            prompts: list[Any] = self._parse(text).prompts
        except Exception:
            return False
        fragments = [] if len(prompts) != 1 else list(getattr(prompts[0], "children", []))
        alone = len(fragments) <= 1 and all(
            getattr(piece, "text", None) == text and getattr(piece, "weight", None) == 1
            for piece in fragments
        )
        tokens = self._run.pipe.tokenizer(text, verbose=False).input_ids
        return (
            alone and bool(fragments or not text) and len(tokens) <= self._run.pipe.tokenizer.model_max_length
        )


class _Embedder:
    """A text encoder as compel calls one; its last hidden states are what the model takes from it."""

    def __init__(self, text_encoder: Any, embed: Embed) -> None:
        self._text_encoder, self._embed = text_encoder, embed
        self.device, self.dtype = text_encoder.device, text_encoder.dtype

    def __call__(self, ids: Tensor, attention_mask: Tensor | None = None, **options: Any) -> SimpleNamespace:
        states = self._embed(self._text_encoder, ids, attention_mask).hidden_states
        return SimpleNamespace(last_hidden_state=states)


def _words(parsed: Any) -> Iterator[str]:
    """The texts of a prompt without the syntax, those of a blend one after the other."""
    for prompt in getattr(parsed, "prompts", ()):
        yield from _words(prompt)
    for piece in getattr(parsed, "children", ()):
        if getattr(piece, "text", ""):
            yield piece.text
