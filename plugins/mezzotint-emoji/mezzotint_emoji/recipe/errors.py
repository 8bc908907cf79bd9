"""What a person can mend."""

from pathlib import Path

from mezzotint import MezzotintError


class RecipeError(MezzotintError):
    """A stage cannot run; the message says what to do."""


class SourceMismatch(RecipeError):
    """An archive is not the one that the recipe was written for."""


def need(path: Path, stage: str) -> Path:
    """`path`, if it is there; else a RecipeError that names the stage which writes it."""
    if not path.exists():
        raise RecipeError(
            f"{path} is missing; run `python -m mezzotint_emoji.recipe {stage}` with the same --work first"
        )
    return path
