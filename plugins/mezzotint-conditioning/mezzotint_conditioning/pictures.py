"""Pictures as options: a file or one in memory. Files are from strangers, so size and frames are checked first."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from mezzotint.errors import RequestError
from pydantic import BeforeValidator

if TYPE_CHECKING:
    from PIL.Image import Image

MAX_PIXELS = 2**26
"""Of one picture, as of a run's own images; more is refused by the header alone."""


def _as_picture(value: Any) -> Any:
    if isinstance(value, str | Path):
        return Path(value)
    if any(f"{kind.__module__}.{kind.__name__}" == "PIL.Image.Image" for kind in type(value).__mro__):
        return value
    if isinstance(value, dict):
        raise ValueError("the picture was handed over in memory, so the recipe does not hold it; use a file")
    raise ValueError(f"give a picture file or a PIL image, not {type(value).__name__}")


def _as_pictures(value: Any) -> Any:
    return tuple(_as_picture(each) for each in (value if isinstance(value, list | tuple) else (value,)))


Picture = Annotated[Path | Any, BeforeValidator(_as_picture)]
"""An option that is a picture."""
Pictures = Annotated[tuple[Path | Any, ...], BeforeValidator(_as_pictures)]
"""An option that is one picture or several."""


def open_picture(value: Any, what: str) -> Image:
    """One still RGB picture, upright; what is transparent is white, greys of 16 bits or floats keep their range.

    Args:
        value: a path or a PIL image.
        what: how errors call it.

    Raises:
        RequestError: it is missing, broken, empty, animated or larger than `MAX_PIXELS`.
    """
    from PIL import Image, ImageOps

    if isinstance(value, Path):
        picture = _read(value, f"{what} {value}")
    else:
        picture = value
        _check(picture, what)
    picture = ImageOps.exif_transpose(picture)
    if picture.mode.startswith("I") or picture.mode == "F":
        picture = _eight_bits(picture)
    if "A" in picture.getbands() or "transparency" in picture.info:
        rgba = picture.convert("RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba)
    return picture.convert("RGB")


def _read(path: Path, what: str) -> Image:
    from PIL import Image, UnidentifiedImageError

    if not path.is_file():
        raise RequestError(f"{what} is {'a folder' if path.is_dir() else 'missing'}; give a picture file")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            picture = Image.open(path)
            _check(picture, what)
            picture.load()
    except Image.DecompressionBombError:
        raise RequestError(f"{what} has too many pixels; at most {MAX_PIXELS:,} are opened") from None
    except UnidentifiedImageError:
        raise RequestError(f"{what} is not a picture that Pillow knows") from None
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        raise RequestError(f"{what} is broken: {error}") from None
    return picture


def _check(picture: Image, what: str) -> None:
    """Size and frames, from the header."""
    width, height = picture.size
    if not width or not height:
        raise RequestError(f"{what} is empty: {width}x{height} pixels")
    if width * height > MAX_PIXELS:
        raise RequestError(f"{what} has {width}x{height} pixels; at most {MAX_PIXELS:,} are opened")
    if getattr(picture, "n_frames", 1) > 1:
        raise RequestError(f"{what} is animated; give one still picture")


def _eight_bits(picture: Image) -> Image:
    """A grey picture of more bits, or of floats from 0 to 1 or to 255, which Pillow would clip."""
    import numpy as np
    from PIL import Image

    pixels = np.asarray(picture, dtype=np.float64)
    most = pixels.max()
    if picture.mode == "F":
        scale = 255 if most <= 1 else 1
    else:
        scale = 255 / 65535 if ";16" in picture.mode or most > 255 else 1
    return Image.fromarray((pixels * scale).round().clip(0, 255).astype(np.uint8))
