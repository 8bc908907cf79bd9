"""Compiled blocks: resnets and transformer blocks by torch's inductor, each distinct one once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

from mezzotint import Extension, hookimpl, shadowed

if TYPE_CHECKING:
    from mezzotint import Pipeline, Run

    from .regions import Regions


class Compile(Extension, name="compile", conflicts=("openvino", "packed-weights", "fused-qkv", "text-kv")):
    """Compile the U-Net's repeated blocks with torch's inductor. Exact to rounding; needs a C++ compiler on a CPU.

    Takes seconds to a minute once for a model, size and batch, and is kept until `pipe.free()`; blocks of
    the same form share what is compiled. A block that another extension changes inside (token merging, an
    attention hook, LoRA that is not fused) runs uncompiled, and is counted as such. Weights are read at every
    call, so fused LoRA is seen.
    """

    @hookimpl(after=["lora", "bf16", "channels-last", "token-merging"])
    @contextmanager
    def patch_unet(self, unet: Any, pipe: Pipeline) -> Iterator[None]:
        """Let resnets and transformer blocks run compiled."""
        from .regions import REGIONS, Region, require_compiler

        require_compiler(unet.device)
        regions = _regions(pipe)
        with ExitStack() as stack:
            for module in unet.modules():
                if type(module).__name__ in REGIONS:
                    stack.enter_context(shadowed(module, Region(module, regions)))
            yield

    @hookimpl
    def timesteps(self, run: Run) -> None:
        """Count from here, whatever a run that was interrupted left."""
        _regions(run.pipe).start_count()

    @hookimpl
    def latents(self, run: Run) -> None:
        """Say how much was compiled, in this run and before."""
        run.publish(self, **_regions(run.pipe).outputs())


def _regions(pipe: Pipeline) -> Regions:
    from .regions import Regions

    return pipe.resource("compiled regions", Regions)
