"""The extension: the U-Net's forward is handed to an engine for as long as it is attached."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal

from mezzotint import Extension, Field, hookimpl, shadowed

if TYPE_CHECKING:
    from mezzotint import Pipeline, Run

    from .engine import Engine

Precision = Literal["f32", "bf16", "auto"]


class OpenVINO(Extension, name="openvino"):
    """Run the U-Net in OpenVINO, converted once for a size and batch.

    Exact to rounding in `f32`; `bf16` needs a CPU that multiplies it natively, `auto` takes it there. Conversion
    takes seconds to a minute once for weights, size and batch, and is kept until `pipe.free()`. Where another
    extension needs the blocks or attention layers, the U-Net runs in torch and a warning names it.
    """

    precision: Precision = Field("f32", description="number type inside the U-Net")

    @hookimpl(after=["lora"])
    @contextmanager
    def patch_unet(self, unet: Any, pipe: Pipeline) -> Iterator[None]:
        """Put the engine in place of the U-Net's forward."""
        from .conversion import choose_precision
        from .engine import require_openvino

        require_openvino()
        engine = _engine(pipe)
        with shadowed(unet, engine.forward(unet, choose_precision(self.precision))):
            yield

    @hookimpl
    def unet_input(self, run: Run) -> None:
        """Tell the engine whose step this is."""
        _engine(run.pipe).begin(run, self)

    @hookimpl
    def latents(self, run: Run) -> None:
        """Say where the U-Net ran."""
        run.publish(self, **_engine(run.pipe).outputs())


def _engine(pipe: Pipeline) -> Engine:
    from .engine import Engine

    return pipe.resource("openvino engine", Engine)
