"""Extensions: frozen data that a person switches on for a run, with hook methods that act on it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ..errors import PluginError, RequestError, option_errors
from ..hashing import hash_options
from ..hooks.markers import is_hookimpl
from ..hooks.prompt_marks import PromptMark
from ..hooks.signatures import check_implementations
from ..hookspecs import Providers, RunHooks

__all__ = ["Extension", "Field"]

_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")


class Extension(BaseModel):
    """Base of all extensions; the class keyword `name` is what people type.

    Fields are the options: from their one declaration come the Python call, the command-line option, the
    validation message, the documentation and the recipe entry. Methods marked with `hookimpl` act at the
    hook point of their name. State of a run does not live here, as one extension may serve many runs:
    `run.state(self, …)` keeps it, and `run.pipe.resource(…)` keeps what is costly to load.

        class Brighten(Extension, name="brighten"):
            '''Add a constant to the final latents.'''
            by: float = Field(0.1, description="how much")

            @hookimpl
            def latents(self, latents, run):
                return latents + self.by

    Class keywords:
        name: lower-case words joined by dashes; required unless the class is an abstract base.
        conflicts: names of extensions that must not be used in the same run; its own name: once in a run.

    Raises:
        PluginError: a hook method has no such hook point, or an argument that the hook point lacks.
    """

    model_config = ConfigDict(
        defer_build=True, frozen=True, extra="forbid", arbitrary_types_allowed=True, allow_inf_nan=False
    )

    extension_name: ClassVar[str] = ""
    conflicts: ClassVar[tuple[str, ...]] = ()
    reads: ClassVar[tuple[PromptMark, ...]] = ()
    """Signs in prompts that are more than words to it. A run without it says that they are plain words there."""

    def __init__(self, *args: Any, **options: Any) -> None:
        """Options by name, or by position in the order of their declaration.

        Raises:
            RequestError: an option is unknown, missing or out of range.
        """
        fields = list(type(self).model_fields)
        if len(args) > len(fields):
            raise RequestError(
                f"{self.extension_name} takes {len(fields)} options ({', '.join(fields)}), not {len(args)}"
            )
        for field, value in zip(fields, args, strict=False):
            if field in options:
                raise RequestError(f"{self.extension_name}: option {field!r} was given twice")
            options[field] = value
        try:
            super().__init__(**options)
        except ValidationError as error:
            raise RequestError(option_errors(self.extension_name, fields, error)) from None

    def __init_subclass__(cls, name: str = "", conflicts: tuple[str, ...] | str = (), **config: Any) -> None:
        super().__init_subclass__(**config)
        # Its own name or none: two classes must not answer to one.
        cls.extension_name = name
        if name and not _NAME.fullmatch(name):
            raise PluginError(
                f"extension name {name!r} of {cls.__qualname__}: use lower-case words joined by dashes"
            )
        if conflicts:
            cls.conflicts = (conflicts,) if isinstance(conflicts, str) else tuple(conflicts)

    @classmethod
    def __pydantic_init_subclass__(cls, **keywords: Any) -> None:
        check_implementations(cls, f"extension {cls.extension_name or cls.__qualname__}", RunHooks, Providers)

    @classmethod
    def hook_names(cls) -> Iterator[str]:
        """The hook points that this class acts at."""
        return (name for name in dir(cls) if name in vars(RunHooks) and is_hookimpl(getattr(cls, name, None)))

    @classmethod
    def summary(cls) -> str:
        """First line of the docstring."""
        return (cls.__doc__ or "").strip().partition("\n")[0]

    def options(self) -> dict[str, Any]:
        """Options as plain data (JSON types); an object that has none is named by its type."""
        return self.model_dump(mode="json", fallback=_in_memory)

    def files(self) -> dict[str, str]:
        """SHA-256 of each option that is a file, a model's folder or several files, for the recipe."""
        return hash_options(dict(self))

    def __str__(self) -> str:
        chosen = ", ".join(
            f"{field}={value!r}" if not isinstance(value, Path) else f"{field}={str(value)!r}"
            for field, value in self
            if field in self.model_fields_set
        )
        return f"{self.extension_name}({chosen})"


IN_MEMORY = "in memory"


def _in_memory(value: object) -> dict[str, str]:
    """What a recipe keeps of an image or tensor that was handed over as an object."""
    return {IN_MEMORY: f"{type(value).__module__}.{type(value).__qualname__}"}
