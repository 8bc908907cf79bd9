"""The ControlNet that comes with the emoji model, by name."""

import mezzotint
import numpy as np
from mezzotint_controlnet import ControlNet
from PIL import Image, ImageDraw


def test_the_edge_controlnet_draws_where_the_outline_is():
    """A circle to the left: most of what is not white is there."""
    outline = Image.new("RGB", (64, 64))
    ImageDraw.Draw(outline).ellipse((4, 8, 34, 38), outline="white")
    pipe = mezzotint.load("emoji")

    def share_to_the_left(**use) -> float:
        drawn = pipe("flat icon of orange circle", steps=8, seed=3, **use).images[0].convert("L")
        ink = 255 - np.asarray(drawn, float)
        return ink[:, :32].sum() / ink.sum()

    assert share_to_the_left(use=[ControlNet("emoji-edges", outline)]) > 0.7
    assert share_to_the_left() < 0.6
