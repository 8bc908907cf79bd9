"""Models with the weights of a single file, and the tokenizers that such a file lacks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import ModelError

if TYPE_CHECKING:
    import torch
    from torch import Tensor

TOKENIZER = "openai/clip-vit-large-patch14"
"""Of every Stable Diffusion 1.x and XL; from the Hugging Face cache or hub where no folder lies beside the file."""

UNLIMITED = 2**31
"""transformers' length of a tokenizer whose files name none is far above it."""


def filled(make: Callable[[], Any], state: Mapping[str, Tensor], path: Path, dtype: torch.dtype) -> Any:
    """A model with these weights, not initialised first.

    Raises:
        ModelError: a tensor is missing, unknown or of another shape.
    """
    from accelerate import init_empty_weights

    with init_empty_weights(include_buffers=False):
        model = make()
    expected = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    kind = type(model).__name__
    prefix = "" if any(name.startswith("text_model.") for name in expected) else "text_model."
    given = {name.removeprefix(prefix): tensor for name, tensor in state.items()}
    for name, shape in expected.items():
        if name not in given:
            raise ModelError(f"{path} lacks {name} of {kind}")
        if tuple(given[name].shape) != shape:
            raise ModelError(
                f"{path}: {name} of {kind} has shape {tuple(given[name].shape)}, expected {shape}"
            )
    unknown = [name for name in given if name not in expected and not name.endswith("position_ids")]
    if unknown:
        raise ModelError(f"{path} has {unknown[0]}, which {kind} of these sizes does not know")
    model.load_state_dict(
        {name: given[name].to(dtype).contiguous() for name in expected}, strict=True, assign=True
    )
    return model.requires_grad_(True).eval()


def open_tokenizer(path: Path, vocabulary: int, positions: int, **options: Any) -> Any:
    """CLIP's tokenizer, from the folder `tokenizer` beside a file or from the hub.

    Args:
        vocabulary: tokens that it must have.
        positions: of the text encoder; the length of texts, where the tokenizer's files name none.
        options: of `CLIPTokenizer`.

    Raises:
        ModelError: neither place has it, or it has other tokens.
    """
    from transformers import CLIPTokenizer

    beside = path.parent / "tokenizer"
    source = str(beside) if beside.is_dir() else TOKENIZER
    try:
        tokenizer = CLIPTokenizer.from_pretrained(source, **options)
    except Exception as error:
        raise ModelError(_no_tokenizer(path, source, type(error).__name__)) from error
    # Without its files transformers hands over a tokenizer of two tokens, and says nothing.
    if len(tokenizer) != vocabulary:
        raise ModelError(
            _no_tokenizer(path, source, f"{len(tokenizer)} tokens, the text encoder has {vocabulary}")
        )
    if tokenizer.model_max_length > UNLIMITED:
        tokenizer.model_max_length = positions
    return tokenizer


def _no_tokenizer(path: Path, source: str, why: str) -> str:
    return (
        f"{path} holds no tokenizer, and {source} does not give it one ({why}); connect to the network once, or put "
        f"CLIP's tokenizer into the folder {path.parent / 'tokenizer'}"
    )
