"""The extension `clip-skip`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

from mezzotint import Extension, Field, hookimpl, shadowed
from mezzotint.errors import RequestError

if TYPE_CHECKING:
    from torch.nn import Module


class ClipSkip(Extension, name="clip-skip"):
    """Leave out the last layers of the CLIP text encoder; its final norm stays.

    The hidden states after the layers that are left, normalised: diffusers' `clip_skip`, and what the web UI calls
    by a number that is one more. The layers are taken out for the run, so that it goes with everything that encodes.
    With Stable Diffusion XL it counts from where that begins, without a norm, in both encoders; the pooled text is that
    of all layers, as in diffusers.
    """

    layers: int = Field(1, ge=0, description="how many; 1 is the web UI's clip skip 2")

    @hookimpl(after="lora")
    @contextmanager
    def patch_text_encoder(self, text_encoder: Module) -> Iterator[None]:
        """Fewer layers while it is attached."""
        encoder = _encoder(text_encoder)
        before = encoder.layers
        if self.layers >= len(before):
            raise RequestError(
                f"clip-skip: layers={self.layers} leaves nothing of a text encoder with {len(before)} layers; "
                f"at most {len(before) - 1} can be left out"
            )
        encoder.layers = kept = before[: len(before) - self.layers]

        def forward(*args: Any, **options: Any) -> Any:
            # Whole while it is called: the pooled text is of all layers, and what is read on the way is what the
            # last of those that are kept is given.
            encoder.layers = before
            try:
                return whole(*args, **options)
            finally:
                encoder.layers = kept

        whole = text_encoder.forward
        pools = hasattr(text_encoder, "text_projection")
        try:
            with shadowed(text_encoder, forward) if pools else nullcontext():
                yield
        finally:
            encoder.layers = before


def _encoder(text_encoder: Any) -> Any:
    kind = type(text_encoder).__name__
    if not kind.startswith("CLIP"):
        raise RequestError(f"clip-skip is for CLIP text encoders; this model has {kind}")
    return getattr(text_encoder, "text_model", text_encoder).encoder
