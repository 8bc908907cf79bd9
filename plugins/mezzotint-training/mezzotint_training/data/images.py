"""Pictures as files: their size without decoding, and their pixels, whatever mode they are stored in."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from mezzotint.errors import RequestError
from mezzotint.pictures import MAX_PIXELS, flatten, opened
from PIL import Image, ImageOps
from torch import Tensor

from ..errors import DataError
from .buckets import Placement
from .item import Item

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".avif", ".jxl")
_ROTATED = (5, 6, 7, 8)
_ORIENTATION = 0x0112


@dataclass(frozen=True)
class View:
    """A picture as it goes into the VAE: resized, cut and perhaps mirrored.

    `left` and `top` say where it is cut, in pixels of the resized picture.
    """

    item: Item
    placement: Placement
    left: int = 0
    top: int = 0
    mirrored: bool = False


def centred(item: Item, placement: Placement, *, mirrored: bool = False) -> View:
    """The view that is cut from the middle."""
    (width, height), (wide, high) = placement.bucket, placement.resized
    return View(item, placement, (wide - width) // 2, (high - height) // 2, mirrored)


def probe(item: Item) -> Item:
    """The item with its size, from the file's header alone.

    Raises:
        DataError: it is no picture, or has more than `mezzotint.pictures.MAX_PIXELS`.
    """
    with _opened(item.path) as image:
        width, height = image.size
        if _orientation(image) in _ROTATED:
            width, height = height, width
    return replace(item, size=(width, height))


def may_be_transparent(item: Item) -> bool:
    """Whether the file's header gives it transparency, though it may be used nowhere.

    Raises:
        DataError: it is no picture.
    """
    with _opened(item.path) as image:
        return image.has_transparency_data


def check_decodes(item: Item) -> None:
    """Decode a picture and its mask and throw them away.

    Raises:
        DataError: one is truncated, damaged or no picture.
    """
    check_picture(item.path)
    if item.mask is not None:
        check_picture(item.mask)


def check_picture(path: Path) -> None:
    """As `check_decodes`, of any picture, such as a control map."""
    with _opened(path) as image:
        flatten(_upright(image), "white", str(path))


def check_resized(item: Item, placement: Placement) -> None:
    """Refuse a picture so narrow that it would be resized to more than `mezzotint.pictures.MAX_PIXELS` to fill its bucket.

    Raises:
        DataError: it is.
    """
    width, height = placement.resized
    if width * height > MAX_PIXELS:
        raise DataError(
            f"{item.path} is {'x'.join(map(str, item.size))} pixels, too narrow: to fill {placement.bucket[0]}x"
            f"{placement.bucket[1]}, it would be resized to {width}x{height}, more than {MAX_PIXELS:,} pixels"
        )


def load_view(view: View, background: tuple[int, int, int]) -> Tensor:
    """Pixels (3, height, width) in [-1, 1]; what is transparent shows the background.

    Raises:
        DataError: the file cannot be read, or the picture is too narrow for its bucket.
    """
    check_resized(view.item, view.placement)
    with _opened(view.item.path) as image:
        seen = flatten(_upright(image), background, str(view.item.path))
    return _cut(seen, view) * 2 - 1


def load_mask(view: View) -> Tensor | None:
    """Weights (1, height, width) in [0, 1] from the item's mask or transparency; `None` where it has none.

    Raises:
        DataError: the file cannot be read.
    """
    if view.item.mask is not None:
        with _opened(view.item.mask) as image:
            # What is transparent in a mask was not drawn.
            mask = flatten(_upright(image), "black", str(view.item.mask)).convert("L")
    elif view.item.alpha_mask:
        with _opened(view.item.path) as image:
            upright = _upright(image)
            if not upright.has_transparency_data:
                return None
            mask = upright.convert("RGBA").getchannel("A")
    else:
        return None
    return _cut(mask, view)


def load_conditioning(view: View, background: tuple[int, int, int] = (255, 255, 255)) -> Tensor:
    """The control map (3, height, width) in [0, 1], cut as the picture is; on white, as ControlNet's own code reads it.

    Raises:
        DataError: there is none, or the file cannot be read.
    """
    if view.item.conditioning is None:
        raise DataError(f"{view.item.path} has no control map")
    with _opened(view.item.conditioning) as image:
        seen = flatten(_upright(image), background, str(view.item.conditioning))
    return _cut(seen, view)


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    try:
        with opened(path, str(path)) as image:
            yield image
    except RequestError as error:
        raise DataError(str(error)) from None


def _orientation(image: Image.Image) -> int:
    """EXIF's, of a file of which only the header is read."""
    # A PNG may have EXIF after its pixels, which Pillow would decode to look for it.
    if image.format == "PNG" and "exif" not in image.info:
        return 1
    return int(image.getexif().get(_ORIENTATION, 1))


def _upright(image: Image.Image) -> Image.Image:
    return image if _orientation(image) == 1 else ImageOps.exif_transpose(image)


def _cut(image: Image.Image, view: View) -> Tensor:
    width, height = view.placement.bucket
    # Maps and masks may be stored at another size than their picture.
    resized = image.resize(view.placement.resized, _filter(image.size, view.placement.resized))
    cut = resized.crop((view.left, view.top, view.left + width, view.top + height))
    if view.mirrored:
        cut = ImageOps.mirror(cut)
    pixels = torch.from_numpy(np.array(cut, dtype=np.float32) / 255)
    return pixels[None] if pixels.ndim == 2 else pixels.permute(2, 0, 1).contiguous()


def _filter(size: tuple[int, int], target: tuple[int, int]) -> Image.Resampling:
    return Image.Resampling.LANCZOS if size[0] > target[0] else Image.Resampling.BICUBIC
