"""Preprocessors that need no model: from a picture to a control map of the same size.

Each file has one function of a PIL image and keywords. numpy and OpenCV are imported when it is called.
"""

from mezzotint import PreprocessorSpec

from .blur import blur
from .canny import canny
from .invert import invert
from .none import none
from .scribble import scribble
from .shuffle import shuffle
from .tile import tile

PREPROCESSORS = tuple(
    PreprocessorSpec(function.__name__, function, (function.__doc__ or "").partition("\n")[0])
    for function in (blur, canny, invert, none, scribble, shuffle, tile)
)
