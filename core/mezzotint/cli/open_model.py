"""A pipeline for a command: the registry is there already, and the libraries keep quiet."""

from __future__ import annotations

import logging
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..errors import UnknownNameError
from ..models import loading
from ..plugins.registry import Registry

if TYPE_CHECKING:
    from ..pipeline.pipeline import Pipeline

LIBRARIES = ("diffusers", "transformers", "torch", "huggingface_hub")


def check_model(registry: Registry, model: str) -> None:
    """Say at once that there is no such model, before torch is imported.

    Raises:
        ModelError, UnknownNameError: as `mezzotint.load`.
    """
    if not registry.models and not Path(model).exists():
        raise UnknownNameError(
            f"no model named {model!r}: no plugin here brings one. Install one (pip install mezzotint-emoji), "
            "or give a diffusers folder: --model FOLDER."
        )
    loading.locate(model, registry)


def open_model(model: str, registry: Registry, *, device: str, dtype: str) -> Pipeline:
    """As `mezzotint.load`, for a registry that is loaded.

    Raises:
        ModelError, UnknownNameError, RequestError: as `mezzotint.load`.
    """
    quiet_libraries()
    return loading.open_model(model, registry, device=device, dtype=dtype)


def quiet_libraries() -> None:
    """Leave out progress bars and warnings of libraries that say nothing to the person who makes an image."""
    for library in LIBRARIES:
        warnings.filterwarnings("ignore", module=rf"{library}(\.|$)")
    import diffusers.utils.logging
    import transformers.utils.logging

    diffusers.utils.logging.disable_progress_bar()
    diffusers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    transformers.utils.logging.set_verbosity_error()


def show_warnings(*, notes: bool = False) -> None:
    """Print mezzotint's own warnings (a prompt cut off, for example) as sentences on stderr.

    Args:
        notes: also what is logged as information, such as what an extension chose.
    """
    logger = logging.getLogger("mezzotint")
    logger.setLevel(logging.INFO if notes else logging.NOTSET)
    for handler in logger.handlers:
        if isinstance(handler, _Sentences):
            logger.removeHandler(handler)
    logger.addHandler(_Sentences(logging.INFO if notes else logging.WARNING))


class _Sentences(logging.Handler):
    """Says each thing once: every image of a prompt has the same to say."""

    def __init__(self, level: int) -> None:
        super().__init__(level)
        self._said: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        kind = "" if record.levelno <= logging.INFO else f"{record.levelname.lower()}: "
        sentence = f"{kind}{record.getMessage()}"
        if sentence not in self._said:
            self._said.add(sentence)
            click.echo(sentence, err=True)
