"""Prompts in the syntax of compel (https://github.com/damian0815/compel), read and weighted by that library."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from mezzotint import Conditioning
from mezzotint.errors import RequestError

from .token_padding import pad_tokens

if TYPE_CHECKING:
    from mezzotint import Run
    from torch import Tensor


class CompelPrompts:
    """Embeddings of a run's prompts by compel: `word++`, `(word)1.3`, `("a", "b").blend(0.7, 0.3)`, `.and()`."""

    def __init__(self, run: Run) -> None:
        from compel import Compel

        pipe = run.pipe
        self._run = run
        self._compel = Compel(
            tokenizer=pipe.tokenizer,
            text_encoder=pipe.text_encoder,
            truncate_long_prompts=False,
            device=pipe.device,
            dtype_for_device_getter=lambda device: pipe.text_encoder.dtype,
        )
        self._encoded: dict[str, Tensor] = {}
        self._parsed: dict[str, Any] = {}
        texts = dict.fromkeys((*run.request.prompts, *run.request.negatives))
        self._tokens = max(self._row(text).shape[1] for text in texts)

    def encode(self, prompts: Sequence[str]) -> Conditioning:
        """Embeddings (prompts, tokens, dim), filled up to the length of the run's longest prompt.

        Raises:
            RequestError: compel cannot read a prompt, or it uses `.swap()`, which compel itself leaves to others.
        """
        import torch

        if all(self._is_plain(text) for text in prompts):
            embeddings = self._run.encode(list(prompts)).embeddings
        else:
            rows = [self._row(text) for text in prompts]
            longest = max(row.shape[1] for row in rows)
            embeddings = torch.cat([pad_tokens(row, longest, self._run) for row in rows])
        return Conditioning(pad_tokens(embeddings, self._tokens, self._run))

    def _row(self, text: str) -> Tensor:
        if text not in self._encoded:
            self._encoded[text] = (
                self._run.encode([text]).embeddings if self._is_plain(text) else self._weighted(text)
            )
        return self._encoded[text]

    def _weighted(self, text: str) -> Tensor:
        try:
            parsed = self._parse(text)
            if any(getattr(prompt, "wants_cross_attention_control", False) for prompt in parsed.prompts):
                raise RequestError(f"prompt {text!r} uses .swap(), which compel does not carry out")
            embeddings: Tensor = self._compel.build_conditioning_tensor_for_conjunction(parsed)[0]
        except RequestError:
            raise
        except Exception as error:
            raise RequestError(f"compel cannot read the prompt {text!r}: {error}") from error
        embeddings = embeddings if embeddings.dim() == 3 else embeddings[None]
        return embeddings.to(self._run.pipe.text_encoder.dtype)

    def _parse(self, text: str) -> Any:
        # Once for each text: compel's parser takes seconds for a few hundred words.
        if text not in self._parsed:
            self._parsed[text] = self._compel.parse_prompt_string(text)
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
