"""Preprocessors by name with their own options: `canny`, `canny(low=50, high=120)`.

Any plugin's preprocessor runs so, as the registry has them all; a function's keywords are its options.
"""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from mezzotint.errors import HookReturnError, MezzotintError, RequestError, suggest

if TYPE_CHECKING:
    from mezzotint import Registry
    from PIL.Image import Image

_CALL = re.compile(r"\s*(?P<name>[A-Za-z][\w.-]*)\s*(\((?P<options>.*)\))?\s*", re.DOTALL)


def parse_preprocessor(text: str) -> tuple[str, dict[str, Any]]:
    """The name and options in `canny(low=50, high=120)`.

    Raises:
        RequestError: it is not of that form.
    """
    match = _CALL.fullmatch(text)
    try:
        if match is None:
            raise ValueError
        call = ast.parse(f"f({match['options'] or ''})", mode="eval").body
        if (
            not isinstance(call, ast.Call)
            or call.args
            or any(keyword.arg is None for keyword in call.keywords)
            or len({keyword.arg for keyword in call.keywords}) < len(call.keywords)
        ):
            raise ValueError
        return match["name"], {str(each.arg): ast.literal_eval(each.value) for each in call.keywords}
    except (ValueError, SyntaxError):
        raise RequestError(
            f"preprocess {text!r} is not of the form canny or canny(low=50, high=120)"
        ) from None


def options_of(function: Callable[..., Any]) -> dict[str, Any]:
    """A preprocessor's options with their defaults, which say their types."""
    parameters = list(inspect.signature(function).parameters.values())[1:]
    return {
        parameter.name: parameter.default
        for parameter in parameters
        if parameter.kind in (parameter.KEYWORD_ONLY, parameter.POSITIONAL_OR_KEYWORD)
    }


def preprocess(registry: Registry, name: str, image: Image, options: Mapping[str, Any]) -> Image:
    """Run a preprocessor.

    Raises:
        UnknownNameError: no plugin provides it.
        RequestError: an option that it lacks, or of another type.
        HookReturnError: it returned no picture of the same size.
    """
    from PIL.Image import Image as PILImage

    provided = registry.preprocessors.provided(name)
    _check_options(name, provided.spec.function, options)
    try:
        result = provided.spec.function(image, **options)
    except MezzotintError:
        raise
    except Exception as error:
        raise RequestError(
            f"preprocessor {name}, {provided.owner}, cannot take a picture of {image.size[0]}×{image.size[1]}: "
            f"{type(error).__name__}: {error}"
        ) from error
    if not isinstance(result, PILImage) or result.size != image.size:
        got = f"{result.size}" if isinstance(result, PILImage) else type(result).__name__
        raise HookReturnError(
            f"preprocessor {name}, {provided.owner}, returned {got}; expected a picture of size {image.size}"
        )
    return result.convert("RGB")


def _check_options(name: str, function: Callable[..., Any], options: Mapping[str, Any]) -> None:
    known = options_of(function)
    for option, value in options.items():
        if option not in known:
            raise RequestError(f"preprocessor {name} has no option {option!r}; {suggest(option, known)}")
        expected = type(known[option])
        fits = isinstance(value, (int, float) if expected is float else expected)
        if expected in (int, float, bool, str) and (
            not fits or isinstance(value, bool) != (expected is bool)
        ):
            raise RequestError(
                f"preprocessor {name}: option {option!r} takes {expected.__name__}, got {value!r}"
            )
