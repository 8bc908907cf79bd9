"""The extension `prompt-embeds`: embeddings in place of prompts, from a file or from memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from mezzotint import Conditioning, Extension, Field, hookimpl
from mezzotint.errors import RequestError
from mezzotint.hooks.guidance import needs_unconditional
from pydantic import field_validator, model_validator

if TYPE_CHECKING:
    from mezzotint import Pass, Pipeline, Run
    from torch import Tensor

NAMES = {
    "positive": ("positive", "prompt_embeds"),
    "negative": ("negative", "negative_prompt_embeds"),
    "positive_pooled": ("positive_pooled", "pooled_prompt_embeds"),
    "negative_pooled": ("negative_pooled", "negative_pooled_prompt_embeds"),
}
"""Tensors in a file: our names, and diffusers'."""


class PromptEmbeds(Extension, name="prompt-embeds"):
    """Give the U-Net embeddings instead of the prompt's, from a safetensors file or as tensors.

    (tokens, dim) for all images, or (rows, tokens, dim) with one row for each prompt or each image. Stable Diffusion XL
    takes pooled embeddings as well, (dim) or (rows, dim).
    """

    file: Path | None = Field(
        None,
        description="safetensors file with positive, negative or both (or prompt_embeds, negative_prompt_embeds)",
    )
    positive: Any = Field(None, description="a tensor in place of the prompt")
    negative: Any = Field(None, description="a tensor in place of the negative prompt")

    positive_pooled: Any = Field(None, description="the pooled embedding that goes with positive")
    negative_pooled: Any = Field(None, description="the pooled embedding that goes with negative")

    @field_validator(*NAMES)
    @classmethod
    def _is_tensor(cls, value: Any) -> Any:
        if isinstance(value, dict):
            raise ValueError(
                "the tensor was handed over in memory, so the recipe does not hold it; use a file"
            )
        if value is not None and not (hasattr(value, "numel") and hasattr(value, "dim")):
            raise ValueError(
                f"give a tensor (tokens, dim) or (rows, tokens, dim), not {type(value).__name__}"
            )
        return value

    @model_validator(mode="after")
    def _check(self) -> Self:
        in_memory = any(getattr(self, name) is not None for name in NAMES)
        if self.file is None and not in_memory:
            raise ValueError("give a file, or a tensor as positive or negative")
        if self.file is not None and in_memory:
            raise ValueError("give a file or tensors, not both")
        return self

    @hookimpl(before=["blend", "prompt-schedule"])
    def conditioning(self, conditioning: Conditioning, pass_: Pass, run: Run) -> Conditioning | None:
        """The given embeddings for their passes, and for the others as many tokens."""
        from .token_padding import pad_conditioning

        given = run.state(self, lambda: self._given(conditioning, run))
        name = pass_.conditioning
        # What is replaced everywhere has no say in how long the others are.
        asked = {"positive", "negative"} if needs_unconditional(run) else {"positive"}
        own = [] if {*asked, name} <= given.keys() else [conditioning.embeddings]
        tokens = max(each.shape[1] for each in (*own, *given.values()))
        changed = conditioning
        if name in given:
            changed = conditioning.replace(embeddings=given[name], attention_mask=None)
        if f"{name}_pooled" in given:
            changed = changed.replace(added={**changed.added, "text_embeds": given[f"{name}_pooled"][:, 0]})
        changed = pad_conditioning(changed, tokens, run)
        return None if changed is conditioning else changed

    def _given(self, like: Conditioning, run: Run) -> dict[str, Tensor]:
        tensors = {name: getattr(self, name) for name in NAMES}
        if self.file is not None:
            tensors = run.pipe.resource(
                ("prompt embeds", self.files().get("file"), str(self.file)),
                lambda: read_embeddings(self.file),
            )
        given = {name: each for name, each in tensors.items() if each is not None}
        _check_pooled(given, like)
        return {name: _rows(name, each, like, run) for name, each in given.items()}


def read_embeddings(path: Path | None) -> dict[str, Tensor]:
    """`positive` and `negative` embeddings of a safetensors file, one or both.

    Raises:
        ModelError: it is missing, damaged or not finite.
        RequestError: it holds something else.
    """
    from .safetensors_file import read_tensors

    assert path is not None  # the caller has looked
    tensors = read_tensors(path, "prompt embeddings")
    known = {alias: name for name, aliases in NAMES.items() for alias in aliases}
    unknown = sorted(tensors.keys() - known.keys())
    if unknown or not tensors:
        raise RequestError(
            f"{path} holds {', '.join(unknown[:3]) or 'nothing'}; prompt embeddings are named positive and negative"
        )
    return {known[name]: tensor for name, tensor in tensors.items()}


