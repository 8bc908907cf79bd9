"""What is compiled of a U-Net: exported graphs with their weights as inputs, so that equal blocks share one."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from .untouched import has_foreign_forward, is_changed_inside, settings_of

REGIONS = ("ResnetBlock2D", "BasicTransformerBlock")
"""Classes of the blocks that are compiled."""


@dataclass(eq=False)
class Regions:
    """Everything that is compiled for one pipeline."""

    programs: dict[Hashable, Callable[[list[Any]], Any]] = field(default_factory=dict)
    """By exported code and by shapes, strides and types of all inputs."""
    known: dict[Hashable, Program] = field(default_factory=dict)
    """By block, arguments and weights' form: what a block need not be exported for again."""
    run: int = 0
    """Counts runs: in a new one, blocks' settings are read anew."""
    compiled: int = 0
    """In this run; 0 where everything was there already."""
    compiled_calls: int = 0
    uncompiled_calls: int = 0

    def start(self) -> None:
        """A new run begins."""
        self.run += 1
        self.compiled = self.compiled_calls = self.uncompiled_calls = 0

    def outputs(self) -> dict[str, int]:
        """What an extension publishes."""
        return {
            "compilations": self.compiled,
            "programs": len(self.programs),
            "compiled_calls": self.compiled_calls,
            "uncompiled_calls": self.uncompiled_calls,
        }

    def program(self, module: Any, args: tuple[Tensor, ...], kwargs: Mapping[str, Tensor]) -> Program:
        """A module as a compiled program, taken from an equal module if there is one."""
        with torch.no_grad():
            exported = torch.export.export(module, args, dict(kwargs), strict=False)
        names = [
            spec.target for spec in exported.graph_signature.input_specs if spec.kind.name != "USER_INPUT"
        ]
        weights = [_attribute(module, str(name)) for name in names]
        inputs = [*weights, *args, *kwargs.values()]
        key = (exported.graph_module.code, _form(inputs))
        if key not in self.programs:
            from torch._inductor.compile_fx import compile_fx

            self.compiled += 1
            self.programs[key] = compile_fx(exported.graph_module, inputs)
        return Program(self.programs[key], names)


@dataclass(frozen=True, eq=False)
class Program:
    """A compiled block and which weights it takes."""

    run: Callable[..., Any]
    weights: list[Any]

    def __call__(self, module: Any, inputs: list[Tensor]) -> Tensor:
        """The block's output, with the weights that the module has now."""
        output = self.run(*(_attribute(module, str(name)) for name in self.weights), *inputs)
        answer: Tensor = output[0] if isinstance(output, tuple | list) else output
        return answer


@dataclass(eq=False)
class Region:
    """The forward of one block: compiled where nothing inside is changed, its own otherwise."""

    module: Any
    regions: Regions
    original: Callable[..., Any] = field(init=False)
    foreign: bool = field(init=False)
    settings: Hashable = None
    read: int = -1
    """The run in which the settings were read."""

    def __post_init__(self) -> None:
        self.original = self.module.forward
        self.foreign = has_foreign_forward(self.module)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """The block's output."""
        given = {name: value for name, value in kwargs.items() if value is not None}
        inputs = [*args, *given.values()]
        fit = all(isinstance(value, Tensor) for value in inputs)
        if torch.is_grad_enabled() or not fit or self.foreign or is_changed_inside(self.module):
            self.regions.uncompiled_calls += 1
            return self.original(*args, **kwargs)
        if self.read != self.regions.run:
            self.read, self.settings = self.regions.run, settings_of(self.module)
        # The weights' form is part of it: channels last, another dtype.
        form = _form([*inputs, *self.module.parameters()])
        key = (self.module, self.settings, tuple(given), form)
        known = self.regions.known
        if key not in known:
            known[key] = self._program(args, given)
        self.regions.compiled_calls += 1
        return known[key](self.module, inputs)

    def _program(self, args: tuple[Tensor, ...], kwargs: dict[str, Tensor]) -> Program:
        with _own_forward(self.module):
            return self.regions.program(self.module, args, kwargs)


@contextmanager
def _own_forward(module: Any) -> Iterator[None]:
    """The module without the forward on its instance, while it is exported."""
    forward = module.__dict__.pop("forward")
    try:
        yield
    finally:
        module.__dict__["forward"] = forward


def _attribute(module: Any, path: str) -> Tensor:
    *parents, name = path.split(".")
    value: Tensor = getattr(module.get_submodule(".".join(parents)), name)
    return value


def _form(tensors: list[Any]) -> Hashable:
    return tuple((t.shape, t.stride(), t.dtype, t.device.type) for t in tensors)
