"""What is known of a picture before it is opened."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Captioning:
    """How a picture's caption is varied each time that it comes; see `captions.vary`."""

    shuffle: bool = False
    keep_tokens: int = 0
    """Parts at the front that stay where they are and are never dropped."""
    separator: str = ","
    dropout: float = 0.0
    """Chance of the empty caption."""
    tag_dropout: float = 0.0
    """Chance of leaving out a part."""
    prefix: str = ""
    suffix: str = ""


@dataclass(frozen=True)
class Item:
    """A picture of a training set."""

    path: Path
    captions: tuple[str, ...] = ()
    """One of them is drawn each time; none where the picture has no caption."""
    captioning: Captioning = field(default_factory=Captioning)
    repeats: int = 1
    """How often it comes in an epoch."""
    is_prior: bool = False
    """Whether it shows the class, for prior preservation (Ruiz et al. 2023), and not what is to be learned."""
    mask: Path | None = None
    """White where the loss counts."""
    conditioning: Path | None = None
    """Control map of the same picture, for ControlNet."""
    flip: bool = False
    """Whether it is mirrored half of the times."""
    random_crop: bool = False
    alpha_mask: bool = False
    """Whether its transparency is its mask."""
    resolution: tuple[int, int] | None = None
    """(width, height) where its subset has one of its own."""
    size: tuple[int, int] = (0, 0)
    """(width, height) of the file as it is seen, with EXIF's rotation; filled in by `probe`."""
