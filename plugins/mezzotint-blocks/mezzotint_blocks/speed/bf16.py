"""The U-Net in bfloat16, everything around it as it was."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from mezzotint import Extension, hookimpl, shadowed

from .untouched import has_foreign_forward

if TYPE_CHECKING:
    from mezzotint import Pipeline
    from torch import Tensor, dtype


class BFloat16(Extension, name="bf16", conflicts=("openvino",)):
    """Run the U-Net in bfloat16; text encoder, scheduler and decoder keep their precision.

    Approximate: three significant digits inside the U-Net. Six to eight times faster than float32 on CPUs
    with AMX or AVX512-BF16, and many times slower on others, so those are warned.
    """

    @hookimpl(after=["lora"])
    @contextmanager
    def patch_unet(self, unet: Any, pipe: Pipeline) -> Iterator[None]:
        """Give the weights bfloat16 storage, and convert what goes in and comes out."""
        import torch

        from .machine import warn_of_slow_bf16

        warn_of_slow_bf16(unet.device)
        weights = [w for w in (*unet.parameters(), *unet.buffers()) if w.is_floating_point()]
        before = [weight.data for weight in weights]
        outside = unet.dtype
        try:
            for weight in weights:
                weight.data = weight.data.to(torch.bfloat16)
            with shadowed(unet, Converting(unet, torch.bfloat16, outside)):
                yield
        finally:
            for weight, data in zip(weights, before, strict=True):
                weight.data = data


class Converting:
    """The forward of a U-Net that computes in another dtype than those around it."""

    def __init__(self, unet: Any, inside: dtype, outside: dtype) -> None:
        self.is_pure = not has_foreign_forward(unet)
        self._forward = unet.forward
        self._inside, self._outside = inside, outside

    def __call__(self, *args: Any, **kwargs: Any) -> tuple[Tensor]:
        """The sample, as a tuple."""
        args, kwargs = converted((args, kwargs), self._inside)
        return converted(tuple(self._forward(*args, **kwargs)), self._outside)


def converted(value: Any, to: dtype) -> Any:
    """Floating-point tensors in nested lists, tuples and mappings, in another dtype."""
    import torch

    if isinstance(value, torch.Tensor):
        return value.to(to) if value.is_floating_point() else value
    if isinstance(value, list | tuple):
        return type(value)(converted(item, to) for item in value)
    if isinstance(value, Mapping):
        return {key: converted(item, to) for key, item in value.items()}
    return value
