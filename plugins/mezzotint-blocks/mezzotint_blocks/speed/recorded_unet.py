"""The U-Net as a recorded graph, which torch runs without Python between its operations."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Hashable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from mezzotint import Weights, hookimpl, shadowed

from ..between_runs import KeepsBetweenRuns

if TYPE_CHECKING:
    from mezzotint import Pipeline, Run
    from torch import Tensor

BLOCKS = ("ResnetBlock2D", "Transformer2DModel", "Downsample2D", "Upsample2D")
"""Classes of the blocks that are recorded one by one where the U-Net as a whole cannot be."""


class RecordedUNet(
    KeepsBetweenRuns,
    name="recorded-unet",
    conflicts=("openvino", "compile", "packed-weights", "fused-qkv", "text-kv"),
):
    """Record the U-Net once and run it without Python in between; the picture is the same, bit for bit.

    Pays for small models, where Python takes as long as the arithmetic; needs no compiler, and about a second once
    for a size and batch, kept until `pipe.free()`. Where an extension needs the blocks (DeepCache, FreeU) they
    are recorded one by one; a block that is changed inside (token merging, an attention hook, LoRA that is
    not fused) runs as it is. Weights are shared with the model, so fused LoRA is seen.
    """

    @hookimpl(after=["lora", "channels-last", "bf16", "token-merging"])
    @contextmanager
    def patch_unet(self, unet: Any, pipe: Pipeline) -> Iterator[None]:
        """Let the U-Net, or else its blocks, run as recorded."""
        recordings = _recordings(pipe)
        with ExitStack() as stack:
            for module in unet.modules():
                if module is unet or type(module).__name__ in BLOCKS:
                    stack.enter_context(shadowed(module, Recorded(module, recordings)))
            yield

    def begin_run(self, pipe: Pipeline) -> None:
        """Let every block be looked at anew when it runs: whatever changes its inside is in place by then."""
        _recordings(pipe).start()

    @hookimpl
    def latents(self, run: Run) -> None:
        """Say how much was recorded, and how much ran so."""
        run.publish(self, **_recordings(run.pipe).outputs())


def _recordings(pipe: Pipeline) -> Recordings:
    return pipe.resource("recorded blocks", Recordings)


@dataclass(eq=False)
class Recordings:
    """Everything that is recorded for one pipeline."""

    graphs: dict[Hashable, Callable[..., Tensor]] = field(default_factory=dict)
    """By module and its weights, arguments that are no tensors, and the form of those that are."""
    run: int = 0
    """Counts runs: in a new one, modules are looked at anew."""
    recording: bool = False
    """While a graph is recorded, what is inside of it runs as it is."""
    recorded: int = 0
    """In this run; 0 where everything was there already."""
    calls: dict[str, int] = field(default_factory=dict)

    def start(self) -> None:
        """A run begins."""
        self.run += 1
        self.recorded = 0
        self.calls = {"whole_calls": 0, "block_calls": 0, "plain_calls": 0}

    def count(self, kind: str) -> None:
        """One call more."""
        self.calls[kind] = self.calls.get(kind, 0) + 1

    def outputs(self) -> dict[str, int]:
        """What the extension publishes."""
        return {"recordings": self.recorded, **self.calls}


@dataclass(eq=False)
class Recorded:
    """The forward of the U-Net or a block: recorded where nothing inside is changed, its own otherwise."""

    module: Any
    recordings: Recordings
    original: Callable[..., Any] = field(init=False)
    is_pure: bool = field(init=False)
    """Whether the forward that it stands in for always says the same, so that it may be recorded."""
    looked: int = -1
    """The run in which the module was looked at last."""
    state: Hashable = None
    """The module's weights and settings then; `None` if it cannot be recorded."""
    held: Weights | None = None
    """Its weights when it was looked at."""
    whole: bool = field(init=False)

    def __post_init__(self) -> None:
        from .untouched import has_foreign_forward

        self.original = self.module.forward
        self.is_pure = not has_foreign_forward(self.module)
        self.whole = type(self.module).__name__ not in BLOCKS

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """The output, as the module itself would return it."""
        import torch
        from torch.utils._pytree import tree_flatten

        kept = self.recordings
        if kept.recording or torch.is_grad_enabled():
            return self.original(*args, **kwargs)
        if self.held is None or self.looked != kept.run or not self.held.are_in_place():
            self._look()
        if self.state is None:
            if not self.whole:
                kept.count("plain_calls")
            return self.original(*args, **kwargs)
        values, spec = tree_flatten((args, kwargs))
        tensors = [value for value in values if isinstance(value, torch.Tensor)]
        constants = tuple(None if isinstance(v, torch.Tensor) else repr(v) for v in values)
        key = (
            self.module,
            self.state,
            tuple(kwargs),
            constants,
            tuple((t.shape, t.dtype) for t in tensors),
        )
        if key not in kept.graphs:
            kept.graphs[key] = self._record(values, spec, tensors)
            kept.recorded += 1
        kept.count("whole_calls" if self.whole else "block_calls")
        output = kept.graphs[key](*tensors)
        return (output,) if self.whole or type(self.module).__name__ == "Transformer2DModel" else output

    def _look(self) -> None:
        """Once a run, and when a parameter was exchanged: hooks, processors and adapters stay during a run."""
        from .untouched import is_changed_inside, settings_of

        self.looked = self.recordings.run
        self.held = Weights(self.module)
        changed = not self.is_pure or is_changed_inside(self.module)
        weights = tuple((id(w), w.dtype) for w in self.held.tensors)
        self.state = None if changed else (weights, settings_of(self.module))

    def _record(self, values: list[Any], spec: Any, tensors: list[Tensor]) -> Callable[..., Tensor]:
        import torch

        self.recordings.recording = True
        try:
            with warnings.catch_warnings():
                # Shapes become constants, which the key allows for; and torch calls its tracer old.
                warnings.simplefilter("ignore")
                of_tensors = _of_tensors(self.module, self.original, values, spec)
                graph: Callable[..., Tensor] = torch.jit.trace(of_tensors, tuple(tensors), check_trace=False)
        finally:
            self.recordings.recording = False
        return graph


def _of_tensors(module: Any, forward: Any, values: list[Any], spec: Any) -> Any:
    """A module as one that takes the tensors among its arguments; the others stay what they are."""
    import torch
    from torch.utils._pytree import tree_unflatten

    class OfTensors(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.block = module

        def forward(self, *tensors: Tensor) -> Tensor:
            left = iter(tensors)
            filled = [next(left) if isinstance(value, torch.Tensor) else value for value in values]
            args, kwargs = tree_unflatten(filled, spec)
            output = forward(*args, **kwargs)
            answer: Tensor = output[0] if isinstance(output, tuple) else getattr(output, "sample", output)
            return answer

    return OfTensors().eval()
