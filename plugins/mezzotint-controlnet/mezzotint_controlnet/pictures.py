"""Control pictures as they come in: files, PIL images, arrays. Strangers' files are checked before they are decoded."""

from __future__ import annotations

import re
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from mezzotint.errors import RequestError
from pydantic import BeforeValidator

if TYPE_CHECKING:
    from PIL.Image import Image

MAX_PIXELS = 2**26
"""Of one picture, as of a run's own images; more is refused by the header alone."""
_ARRAY_CHANNELS = (1, 3, 4)


def as_picture(value: Any) -> Any:
    """A file as a `Path`, a picture in memory as it is, and lists of them; anything else is a `ValueError`."""
    if isinstance(value, str | Path):
        return Path(value)
    if isinstance(value, list | tuple):
        if not value:
            raise ValueError("give at least one picture, not an empty list")
        return [as_picture(each) for each in value]
    kinds = {f"{kind.__module__}.{kind.__name__}" for kind in type(value).__mro__}
    if kinds & {"PIL.Image.Image", "numpy.ndarray"}:
        return value
    if value == {"in memory": "PIL.Image.Image"} or value == {"in memory": "numpy.ndarray"}:
        raise ValueError("the picture was handed over in memory, so the recipe does not hold it; use a file")
    raise ValueError(f"give a file, a PIL image or an array of pixels, not {type(value).__name__}")


Picture = Annotated[Path | Any, BeforeValidator(as_picture)]
"""An option that is a picture: a file, or one in memory; or several, one for each image of the run."""

OptionalPicture = Annotated[
    Path | Any | None, BeforeValidator(lambda value: None if value is None else as_picture(value))
]
"""A `Picture`, or none."""


def open_picture(value: Any, what: str = "image") -> Image:
    """One still RGB picture, upright; transparent parts are white, 16-bit greys keep their range.

    Args:
        value: a path, a PIL image, or an array (h, w) or (h, w, 1, 3 or 4), `uint8` or floats from 0 to 1.
        what: how errors call it.

    Raises:
        RequestError: no picture, broken, animated, or larger than `MAX_PIXELS`.
    """
    from PIL import Image, ImageOps

    if isinstance(value, Path):
        return _to_rgb(ImageOps.exif_transpose(_open_file(value, what)), f"{what} {value}")
    if isinstance(value, Image.Image):
        try:
            _check(value, what)
            value.load()
        except AssertionError:  # Pillow's, where the file of a picture not yet read is closed.
            raise RequestError(f"{what} is broken or its file is closed; open it again") from None
        except (OSError, SyntaxError, ValueError, EOFError) as error:
            raise RequestError(f"{what} is broken or its file is closed: {error}") from None
        return _to_rgb(ImageOps.exif_transpose(value), what)
    return _to_rgb(_from_array(value, what), what)


def _open_file(path: Path, what: str) -> Image:
    from PIL import Image, UnidentifiedImageError

    if not path.is_file():
        raise RequestError(
            f"{what} {path} is {'a folder' if path.is_dir() else 'missing'}; give a picture file"
        )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            picture = Image.open(path)
        _check(picture, f"{what} {path}")
        picture.load()
    except Image.DecompressionBombError as error:
        found = re.search(r"\d+", str(error))
        raise RequestError(_too_large(f"{what} {path}", int(found[0]) if found else 0)) from None
    except UnidentifiedImageError:
        raise RequestError(f"{what} {path} is not a picture that Pillow knows") from None
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        raise RequestError(f"{what} {path} is broken: {error}") from None
    return picture


def _check(picture: Image, what: str) -> None:
    """Size and frames, from the header."""
    width, height = picture.size
    if not width or not height:
        raise RequestError(f"{what} is empty: {width}x{height} pixels")
    if width * height > MAX_PIXELS:
        raise RequestError(_too_large(f"{what}, {width}x{height},", width * height))
    # The further frames of a phone's photo (MPO) are the other eye or a gain map, not later moments.
    frames = 1 if picture.format == "MPO" else getattr(picture, "n_frames", 1)
    if frames > 1:
        raise RequestError(f"{what} is animated ({frames} frames); give one still picture")


def _too_large(what: str, pixels: int) -> str:
    return f"{what} has {pixels:,} pixels; at most {MAX_PIXELS:,} are opened. Make it smaller first"


def _to_rgb(picture: Image, what: str) -> Image:
    from PIL import Image

    if picture.mode.startswith("I") or picture.mode == "F":
        picture = _eight_bits(picture, what)
    if picture.mode == "La":
        picture = picture.convert("LA")
    if picture.mode in ("RGBA", "LA", "PA", "RGBa") or "transparency" in picture.info:
        rgba = picture.convert("RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba)
    return picture.convert("RGB")


def _eight_bits(picture: Image, what: str) -> Image:
    """A 16-bit or floating-point grey picture (depth maps), with Pillow's clipping avoided."""
    import numpy as np
    from PIL import Image

    pixels = np.asarray(picture, dtype=np.float64)
    if not np.isfinite(pixels).all():
        raise RequestError(f"{what} has pixels that are not finite numbers; give it without NaN and infinity")
    scale = 255 if picture.mode == "F" and pixels.max() <= 1 else 1 if pixels.max() <= 255 else 255 / 65535
    return Image.fromarray((pixels * scale).round().clip(0, 255).astype(np.uint8))


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
    if pixels.dtype != np.uint8:
        if not np.issubdtype(pixels.dtype, np.floating) or not (pixels.min() >= 0 and pixels.max() <= 1):
            raise RequestError(
                f"{what} is an array of {pixels.dtype} from {pixels.min()} to {pixels.max()}; "
                "expected uint8, or floats from 0 to 1"
            )
        pixels = (pixels * 255).round().astype(np.uint8)
    return Image.fromarray(pixels[..., 0] if channels == 1 and pixels.ndim == 3 else pixels)
