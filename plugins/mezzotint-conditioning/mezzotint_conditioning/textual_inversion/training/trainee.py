"""A pipeline whose tokenizer and text encoder know a word that is being learned."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from mezzotint import Pipeline
from mezzotint_training import (
    DataError,
    Dataset,
    Denoiser,
    Facts,
    Item,
    ParameterGroup,
    Trained,
    Trainee,
    TrainingError,
    check_output,
    frozen,
    prepare,
    train,
)
from safetensors.torch import save_file
from torch import Tensor, nn

from ..attaching import word_attached
from ..embedding import ExtendedEmbedding
from .settings import TextualInversionSettings


class TextualInversionTrainee(Trainee):
    """Made by `attached_word`."""

    trains_text_encoder = True

    def __init__(
        self, pipe: Pipeline, settings: TextualInversionSettings, embedding: ExtendedEmbedding
    ) -> None:
        self.pipe = pipe
        self.settings = settings
        self.embedding = embedding
        self.networks = Denoiser(pipe.unet, pipe.text_encoder, settings.clip_skip)

    def parameter_groups(self) -> Sequence[ParameterGroup]:
        """The vectors."""
        vectors = self.embedding.vectors
        assert isinstance(vectors, nn.Parameter)
        return [ParameterGroup("vectors", (vectors,), self.settings.rate)]

    def check(self, data: Dataset) -> None:
        """Every caption has the word, or a picture would teach it nothing."""
        word = re.compile(rf"(?<!\w){re.escape(self.settings.token)}(?!\w)")
        for item in data.items:
            missing = [caption for caption in item.captions if not word.search(caption)]
            if missing and not item.is_prior:
                raise DataError(
                    f"{item.path}: its caption {missing[0]!r} lacks {self.settings.token}; write the word into it, or "
                    "leave captions out for 'a photo of …'"
                )

    def export(self, path: Path, facts: Facts) -> None:
        """Write a file of diffusers' format, all of it or nothing."""
        path.parent.mkdir(parents=True, exist_ok=True)
        words = {
            "format": "pt",
            "mezzotint.model": self.pipe.source.name,
            "mezzotint.steps": str(facts.step),
            "mezzotint.init": self.settings.init or "",
        }
        temporary = path.with_name(f".{path.name}.part")
        save_file(
            {self.settings.token: self.embedding.vectors.detach().cpu().float().contiguous()},
            temporary,
            words,
        )
        os.replace(temporary, path)


@contextmanager
def attached_word(pipe: Pipeline, settings: TextualInversionSettings) -> Iterator[TextualInversionTrainee]:
    """Put a word with trainable vectors into a pipeline; on leaving it is as it was, bit for bit.

    Raises:
        RequestError: the tokenizer has the word already.
    """
    start = _first_vectors(pipe, settings)
    attached = word_attached(pipe, pipe.text_encoder, settings.token, start, trainable=True)
    with frozen(pipe.unet, pipe.vae, pipe.text_encoder), attached as embedding:
        yield TextualInversionTrainee(pipe, settings, embedding)


def train_textual_inversion(
    pipe: Pipeline,
    data: Path | str | Sequence[Item],
    output: Path | str,
    settings: TextualInversionSettings,
    *,
    resume: bool = False,
    quiet: bool = False,
    on_step: Callable[[int, float], None] | None = None,
) -> Trained:
    """Learn a word from a folder of pictures and write it to `output`.

    Args:
        data: a folder (captions beside the pictures or in `metadata.jsonl` or `metadata.csv`; default: "a photo of
            TOKEN", unless `missing_captions` is set), a TOML file of kohya's, or items.
        output: a `.safetensors` file, for `TextualInversion(output)` and for diffusers' `load_textual_inversion`.
        resume: go on from the last checkpoint.
        quiet: show nothing.
        on_step: called after each step with its number and its loss.

    Raises:
        TrainingError, DataError, CheckpointError: as `mezzotint_training.train`.
    """
    output = check_output(output, "a textual inversion", resume=resume)
    prepared = prepare(data, settings, pipe)
    assert isinstance(prepared.settings, TextualInversionSettings)
    with attached_word(pipe, prepared.settings) as word:
        return train(word, prepared, output, resume=resume, quiet=quiet, on_step=on_step)


def _first_vectors(pipe: Pipeline, settings: TextualInversionSettings) -> Tensor:
    """(vectors, dim): those of the words to start from, again from the front where they are fewer; or random ones."""
    table: Any = pipe.text_encoder.get_input_embeddings()
    with torch.no_grad():
        if settings.init is None:
            generator = torch.Generator().manual_seed(settings.seed)
            noise = torch.randn(settings.vectors, table.embedding_dim, generator=generator)
            return noise.to(table.weight.device) * table.weight.float().std()
        ids = pipe.tokenizer(settings.init, add_special_tokens=False).input_ids
        if not ids:
            raise TrainingError(f"init {settings.init!r} has no token to start from")
        chosen = torch.tensor([ids[place % len(ids)] for place in range(settings.vectors)])
        start: Tensor = table(chosen.to(table.weight.device)).float()
        return start
