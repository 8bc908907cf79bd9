"""Pictures that come in, as options of extensions: files, PIL images, arrays. Strangers' files are checked before
they are decoded."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

from pydantic import BeforeValidator

from .errors import RequestError
from .plugins.extension import IN_MEMORY

if TYPE_CHECKING:
    from PIL.Image import Image

    from .pipeline.run import Run
    from .plugins.extension import Extension

Given = TypeVar("Given")
MAX_PIXELS = 2**27
"""Of one picture, 134 megapixels: the photos of today's phones have 108. More is refused by the header alone."""
_ARRAY_CHANNELS = (1, 3, 4)
_WHOLE = ("MPO", "PSD")
"""Formats whose first frame is the picture: the others are the other eye or a gain map of a photo, or layers."""


def as_picture(value: Any) -> Any:
    """A file as a `Path`, a picture in memory as it is; anything else is a `ValueError`."""
    if isinstance(value, str | Path):
        return Path(value)
    kinds = {f"{kind.__module__}.{kind.__name__}" for kind in type(value).__mro__}
    if kinds & {"PIL.Image.Image", "numpy.ndarray"}:
        return value
    if isinstance(value, list | tuple):
        raise ValueError(f"give one picture, not {len(value)}")
    if isinstance(value, dict) and set(value) == {IN_MEMORY}:
        raise ValueError("the picture was handed over in memory, so the recipe does not hold it; use a file")
    raise ValueError(f"give a file, a PIL image or an array of pixels, not {type(value).__name__}")


def as_picture_for_each(value: Any) -> Any:
    """One picture as it is, several as a list."""
    return list(_as_pictures(value)) if isinstance(value, list | tuple) else as_picture(value)


def several_for_one_run(extension: Extension) -> dict[str, int]:
    """Options that hold pictures for the images of one run, with their number, where that is more than one."""
    return {
        field: len(getattr(extension, field))
        for field, info in type(extension).model_fields.items()
        if any(getattr(check, "func", None) is as_picture_for_each for check in info.metadata)
        and isinstance(getattr(extension, field), list)
        and len(getattr(extension, field)) > 1
    }


def _as_pictures(value: Any) -> tuple[Any, ...]:
    several = value if isinstance(value, list | tuple) else (value,)
    if not several:
        raise ValueError("give at least one picture, not an empty list")
    return tuple(as_picture(each) for each in several)


def _or_none(check: Callable[[Any], Any]) -> BeforeValidator:
    # Inside the validator: of a union that fails, pydantic would report both halves.
    return BeforeValidator(lambda value: None if value is None else check(value))


Picture = Annotated[Path | Any, BeforeValidator(as_picture)]
"""An option that is one picture."""
OptionalPicture = Annotated[Path | Any | None, _or_none(as_picture)]
"""A `Picture`, or none."""
PictureForEach = Annotated[Path | Any, BeforeValidator(as_picture_for_each)]
"""An option that is one picture for all images of a run, or a list with one for each."""
Pictures = Annotated[tuple[Path | Any, ...], BeforeValidator(_as_pictures)]
"""An option that is several pictures together; one is a tuple of one."""
OptionalPictures = Annotated[tuple[Path | Any, ...] | None, _or_none(_as_pictures)]
"""`Pictures`, or none."""


def open_picture(value: Any, what: str = "image", background: str = "white") -> Image:
    """One still RGB picture, upright; transparent parts show the background, greys of 16 bits keep their range.

    Args:
        value: a path, a PIL image, or an array (h, w) or (h, w, 1, 3 or 4): `uint8`, `uint16`, `bool`, or floats
            from 0 to 1.
        what: how errors call it.
        background: a colour's name. For a mask, in which white counts, it is `black`: nothing was drawn there.

    Raises:
        RequestError: no picture, broken, animated, larger than `MAX_PIXELS`, or values out of range.
    """
    from PIL import Image, ImageOps

    if isinstance(value, Path):
        what = f"{what} {value}"
        with opened(value, what) as picture:
            _refuse_several(picture, what)
            return flatten(ImageOps.exif_transpose(picture), background, what)
    if isinstance(value, Image.Image):
        _check_size(value, what)
        _refuse_several(value, what)
        try:
            value.load()
        except AssertionError:  # Pillow's, where the file of a picture not yet read is closed.
            raise RequestError(f"{what} is broken or its file is closed; open it again") from None
        except (OSError, SyntaxError, ValueError, EOFError) as error:
            raise RequestError(f"{what} is broken or its file is closed: {error}") from None
        return flatten(ImageOps.exif_transpose(value), background, what)
    return flatten(_from_array(value, what), background, what)


