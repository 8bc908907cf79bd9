"""Text encoders from a folder of their own, in place of the model's."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from mezzotint.errors import ModelError
from mezzotint.models.components import TextEncoder

if TYPE_CHECKING:
    from mezzotint import Pipeline

    from .clip import CLIP
    from .t5 import T5


def text_encoders_of(pipe: Pipeline, extension: CLIP | T5, kind: str) -> list[TextEncoder]:
    """The model's own encoders, or the one that an extension names, opened once for a pipeline.

    Args:
        extension: its `encoder` is a folder with `text_encoder/` and `tokenizer/`, or with the files of both.
        kind: `CLIP` or `T5`.

    Raises:
        ModelError: the model's own is of another kind, or what is in the folder; or the model has several.
    """
    folder = extension.encoder
    own = type(pipe.text_encoder).__name__
    if folder is None:
        if not own.startswith(kind):
            raise ModelError(
                f"this model's text encoder is {own}; say where a {kind} encoder is with encoder= (--{kind.lower()}-encoder)"
            )
        return list(pipe.text_encoders.values())
    if len(pipe.text_encoders) > 1:
        raise ModelError(
            f"{extension.extension_name}: encoder= is one text encoder in place of the model's, and this model reads "
            f"{' and '.join(pipe.text_encoders)} together; leave it out"
        )
    key = ("text encoder", kind, extension.files().get("encoder"), str(folder))
    return [pipe.resource(key, lambda: _open(folder, kind, pipe))]


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
