"""Start from a picture: image-to-image and inpainting."""

from collections.abc import Sequence

from mezzotint import Extension, hookimpl

from .image_to_image import ImageToImage
from .inpaint import Inpaint

__all__ = ["ImageToImage", "Inpaint"]


@hookimpl
def extensions() -> Sequence[type[Extension]]:
    """Both."""
    return [ImageToImage, Inpaint]