def one_for_each_image(pictures: Sequence[Given], run: Run, what: str) -> list[Given]:
    """What was given for the run's images, one for all, one for each prompt or one for each image, in their order.

    Returns:
        One, which is for all, or `run.n`.

    Raises:
        RequestError: another number of pictures; `what` is how it calls them.
    """
    prompts, n = len(run.request.prompts), run.n
    if len(pictures) not in (1, prompts, n):
        expected = " or ".join(str(count) for count in sorted({1, prompts, n}))
        raise RequestError(
            f"{what}: {len(pictures)} pictures for a run of {n} images; give {expected}, "
            "or make more images at once (n=, on the command line -n with --batch-size)"
        )
    return (
        [each for each in pictures for _ in range(n // len(pictures))] if len(pictures) > 1 else [*pictures]
    )


@contextmanager
def opened(path: Path, what: str) -> Iterator[Image]:
    """A picture file of which the header is read and checked; its pixels are decoded inside, when they are needed.

    Args:
        path: the file.
        what: how errors call it, with its path.

    Raises:
        RequestError: missing, no picture, more than `MAX_PIXELS`, or, also from inside, broken.
    """
    from PIL import Image, UnidentifiedImageError

    if not path.is_file():
        raise RequestError(f"{what} is {'a folder' if path.is_dir() else 'missing'}; give a picture file")
    try:
        with warnings.catch_warnings():
            # Pillow's own limit is a warning first; ours comes right after.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            picture = Image.open(path)
        with picture:
            _check_size(picture, what)
            yield picture
    except Image.DecompressionBombError as error:
        found = re.search(r"\d+", str(error))
        raise RequestError(_too_large(what, int(found[0]) if found else 0)) from None
    except UnidentifiedImageError:
        raise RequestError(f"{what} is not a picture that Pillow knows") from None
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        raise RequestError(f"{what} is broken: {error}") from None


def flatten(picture: Image, background: str | tuple[int, int, int], what: str = "image") -> Image:
    """As RGB, transparent parts laid on a colour.

    Raises:
        RequestError: values out of the range of any kind of grey picture.
    """
    from PIL import Image

    if _is_deep(picture):
        picture = _eight_bits(picture, what)
    if picture.has_transparency_data:
        # Pillow does not convert premultiplied grey to colours.
        layers = (picture.convert("LA") if picture.mode == "La" else picture).convert("RGBA")
        # Onto the background before anything is resized, or edges take colour from transparent pixels.
        picture = Image.alpha_composite(Image.new("RGBA", layers.size, background), layers)
    return picture.convert("RGB")


def _check_size(picture: Image, what: str) -> None:
    width, height = picture.size
    if not width or not height:
        raise RequestError(f"{what} is empty: {width}x{height} pixels")
    if width * height > MAX_PIXELS:
        raise RequestError(_too_large(f"{what}, {width}x{height},", width * height))


def _refuse_several(picture: Image, what: str) -> None:
    frames = 1 if picture.format in _WHOLE else getattr(picture, "n_frames", 1)
    if frames > 1:
        several = f"has {frames} pages" if picture.format == "TIFF" else f"is animated ({frames} frames)"
        raise RequestError(f"{what} {several}; give one still picture")


def _too_large(what: str, pixels: int) -> str:
    return f"{what} has {pixels:,} pixels; at most {MAX_PIXELS:,} are opened. Make it smaller first"


def _is_deep(picture: Image) -> bool:
    """Whether its mode has greys that Pillow would clip at 255."""
    return picture.mode.startswith("I") or picture.mode == "F"


def _eight_bits(picture: Image, what: str) -> Image:
    """A grey picture of 16 bits, of whole numbers or of floats (depth maps) with its range kept."""
    import numpy as np
    from PIL import Image

    pixels = np.asarray(picture, dtype=np.float64)
    if not np.isfinite(pixels).all():
        raise RequestError(f"{what} has pixels that are not finite numbers; give it without NaN and infinity")
    low, high = pixels.min(), pixels.max()
    if low < 0 or high > 65535:
        raise RequestError(
            f"{what} has grey values from {low:g} to {high:g}; expected floats from 0 to 1, or numbers up to 255 or 65535"
        )
    if ";16" in picture.mode:
        scale = 255 / 65535
    elif picture.mode == "F" and high <= 1:
        scale = 255
    else:
        # What range it was made for is nowhere in the file.
        scale = 1 if high <= 255 else 255 / 65535
    return Image.fromarray((pixels * scale).round().astype(np.uint8))


def _from_array(value: Any, what: str) -> Image:
    import numpy as np
    from PIL import Image

    pixels = np.asarray(value)
    channels = pixels.shape[2] if pixels.ndim == 3 else 1
    if pixels.ndim not in (2, 3) or channels not in _ARRAY_CHANNELS or not pixels.size:
        raise RequestError(
            f"{what} is an array of shape {pixels.shape}; expected (height, width) or (height, width, 1, 3 or 4)"
        )
    if pixels.shape[0] * pixels.shape[1] > MAX_PIXELS:
        raise RequestError(_too_large(f"{what}, an array {pixels.shape},", pixels.shape[0] * pixels.shape[1]))
    if pixels.dtype == np.uint16:
        pixels = (pixels / 257).round()
    elif pixels.dtype == np.bool_:
        pixels = pixels * 255
    elif np.issubdtype(pixels.dtype, np.floating) and pixels.min() >= 0 and pixels.max() <= 1:
        pixels = (pixels * 255).round()
    elif pixels.dtype != np.uint8:
        raise RequestError(
            f"{what} is an array of {pixels.dtype} from {pixels.min()} to {pixels.max()}; "
            "expected uint8, uint16, bool, or floats from 0 to 1"
        )
    pixels = pixels.astype(np.uint8)
    return Image.fromarray(pixels[..., 0] if channels == 1 and pixels.ndim == 3 else pixels)
