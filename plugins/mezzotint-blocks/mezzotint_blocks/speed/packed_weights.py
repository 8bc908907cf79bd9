"""Convolution weights in the layout that oneDNN computes with, laid out once instead of at every call."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from mezzotint import Field, hookimpl, shadowed
from mezzotint.errors import PlanError

from ..between_runs import KeepsBetweenRuns

if TYPE_CHECKING:
    from mezzotint import Pipeline, Run
    from torch import Tensor

    from .derived import DerivedStore


class PackedWeights(KeepsBetweenRuns, name="packed-weights", conflicts=("openvino", "compile")):
    """Keep the weights of convolutions in oneDNN's own layout, and what they work on channels last. CPU only.

    Exact to rounding. torch's CPU convolution arranges its weights anew at every call; at the deep layers of
    Stable Diffusion 1.x that takes up to four times as long as the convolution. The arranged copy is kept
    with the pipeline (as much memory again as the convolutions' weights), until `pipe.free()`.
    """

    vae: bool = Field(True, description="the decoder's convolutions too")

    @hookimpl(after=["lora", "channels-last", "bf16"])
    @contextmanager
    def patch_unet(self, unet: Any, pipe: Pipeline) -> Iterator[None]:
        """Give every plain convolution a forward with packed weights."""
        store = packs(pipe)
        with ExitStack() as stack:
            for model in (unet, pipe.vae) if self.vae else (unet,):
                stack.enter_context(packed(model, store))
            yield

    def begin_run(self, pipe: Pipeline) -> None:
        """See whether weights were written between runs."""
        packs(pipe).begin_run()

    @hookimpl
    def images(self, run: Run) -> None:
        """Say what is packed, when the decoder has run too."""
        packed = packs(run.pipe).values
        size = sum(weights.numel() * weights.element_size() for weights in packed)
        run.publish(self, convolutions=len(packed), bytes=size)


def packs(pipe: Pipeline) -> DerivedStore[Tensor]:
    """The pipeline's packed weights: one for each convolution, replaced when its weights change."""
    from .derived import DerivedStore

    return pipe.resource("packed weights", DerivedStore)


@contextmanager
def packed(model: Any, store: DerivedStore[Tensor]) -> Iterator[None]:
    """Run the plain convolutions of a model with packed weights.

    Raises:
        PlanError: the model is not on a CPU, or torch has no oneDNN.
    """
    import torch

    from .untouched import is_plain

    weight = next(model.parameters())
    if weight.device.type != "cpu" or not torch.backends.mkldnn.is_available():
        where = f"the model is on {weight.device}" if weight.device.type != "cpu" else "this torch has none"
        raise PlanError(f"packed-weights lays weights out for oneDNN on a CPU, and {where}; leave it out")
    with ExitStack() as stack:
        for module in model.modules():
            if is_plain(module, torch.nn.Conv2d) and _can_pack(module):
                stack.enter_context(shadowed(module, PackedConvolution(module, store)))
        yield


def _can_pack(convolution: Any) -> bool:
    return convolution.padding_mode == "zeros" and not isinstance(convolution.padding, str)


@dataclass(eq=False)
class PackedConvolution:
    """The forward of a convolution (rows, channels, height, width), from weights that are laid out already."""

    convolution: Any
    store: DerivedStore[Tensor]
    original: Callable[..., Tensor] = field(init=False)

    def __post_init__(self) -> None:
        self.original = self.convolution.forward

    def __call__(self, hidden_states: Tensor) -> Tensor:
        import torch

        conv = self.convolution
        if torch.is_grad_enabled() or hidden_states.dtype != conv.weight.dtype:
            return self.original(hidden_states)
        return torch.ops.mkldnn._convolution_pointwise(
            hidden_states.contiguous(memory_format=torch.channels_last),
            self._weights(hidden_states),
            conv.bias,
            conv.padding,
            conv.stride,
            conv.dilation,
            conv.groups,
            "none",
            [],
            "",
        )

    def _weights(self, like: Tensor) -> Tensor:
        """Packed for the first shape that comes; oneDNN computes with it at any other, and arranges it if it must."""
        conv = self.convolution
        return self.store.of(conv, (conv.weight,), lambda: _reordered(conv, list(like.shape)))


def _reordered(conv: Any, shape: list[int]) -> Tensor:
    import torch

    weights: Tensor = torch._C._nn.mkldnn_reorder_conv2d_weight(
        conv.weight.detach().to_mkldnn(), conv.padding, conv.stride, conv.dilation, conv.groups, shape
    )
    return weights
