"""The attention that trains faster where it is over few places."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils.checkpoint import checkpoint

FEW = 2**16
"""Queries times keys: at 256 × 256 both take the same time, at 64 × 24 the fused one takes five times as long."""


class AttentionOfFewPlaces(TorchFunctionMode):
    """While it is active, attention of few places is computed step by step, on a CPU in half precision.

    There the backward pass of PyTorch's fused attention costs some 0.1 ms for each head of each sample, however little
    there is to compute. In float32 and for many places it is the faster one, and stays. The mode is of its thread alone,
    and off in `loss.backward()`, as torch's modes are; `recomputed` sees to what is computed again there.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        if func is torch.nn.functional.scaled_dot_product_attention and _is_faster_step_by_step(
            *args, **kwargs
        ):
            return torch.ops.aten._scaled_dot_product_attention_math(*args, **kwargs)[0]
        return func(*args, **kwargs)


def recomputed(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Call a function and keep none of its activations; they are computed again in the backward pass (Chen et al. 2016).

    Attention of few places is the same in both, and faster. Models of diffusers and transformers take this as their
    `gradient_checkpointing_func`.
    """
    if torch.compiler.is_compiling():  # Both are one graph then, and torch knows no contexts of others in it.
        return checkpoint(function, *args, use_reentrant=False, **kwargs)
    return checkpoint(function, *args, use_reentrant=False, context_fn=_few_places_twice, **kwargs)


def _few_places_twice() -> tuple[AttentionOfFewPlaces, AttentionOfFewPlaces]:
    return AttentionOfFewPlaces(), AttentionOfFewPlaces()


def _is_faster_step_by_step(
    query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor | None = None, *_: object, **__: object
) -> bool:
    return (
        torch.is_grad_enabled()
        and query.device.type == "cpu"
        and query.dtype.itemsize == 2
        and query.shape[-2] * key.shape[-2] <= FEW
        and (attn_mask is None or attn_mask.dtype == query.dtype)
    )
