"""The embedded emoji model, its edge ControlNet, and emoji in prompts; the recipe that trained it is in `mezzotint_emoji.recipe`."""

from collections.abc import Sequence
from pathlib import Path

from mezzotint import Extension, ModelSpec, RunDefaults, hookimpl

from .names import EmojiNames

__all__ = ["COUPLES", "EDGES", "MODEL", "EmojiNames"]

MODEL = Path(__file__).parent / "model"
EDGES = Path(__file__).parent / "edges"
"""A ControlNet of the model; `python -m demos.edges` in the repository trained it."""
COUPLES = Path(__file__).parent / "couples.json"
"""Prompts of two things with the box of each, for tests of composition and of attention; see `recipe.couples`."""


@hookimpl
def models() -> list[ModelSpec]:
    """`emoji`: 64 px pictures in five drawing styles; `emoji-edges`: they follow an outline."""
    return [
        ModelSpec(
            name="emoji",
            path=MODEL,
            description="emoji of faces, people, animals, food, places and objects in five styles, on 14 colours, alone or in twos; 64 px",
            licence="Apache-2.0; art under MIT and Apache-2.0, see NOTICE",
            defaults=RunDefaults(steps=20, guidance=4.0),
            example_prompts=(
                "3d render of a ghost",
                "flat icon of a red apple",
                "cartoon emoji of a cat face",
            ),
        ),
        ModelSpec(
            name="emoji-edges",
            path=EDGES,
            description="the model emoji follows an outline: white edges on black, as the preprocessor canny draws them",
            licence="Apache-2.0; art under MIT and Apache-2.0, see NOTICE",
            kind="controlnet",
        ),
    ]


@hookimpl
def extensions() -> Sequence[type[Extension]]:
    """Emoji in prompts."""
    return [EmojiNames]
