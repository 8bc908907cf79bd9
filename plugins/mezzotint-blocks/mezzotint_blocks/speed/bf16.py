"""The U-Net in bfloat16, everything around it as it was."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from mezzotint import Extension, hookimpl, shadowed

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
            with shadowed(unet, _converting(unet.forward, torch.bfloat16, outside)):
                yield
        finally:
            for weight, data in zip(weights, before, strict=True):
                weight.data = data


def _converting(forward: Any, inside: dtype, outside: dtype) -> Any:
    def unet_forward(*args: Any, **kwargs: Any) -> tuple[Tensor]:
        args, kwargs = converted((args, kwargs), inside)
        return converted(tuple(forward(*args, **kwargs)), outside)

    return unet_forward


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
