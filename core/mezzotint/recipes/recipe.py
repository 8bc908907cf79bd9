"""Recipes: everything that is needed to make the same image again, as plain data.

    {"format": 1, "mezzotint": "0.1.0", "prompt": […], "negative": […], "steps": 20, "guidance": 5.0,
     "seed": 7, "n": 1, "size": [64, 64], "index": 0, "dtype": "float32", "device": "cpu",
     "scheduler": {"name": "dpmpp-2m", "spacing": "karras", "class": "…", "plugin": {…}},
     "model": {"name": "emoji", "fingerprint": "…", "plugin": {…}},
     "extensions": [{"name": "lora", "options": {…}, "files": {…}, "plugin": {…}}],
     "versions": {"torch": "…", "diffusers": "…"}}

`plugin` is `{"name", "distribution", "version"}`; `distribution` is null for local files and objects.
A `Recipe` is that data read and checked: files come from strangers.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from ..errors import ReplayError

FORMAT = 1
MAX_IMAGES = 4096
MAX_EDGE = 16_384
MAX_STEPS = 100_000
"""More is no recipe of ours, but a file that wants to keep the machine busy."""
MAX_PIXELS = 2**26
"""Of all images together (8192 x 8192)."""

# Names are printed, distributions become a pip command in an error: nothing in them may surprise a terminal.
Name = Annotated[str, StringConstraints(min_length=1, max_length=1000, pattern=r"^[^\x00-\x1f\x7f-\x9f]+$")]
Distribution = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")]
Version = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._+!-]{0,99}$")]
Edge = Annotated[int, Field(gt=0, le=MAX_EDGE)]


class _Plain(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True, allow_inf_nan=False)


class PluginEntry(_Plain):
    """Who provided a part."""

    name: Name
    distribution: Distribution | None
    version: Version | None


class SchedulerEntry(_Plain):
    """`name` is null for the model's own; `config` is there for a scheduler that was handed over as an object."""

    name: Name | None
    spacing: Name | None = None
    class_: Name = Field(alias="class")
    plugin: PluginEntry | None = None
    spacing_plugin: PluginEntry | None = None
    config: dict[str, Any] | None = None


class ModelEntry(_Plain):
    """`fingerprint` is empty for a model that was made in memory."""

    name: Name
    fingerprint: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]*$")]
    plugin: PluginEntry | None = None


class ExtensionEntry(_Plain):
    """One extension in use; `files` has the SHA-256 of each option that is a file."""

    name: Name
    options: dict[str, Any]
    files: dict[str, str] = {}
    plugin: PluginEntry | None = None


class Recipe(_Plain):
    """The recipe of one image. `Recipe.read` is how to get one."""

    format: Literal[1]
    mezzotint: str | None = None
    prompt: Annotated[list[str], Field(min_length=1)]
    negative: list[str]
    steps: Annotated[int, Field(gt=0, le=MAX_STEPS)]
    guidance: float
    seed: Annotated[int, Field(ge=0)]
    n: Annotated[int, Field(gt=0)]
    size: Annotated[list[Edge], Field(min_length=2, max_length=2)]
    index: Annotated[int, Field(ge=0)] = 0
    dtype: Name
    device: Literal["cpu", "cuda", "mps"]
    scheduler: SchedulerEntry
    model: ModelEntry
    extensions: list[ExtensionEntry]
    versions: dict[str, str] = {}

    @classmethod
    def read(cls, plain: Mapping[str, Any]) -> Recipe:
        """Check plain data before anything is opened that it names.

        Raises:
            ReplayError: another format, a part of another type, or amounts that no recipe of ours has.
        """
        if plain.get("format") != FORMAT:
            raise ReplayError(
                f"the recipe has format {str(plain.get('format'))[:80]}; this mezzotint reads format {FORMAT}"
            )
        try:
            recipe = cls.model_validate(dict(plain))
        except ValidationError as error:
            raise ReplayError(f"the recipe is damaged: {_first_of(error)}") from None
        recipe._check_amount()
        return recipe

    @property
    def image_count(self) -> int:
        """Images of the run it comes from."""
        return len(self.prompt) * self.n

    def _check_amount(self) -> None:
        count, (width, height) = self.image_count, self.size
        if count > MAX_IMAGES or width * height * count > MAX_PIXELS:
            raise ReplayError(
                f"the recipe asks for {count:,} images of {width}x{height} pixels; that is refused"
            )
        if self.index >= count:
            raise ReplayError(f"the recipe is damaged: image {self.index} of {count}")


def _first_of(error: ValidationError) -> str:
    problem = error.errors(include_url=False)[0]
    where = ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "missing":
        return f"{where} is absent"
    return f"{where} is {str(problem['input'])[:80]!r}: {problem['msg'][:1].lower()}{problem['msg'][1:]}"
