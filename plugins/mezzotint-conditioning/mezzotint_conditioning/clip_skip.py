"""The extension `clip-skip`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from mezzotint import Extension, Field, hookimpl
from mezzotint.errors import RequestError

if TYPE_CHECKING:
    from torch.nn import Module


class ClipSkip(Extension, name="clip-skip"):
    """Leave out the last layers of the CLIP text encoder; its final norm stays.

    The hidden states after the layers that are left, normalised: diffusers' `clip_skip`, and what the web UI calls
    by a number that is one more. The layers are taken out for the run, so that it goes with everything that encodes.
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
        encoder.layers = before[: len(before) - self.layers]
        try:
            yield
        finally:
            encoder.layers = before


def _encoder(text_encoder: Any) -> Any:
    kind = type(text_encoder).__name__
    if not kind.startswith("CLIP"):
        raise RequestError(f"clip-skip is for CLIP text encoders; this model has {kind}")
    return getattr(text_encoder, "text_model", text_encoder).encoder
