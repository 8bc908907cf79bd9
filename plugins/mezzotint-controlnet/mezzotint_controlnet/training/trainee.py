"""A pipeline with a ControlNet that is being trained."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from mezzotint import Conditioning, Extension, Pipeline, Residuals, Run, hookimpl
from mezzotint.pictures import open_picture
from mezzotint_training import (
    DataError,
    Dataset,
    Facts,
    Item,
    ParameterGroup,
    Trained,
    Trainee,
    View,
    check_output,
    frozen,
    narrowed,
    prepare,
    recomputed,
    train,
)
from mezzotint_training.data.images import check_picture
from mezzotint_training.prompts import SamplePrompt
from PIL.Image import Image
from torch import Tensor

from .maps import Maps, with_maps
from .networks import ControlledDenoiser, make_controlnet
from .settings import ControlNetSettings


class ControlNetTrainee(Trainee):
    """Made by `attached_controlnet`."""

    def __init__(self, pipe: Pipeline, settings: ControlNetSettings, networks: ControlledDenoiser) -> None:
        self.pipe = pipe
        self.settings = settings
        self.networks = networks
        self.maps = Maps(pipe, settings)

    def parameter_groups(self) -> Sequence[ParameterGroup]:
        """Every parameter of the ControlNet."""
        return [
            ParameterGroup("controlnet", tuple(self.networks.controlnet.parameters()), self.settings.rate)
        ]

    def conditioning(self, views: Sequence[View]) -> Tensor:
        """Control maps (n, 3, height, width)."""
        return self.maps.of(views)

    def check(self, data: Dataset) -> None:
        """Every picture has a map that can be read, or a preprocessor makes it."""
        without = [item for item in data.items if item.conditioning is None]
        if without and self.settings.preprocess is None:
            raise DataError(
                f"{without[0].path} has no control map; name a folder of maps, a column conditioning_image in "
                "metadata.jsonl or metadata.csv, or let a preprocessor make them (preprocess=canny)"
            )
        # A damaged one would be met in the middle of the training.
        for item in data.items:
            if item.conditioning is not None:
                check_picture(item.conditioning)

    def export(self, path: Path, facts: Facts) -> None:
        """Write a diffusers folder, all of it or nothing.

        Raises:
            TrainingError: a weight is too large for `save_dtype`.
        """
        part = path.with_name(f".{path.name}.part")
        shutil.rmtree(part, ignore_errors=True)
        try:
            with _in_dtype(self.networks, self.settings.save_dtype):
                self.networks.controlnet.save_pretrained(part, safe_serialization=True)
            if (path / "config.json").is_file():
                shutil.rmtree(path)
            # Fails where something else is there, rather than removing it.
            os.replace(part, path)
        except BaseException:
            shutil.rmtree(part, ignore_errors=True)
            raise

    def draw(self, prompt: SamplePrompt) -> Image:
        """A sample with the control picture of its line (`--cn FILE`)."""
        if prompt.control is None:
            return super().draw(prompt)
        width, height = prompt.size(self.pipe.native_size)
        picture = open_picture(prompt.control, "the control picture").resize((width, height))
        pixels = torch.frombuffer(bytearray(picture.tobytes()), dtype=torch.uint8)
        hint = pixels.view(1, height, width, 3).permute(0, 3, 1, 2).float() / 255
        control = _InTraining(networks=self.networks, hint=hint.to(self.pipe.device))
        return self.pipe(prompt.prompt, use=[control], **prompt.arguments(self.pipe.native_size)).images[0]


class _InTraining(Extension, name="controlnet-in-training"):
    """The ControlNet as it is now."""

    networks: ControlledDenoiser
    hint: Tensor

    @hookimpl
    def unet_residuals(
        self, sample: Tensor, timestep: Tensor, conditioning: Conditioning, run: Run
    ) -> Residuals:
        down, mid = self.networks.controlnet(
            sample.float(),
            timestep,
            encoder_hidden_states=conditioning.embeddings.float(),
            controlnet_cond=self.hint.expand(len(sample), -1, -1, -1),
            return_dict=False,
        )
        return Residuals(down=tuple(each.to(sample.dtype) for each in down), mid=mid.to(sample.dtype))


@contextmanager
def attached_controlnet(pipe: Pipeline, settings: ControlNetSettings) -> Iterator[ControlNetTrainee]:
    """A ControlNet beside a pipeline's U-Net, which is frozen meanwhile.

    Raises:
        TrainingError: the settings do not fit the model.
    """
    controlnet = make_controlnet(pipe, settings).train()
    controlnet.requires_grad_(True)
    if settings.gradient_checkpointing:
        controlnet.enable_gradient_checkpointing(recomputed)
    with frozen(pipe.unet, pipe.text_encoder):
        yield ControlNetTrainee(pipe, settings, ControlledDenoiser(pipe.unet, controlnet.to(pipe.device)))


def train_controlnet(
    pipe: Pipeline,
    data: Path | str | Sequence[Item],
    output: Path | str,
    settings: ControlNetSettings | None = None,
    *,
    resume: bool = False,
    quiet: bool = False,
    on_step: Callable[[int, float], None] | None = None,
) -> Trained:
    """Train a ControlNet on a folder of pictures and write it to `output`, a diffusers folder.

    Args:
        data: a folder (captions beside the pictures or in `metadata.jsonl` or `metadata.csv`), a TOML file of kohya's, or items.
        output: a folder. Checkpoints, logs and samples go to `NAME-training` beside it.
        resume: go on from the last checkpoint.
        quiet: show nothing.
        on_step: called after each step with its number and its loss.

    Raises:
        TrainingError, DataError, CheckpointError: as `mezzotint_training.train`.
    """
    output = check_output(output, "a ControlNet", suffix="", resume=resume)
    prepared = prepare(data, settings or ControlNetSettings(), pipe)
    assert isinstance(prepared.settings, ControlNetSettings)
    prepared = with_maps(prepared, prepared.settings.maps)
    with attached_controlnet(pipe, prepared.settings) as controlnet:
        return train(controlnet, prepared, output, resume=resume, quiet=quiet, on_step=on_step)


@contextmanager
def _in_dtype(networks: ControlledDenoiser, dtype: str) -> Iterator[None]:
    """Inside, the ControlNet's parameters are of this type; outside, the same bits as before.

    Raises:
        TrainingError: a weight is too large for it.
    """
    kept = {p: p.data for p in networks.controlnet.parameters()}
    try:
        for name, parameter in networks.controlnet.named_parameters():
            parameter.data = narrowed(parameter.data, getattr(torch, dtype), name, "float32")
        yield
    finally:
        for parameter, data in kept.items():
            parameter.data = data
