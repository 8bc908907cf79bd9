"""A pipeline whose U-Net, and text encoder if asked, carry a LoRA that is being trained."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

import torch
from mezzotint import Pipeline
from mezzotint_training import (
    Denoiser,
    Facts,
    Item,
    ParameterGroup,
    Trained,
    Trainee,
    check_output,
    frozen,
    narrowed,
    prepare,
    train,
)
from torch import nn

from ..adapter import Adapter, Delta, Target
from ..files import write_adapter
from ..names import Names
from .checkpointing import recomputing
from .deltas import deltas_of
from .injecting import NAME, Injected, injected
from .metadata import metadata_of
from .settings import LoRASettings


class LoRATrainee(Trainee):
    """Made by `attached_lora`."""

    def __init__(self, pipe: Pipeline, settings: LoRASettings, parts: dict[str, Injected]) -> None:
        self.pipe = pipe
        self.settings = settings
        self.parts = parts
        self.trains_text_encoder = "text_encoder" in parts
        text_encoder = pipe.text_encoder if self.trains_text_encoder else None
        self.networks = Denoiser(pipe.unet, text_encoder, settings.clip_skip)

    def parameter_groups(self) -> Sequence[ParameterGroup]:
        """One for each model; with LoRA+ two, as the up factors learn faster (Hayou et al. 2024)."""
        rates = {"unet": self.settings.rate, "text_encoder": self.settings.text_encoder_rate}
        groups = []
        for component, part in self.parts.items():
            rate, ratio = rates[component], self.settings.lora_plus
            if ratio is None:
                groups.append(ParameterGroup(component, tuple(part.parameters()), rate))
                continue
            ups = {id(layer.lora_B[NAME].weight) for layer in part.layers.values()}
            fast = tuple(p for p in part.parameters() if id(p) in ups)
            slow = tuple(p for p in part.parameters() if id(p) not in ups)
            groups += [
                ParameterGroup(component, slow, rate),
                ParameterGroup(f"{component} up", fast, rate * ratio),
            ]
        return groups

    def adapter(self) -> Adapter:
        """The weights as they are now, as changes of the untouched base."""
        return Adapter(
            {
                target: delta
                for component, part in self.parts.items()
                for target, delta in deltas_of(part, component).items()
            }
        )

    def export(self, path: Path, facts: Facts) -> None:
        """Write a LoRA file, all of it or nothing.

        Raises:
            TrainingError: a weight is too large for `save_dtype`.
        """
        names = {component: Names.of(part.model) for component, part in self.parts.items()}
        path.parent.mkdir(parents=True, exist_ok=True)
        adapter = self.adapter()
        deltas = {target: self._saved(target, delta) for target, delta in adapter.deltas.items()}
        words = metadata_of(path, facts, self.settings, self.pipe, self._prediction_type(), deltas.values())
        write_adapter(
            path, replace(adapter, deltas=deltas), self.settings.format, metadata=words, names=names
        )

    def _saved(self, target: Target, delta: Delta) -> Delta:
        dtype = getattr(torch, self.settings.save_dtype)
        name = f"{target.component}.{target.module}"
        return delta.map(lambda tensor: narrowed(tensor, dtype, name, "float32 or bfloat16"))

    def _prediction_type(self) -> str:
        kind = self.settings.prediction_type
        return self.pipe.scheduler.config.get("prediction_type", "epsilon") if kind == "auto" else kind


@contextmanager
def attached_lora(pipe: Pipeline, settings: LoRASettings) -> Iterator[LoRATrainee]:
    """Put trainable layers into a pipeline's models; on leaving, they are as they were, bit for bit.

    Raises:
        TrainingError: no layer is chosen, or the models carry peft layers already.
    """
    models: dict[str, nn.Module] = {"unet": pipe.unet}
    if settings.train_text_encoder:
        models["text_encoder"] = pipe.text_encoder
    with ExitStack() as stack:
        stack.enter_context(frozen(pipe.text_encoder))
        parts = {
            component: stack.enter_context(injected(model, settings, component.replace("_", " ")))
            for component, model in models.items()
        }
        if settings.gradient_checkpointing:
            for model in models.values():
                stack.enter_context(recomputing(model))
        yield LoRATrainee(pipe, settings, parts)


def train_lora(
    pipe: Pipeline,
    data: Path | str | Sequence[Item],
    output: Path | str,
    settings: LoRASettings | None = None,
    *,
    resume: bool = False,
    quiet: bool = False,
    on_step: Callable[[int, float], None] | None = None,
) -> Trained:
    """Train a LoRA on a folder of pictures and write it to `output`.

    Args:
        data: a folder (captions beside the pictures or in `metadata.jsonl` or `metadata.csv`), a TOML file of kohya's, or items.
        output: a `.safetensors` file. Checkpoints, logs and samples go to `NAME-training` beside it.
        resume: go on from the last checkpoint.
        quiet: show nothing.
        on_step: called after each step with its number and its loss.

    Raises:
        TrainingError, DataError, CheckpointError: as `mezzotint_training.train`.
    """
    output = check_output(output, "a LoRA", resume=resume)
    prepared = prepare(data, settings or LoRASettings(), pipe)
    assert isinstance(prepared.settings, LoRASettings)
    with attached_lora(pipe, prepared.settings) as lora:
        return train(lora, prepared, output, resume=resume, quiet=quiet, on_step=on_step)
