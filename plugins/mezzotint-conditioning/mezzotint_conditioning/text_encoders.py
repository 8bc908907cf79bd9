"""Text encoders from a folder of their own, in place of the model's."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mezzotint.errors import ModelError

if TYPE_CHECKING:
    from mezzotint import Pipeline

    from .clip import CLIP
    from .t5 import T5


@dataclass(frozen=True, eq=False)
class TextEncoder:
    """A text encoder and its tokenizer."""

    model: Any
    tokenizer: Any


def text_encoder_of(pipe: Pipeline, extension: CLIP | T5, kind: str) -> TextEncoder:
    """The model's own encoder, or the one that an extension names, opened once for a pipeline.

    Args:
        extension: its `encoder` is a folder with `text_encoder/` and `tokenizer/`, or with the files of both.
        kind: `CLIP` or `T5`.

    Raises:
        ModelError: the model's own is of another kind, or what is in the folder.
    """
    folder = extension.encoder
    if folder is None:
        own = type(pipe.text_encoder).__name__
        if not own.startswith(kind):
            raise ModelError(
                f"this model's text encoder is {own}; say where a {kind} encoder is with encoder= (--{kind.lower()}-encoder)"
            )
        return TextEncoder(pipe.text_encoder, pipe.tokenizer)
    key = ("text encoder", kind, extension.files().get("encoder"), str(folder))
    return pipe.resource(key, lambda: _open(folder, kind, pipe))


def _open(folder: Path, kind: str, pipe: Pipeline) -> TextEncoder:
    import transformers

    from .pretrained import open_pretrained

    inside = (folder / "text_encoder").is_dir()
    cls = transformers.CLIPTextModel if kind == "CLIP" else transformers.T5EncoderModel
    tokenizer_cls: Any = transformers.CLIPTokenizer if kind == "CLIP" else transformers.T5Tokenizer
    model = open_pretrained(
        folder / "text_encoder" if inside else folder, cls, "the text encoder", pipe.dtype
    )
    words = folder / "tokenizer" if inside else folder
    try:
        tokenizer = tokenizer_cls.from_pretrained(str(words), local_files_only=True)
    except Exception as error:
        raise ModelError(f"{words} cannot be opened as {tokenizer_cls.__name__}: {error}") from error
    return TextEncoder(model.to(pipe.device), tokenizer)
