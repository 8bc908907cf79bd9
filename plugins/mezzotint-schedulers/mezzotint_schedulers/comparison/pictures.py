"""Pictures of latents, for strips of what a run passes through and of noise that is added."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from PIL.Image import Image

SMALL = 256
"""Pixels; wider pictures are embedded with loss, or a report of a large model would be of its size."""


def decode(pipe: Any, latents: Any) -> list[Image]:
    """Latents (n, c, h, w) through the VAE, one at a time."""
    return [image for one in latents.to(pipe.device).split(1) for image in pipe.decode(one)]


def spread(items: Sequence[Any], count: int) -> list[Any]:
    """At most `count` of the items, evenly, with the first and the last."""
    if len(items) <= count:
        return list(items)
    return [items[round(i * (len(items) - 1) / (count - 1))] for i in range(count)]


def data_url(image: Image) -> str:
    """The picture inside its address, so that a page needs no other file."""
    file = io.BytesIO()
    small = image.width <= SMALL
    image.save(file, *(["PNG"] if small else ["WEBP"]), **({} if small else {"quality": 90}))
    kind = "png" if small else "webp"
    return f"data:image/{kind};base64,{base64.b64encode(file.getvalue()).decode()}"