def _check_pooled(given: Mapping[str, Tensor], like: Conditioning) -> None:
    """Embeddings and their pooled ones go together where the model takes both, and nowhere else."""
    takes = "text_embeds" in like.added
    for name in ("positive", "negative"):
        pooled = f"{name}_pooled"
        if (pooled in given) != (name in given and takes):
            why = (
                f"this model takes {pooled} as well as {name}; give both (embed_pooled makes it)"
                if takes
                else f"this model takes no {pooled}; leave it out"
            )
            raise RequestError(f"prompt-embeds: {why}")


def _rows(name: str, tensor: Tensor, like: Conditioning, run: Run) -> Tensor:
    """Embeddings (n, tokens, dim), checked against what the U-Net takes; pooled ones as one token, (n, 1, dim)."""
    if name.endswith("_pooled"):
        width = like.added["text_embeds"].shape[-1]
        if tensor.dim() not in (1, 2) or tensor.shape[-1] != width:
            raise RequestError(
                f"prompt-embeds: {name} has shape {tuple(tensor.shape)}; this model takes ({width},) or (rows, {width})"
            )
        embeddings = tensor.reshape(-1, 1, width)
    else:
        embeddings = tensor[None] if tensor.dim() == 2 else tensor
        width = like.embeddings.shape[2]
    if embeddings.dim() != 3 or embeddings.shape[2] != width or 0 in embeddings.shape:
        raise RequestError(
            f"prompt-embeds: {name} has shape {tuple(tensor.shape)}; this model takes (tokens, {width}) or "
            f"(rows, tokens, {width})"
        )
    if embeddings.is_complex():
        raise RequestError(f"prompt-embeds: {name} holds complex numbers")
    if not bool(embeddings.isfinite().all()):
        raise RequestError(f"prompt-embeds: {name} has values that are not finite")
    prompts, rows = len(run.request.prompts), len(embeddings)
    if rows not in (1, prompts, run.n):
        raise RequestError(
            f"prompt-embeds: {name} has {rows} rows; give 1, or one for each of {prompts} prompts or {run.n} images"
        )
    times = run.n if rows == 1 else run.n // rows
    return embeddings.to(like.embeddings).repeat_interleave(times, dim=0)


def embed(
    pipe: Pipeline, prompt: str | Sequence[str], *, use: Extension | Sequence[Extension] = ()
) -> Tensor:
    """Embeddings (prompts, tokens, dim) that a run with these extensions would begin with.

    Everything that changes them is in effect: prompt syntax, textual inversion, LoRA in the text encoder. For
    `PromptEmbeds(positive=…)`, or a file: `safetensors.torch.save_file({"positive": embed(pipe, "a cat")}, path)`; with Stable Diffusion XL together with
    `embed_pooled`.
    """
    return _taken(pipe, prompt, use).embeddings


def embed_pooled(
    pipe: Pipeline, prompt: str | Sequence[str], *, use: Extension | Sequence[Extension] = ()
) -> Tensor:
    """As `embed`, the pooled embeddings (prompts, dim) that go with them in Stable Diffusion XL.

    Raises:
        RequestError: the model takes none.
    """
    added = _taken(pipe, prompt, use).added
    if "text_embeds" not in added:
        raise RequestError("embed_pooled: this model takes no pooled embeddings")
    return added["text_embeds"]


def _taken(pipe: Pipeline, prompt: str | Sequence[str], use: Extension | Sequence[Extension]) -> Conditioning:
    taken: list[Conditioning] = []
    extensions = [use] if isinstance(use, Extension) else list(use)
    with suppress(_Taken):
        # The model's own number of steps, as an edit at half of one step would be over.
        pipe(prompt, guidance=1, seed=0, use=[*extensions, _Take(taken)])
    return taken[0]


class _Taken(Exception):
    """The embeddings are there; the rest of the run is not wanted."""


class _Take(Extension, name="take-prompt-embeds"):
    """Hand over the conditioning at the U-Net's door."""

    into: Any

    def __init__(self, into: list[Any]) -> None:
        # Not through pydantic, which copies lists.
        super().__init__(into=lambda: into)

    @hookimpl
    def unet_input(self, run: Run) -> None:
        assert run.conditioning is not None  # valid from unet_residuals on
        self.into().append(run.conditioning[run.rows("positive")])
        raise _Taken
