"""Heat maps as pictures."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor

_COLOURS = ((0, 0, 4), (87, 16, 110), (188, 55, 84), (249, 142, 9), (252, 255, 164))
"""matplotlib's inferno at equal distances: rising lightness, the same for colour-blind eyes and in grey."""
LEAST_SIDE = 256
"""Pixels; smaller pictures are enlarged, so that a map can be seen."""
HEAT = 0.65
"""Share of the heat map where it lies over the picture."""
CAPTION = 28
"""Pixels, height of the line below."""


def overlay(image: Image, heat: Tensor, caption: str = "") -> Image:
    """A picture in grey under a heat map: dark where the map is lowest, bright where it is highest.

    Args:
        heat: (h, w), of any size and scale; stretched to its own lowest and highest value.
        caption: written below.
    """
    from PIL import Image as Images

    # In grey, as its own colours would read as heat.
    picture = enlarged(image.convert("L").convert("RGB"))
    coloured = coloured_heat(heat).resize(picture.size, Images.Resampling.BICUBIC)
    blended = Images.blend(picture, coloured, HEAT)
    return captioned(blended, caption) if caption else blended


def coloured_heat(heat: Tensor) -> Image:
    """(h, w) in colours, one pixel a value, from its lowest to its highest value."""
    import numpy as np
    from PIL import Image as Images

    values = heat.float().cpu().numpy()
    span = values.max() - values.min()
    share = (values - values.min()) / span if span > 0 else np.zeros_like(values)
    stops = np.linspace(0, 1, len(_COLOURS))
    channels = [np.interp(share, stops, [colour[k] for colour in _COLOURS]) for k in range(3)]
    return Images.fromarray(np.stack(channels, -1).round().astype(np.uint8))


def enlarged(image: Image) -> Image:
    """A picture of at least `LEAST_SIDE` pixels, by a whole factor, pixels kept sharp."""
    from PIL import Image as Images

    factor = max(1, -(-LEAST_SIDE // min(image.size)))
    return image.resize((image.width * factor, image.height * factor), Images.Resampling.NEAREST)


def captioned(image: Image, text: str) -> Image:
    """A picture with a line of text below."""
    from PIL import Image as Images
    from PIL import ImageDraw, ImageFont

    page = Images.new("RGB", (image.width, image.height + CAPTION), "white")
    page.paste(image)
    ImageDraw.Draw(page).text(
        (image.width / 2, image.height + CAPTION / 2),
        text,
        fill="black",
        font=ImageFont.load_default(CAPTION * 0.6),
        anchor="mm",
    )
    return page
