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
    """One still RGB picture, upright; what is transparent is white.

    Args:
        value: a path or a PIL image.
        what: how errors call it.

    Raises:
        RequestError: it is missing, broken, animated or larger than `MAX_PIXELS`.
    """
    from PIL import Image, ImageOps

    picture = ImageOps.exif_transpose(_read(value, what) if isinstance(value, Path) else value)
    if "A" in picture.getbands() or "transparency" in picture.info:
        rgba = picture.convert("RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba)
    return picture.convert("RGB")


def _read(path: Path, what: str) -> Image:
    from PIL import Image, UnidentifiedImageError

    what = f"{what} {path}"
    if not path.is_file():
        raise RequestError(f"{what} is {'a folder' if path.is_dir() else 'missing'}; give a picture file")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            picture = Image.open(path)
            width, height = picture.size
            if width * height > MAX_PIXELS:
                raise RequestError(f"{what} has {width}x{height} pixels; at most {MAX_PIXELS:,} are opened")
            if getattr(picture, "n_frames", 1) > 1:
                raise RequestError(f"{what} is animated; give one still picture")
            picture.load()
    except Image.DecompressionBombError:
        raise RequestError(f"{what} has too many pixels; at most {MAX_PIXELS:,} are opened") from None
    except UnidentifiedImageError:
        raise RequestError(f"{what} is not a picture that Pillow knows") from None
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        raise RequestError(f"{what} is broken: {error}") from None
    return picture
