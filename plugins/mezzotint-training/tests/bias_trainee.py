"""The smallest thing that can be trained: the biases of the U-Net's last layer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from mezzotint import Pipeline
from mezzotint_training import Denoiser, Facts, ParameterGroup, Trainee, TrainingSettings
from safetensors.torch import save_file


class Biases(Trainee):
    """Trains every bias of the U-Net."""

    def __init__(self, pipe: Pipeline, settings: TrainingSettings) -> None:
        self.pipe = pipe
        self.settings = settings
        self.networks = Denoiser(pipe.unet)

    def parameters(self):
        return {name: p for name, p in self.networks.named_parameters() if p.requires_grad}

    def parameter_groups(self) -> Sequence[ParameterGroup]:
        return [ParameterGroup("unet", tuple(self.parameters().values()), self.settings.rate)]

    def export(self, path: Path, facts: Facts) -> None:
        save_file({name: p.detach().clone() for name, p in self.parameters().items()}, path)


@contextmanager
def training_biases(pipe: Pipeline, settings: TrainingSettings) -> Iterator[Biases]:
    before = {name: p.detach().clone() for name, p in pipe.unet.named_parameters()}
    parts = (pipe.unet, pipe.text_encoder, pipe.vae)
    wanted = {p: p.requires_grad for part in parts for p in part.parameters()}
    for p in wanted:
        p.requires_grad_(False)
    for name, p in pipe.unet.named_parameters():
        p.requires_grad_(name.endswith("bias"))
    try:
        yield Biases(pipe, settings)
    finally:
        for name, p in pipe.unet.named_parameters():
            p.data.copy_(before[name])
            p.grad = None
        for p, each in wanted.items():
            p.requires_grad_(each)
