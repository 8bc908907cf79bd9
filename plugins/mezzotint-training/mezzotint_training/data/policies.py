"""What to do about pictures and captions that are not as they should be; names alone, so that help is quick."""

from __future__ import annotations

from typing import Literal

MissingCaption = Literal["stop", "skip", "empty", "name"]
"""An error; leave the picture out; train it without a caption; take the words of its file name."""
BadImage = Literal["stop", "skip"]
"""An error that names the file; a warning that does, and the picture is left out."""
