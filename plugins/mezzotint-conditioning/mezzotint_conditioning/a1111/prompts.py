"""The prompts of one run in the web UI's syntax: encoded when a step first needs them, all of one length."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from mezzotint import Conditioning
from mezzotint.errors import RequestError

from ..clip_chunks import encode_chunks
from .chunks import Chunk, make_chunks
from .emphasis import Emphasis
from .parse import parse
from .schedule import Break, Fragment, at_step, changes

if TYPE_CHECKING:
    from mezzotint import Run

Variant = tuple[Fragment | Break, ...]
"""One prompt at one step."""


class Prompts:
    """Embeddings of a run's prompts and negative prompts at every step."""

    def __init__(self, run: Run, emphasis: Emphasis, comma_backtrack: int) -> None:
        self._run = run
        self._emphasis = emphasis
        self._comma_backtrack = comma_backtrack
        self._texts = {"positive": run.request.prompts, "negative": run.request.negatives}
        self._trees = {name: [parse(text) for text in texts] for name, texts in self._texts.items()}
        self._changing = any(changes(tree) for trees in self._trees.values() for tree in trees)
        self._chunks: dict[tuple[str, Variant], list[Chunk]] = {}
        self._encoded: dict[tuple[tuple[Variant, ...], int], Conditioning] = {}
        self._first: dict[str, tuple[tuple[Variant, ...], int]] = {}
        self._counts: dict[int, int] = {}

    def encode(self, prompts: Sequence[str]) -> Conditioning:
        """Embeddings (prompts, tokens, dim) at the first step; prompts of others must not change over the steps."""
        steps = self._run.request.steps
        count = self._chunk_count(steps)
        # The prompt and the negative prompt may be the same text.
        own = [name for name, texts in self._texts.items() if list(texts) == list(prompts)]
        if own:
            variants = self._variants(own[0], 1, steps)
            self._first |= dict.fromkeys(own, (variants, count))
            return self._encode(variants, count)
        trees = [parse(text) for text in prompts]
        for text, tree in zip(prompts, trees, strict=True):
            if changes(tree):
                raise RequestError(
                    f"prompt {text!r} changes over the steps, which only the run's own prompt and negative prompt can"
                )
        return self._encode(tuple(at_step(tree, 1, 1) for tree in trees), count)

    def at(self, name: str) -> Conditioning | None:
        """The conditioning (n rows) of `positive` or `negative` at this step; `None` where it is the first step's."""
        step = self._run.step
        if not self._changing or step is None or name not in self._first:
            return None
        key = (self._variants(name, step.index + 1, step.count), self._chunk_count(step.count))
        if key == self._first[name]:
            return None
        if key not in self._encoded:
            encoded = self._encode(*key)
            if name == "negative":
                encoded = self._run.pipe.components.as_negative(encoded, self._texts[name])
            self._encoded[key] = encoded.repeat(self._run.request.n)
        return self._encoded[key]

    def _variants(self, name: str, step: int, count: int) -> tuple[Variant, ...]:
        return tuple(at_step(tree, step, count) for tree in self._trees[name])

    def _chunk_count(self, steps: int) -> int:
        """Chunks that the longest of all prompts needs at any of the steps."""
        if steps not in self._counts:
            visited = range(1, steps + 1) if self._changing else range(1, 2)
            variants = {
                v for name in self._trees for step in visited for v in self._variants(name, step, steps)
            }
            self._counts[steps] = max(
                len(self._chunked(encoder, variant))
                for encoder in self._run.pipe.text_encoders
                for variant in variants
            )
        return self._counts[steps]

    def _chunked(self, encoder: str, variant: Variant) -> list[Chunk]:
        if (encoder, variant) not in self._chunks:
            tokenizer = self._run.pipe.text_encoders[encoder].tokenizer
            self._chunks[encoder, variant] = make_chunks(variant, tokenizer, self._comma_backtrack)
        return self._chunks[encoder, variant]

    def _encode(self, variants: tuple[Variant, ...], count: int) -> Conditioning:
        pipe = self._run.pipe
        return encode_chunks(
            [[self._chunked(encoder, variant) for variant in variants] for encoder in pipe.text_encoders],
            list(pipe.text_encoders.values()),
            pipe.components.family.embed,
            emphasis=self._emphasis,
            chunk_count=count,
        )
