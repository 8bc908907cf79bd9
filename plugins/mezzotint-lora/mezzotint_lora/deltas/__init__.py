"""What each kind of delta adds to a weight: pure functions of its tensors, in float32.

To add a kind: its tensors in `kinds.py`, its `rank` and `delta_weight` in a module here, a row in `PRODUCTS`,
its keys in the tables of `formats/`.
"""

from __future__ import annotations

from types import ModuleType
from typing import TYPE_CHECKING

from ..adapter import Delta
from . import dora, loha, lokr, lora

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module

PRODUCTS: dict[str, ModuleType] = {"lora": lora, "loha": loha, "lokr": lokr}
"""Kinds that are a product of factors, with an α / r."""


class ShapeError(Exception):
    """A delta does not fit a module; the message says how."""


def rank_of(delta: Delta) -> int:
    """Its rank, 0 for kinds that have none."""
    product = PRODUCTS.get(delta.kind)
    return 0 if product is None else int(product.rank(delta.tensors))


def highest_rank(delta: Delta) -> int:
    """The rank that ΔW of a product can have as a matrix (out, in · kh · kw)."""
    return int(PRODUCTS[delta.kind].highest_rank(delta.tensors))


def is_scaled(delta: Delta) -> bool:
    """Whether α counts: not in kinds without a rank, and not in a LoKr of two whole factors."""
    return delta.kind in PRODUCTS and (delta.kind != "lokr" or lokr.is_scaled(delta.tensors))


def scale_of(delta: Delta) -> float:
    """α / r; 1 where α is missing or 0, as kohya has it, and for kinds that have none."""
    if not is_scaled(delta) or not delta.alpha:
        return 1.0
    return delta.alpha / rank_of(delta)


def delta_weight(delta: Delta, weight: Tensor | None) -> Tensor | None:
    """What the delta adds to a weight, in its shape, float32, at multiplier 1; `None` if only the bias changes.

    Args:
        weight: the base weight, which DoRA needs.

    Raises:
        ShapeError: the delta is of another shape.
    """
    if weight is None:
        raise ShapeError("the module has no weight")
    float32 = delta.map(lambda tensor: tensor.to(weight.device).float())
    if delta.kind not in PRODUCTS:
        return _fitted(float32.tensors["weight"], weight) if "weight" in float32.tensors else None
    change = _fitted(_product(float32), weight) * scale_of(delta)
    if "magnitude" in float32.tensors:
        magnitude = float32.tensors["magnitude"]
        _check_magnitude(magnitude, weight)
        return dora.delta_weight(weight.float(), change, magnitude)
    return change


def delta_bias(delta: Delta, bias: Tensor | None) -> Tensor | None:
    """What it adds to the bias, (out), float32, at multiplier 1; `None` for nothing.

    Raises:
        ShapeError: the module has no bias, or one of another length.
    """
    changes = []
    if "bias" in delta.tensors:
        changes.append(delta.tensors["bias"].float())
    if "up_bias" in delta.tensors:
        changes.append(delta.tensors["up_bias"].float() * scale_of(delta))
    if not changes:
        return None
    if bias is None:
        raise ShapeError("it changes a bias, and the module has none")
    if any(change.shape != bias.shape for change in changes):
        raise ShapeError(f"its bias has shape {tuple(changes[0].shape)}, the module's {tuple(bias.shape)}")
    total = changes[0] if len(changes) == 1 else changes[0] + changes[1]
    return total.to(bias.device)


def is_low_rank(delta: Delta) -> bool:
    """Whether it is a plain LoRA: two factors (and a core between them), and nothing that depends on the weight."""
    return delta.kind == "lora" and not set(delta.tensors) - {"down", "up", "mid"}


def low_rank(delta: Delta, weight: Tensor) -> tuple[Tensor, Tensor]:
    """The factors (r, in, …) and (out, r) of a plain LoRA, float32, α / r in the second.

    Args:
        weight: of the module that it was found to fit.
    """
    down, up = lora.factors(delta.map(lambda tensor: tensor.to(weight.device).float()).tensors)
    return down.reshape(-1, *weight.shape[1:]), up.flatten(1) * scale_of(delta)


def shape_of(delta: Delta) -> tuple[int, ...]:
    """The shape of a product as its file has it: (out, in, …), or (out, in · kh · kw) for the kernel laid flat."""
    return tuple(_product(_shapes_only(delta)).shape)


def check_whole(delta: Delta) -> None:
    """Compare the tensors of a delta with each other, without a module and without multiplying anything out.

    Raises:
        ShapeError: a tensor is empty, has too few dimensions, or does not go with the others.
    """
    is_product = delta.kind in PRODUCTS
    for name, tensor in delta.tensors.items():
        least = 2 if is_product and name not in ("bias", "up_bias") else 1
        if tensor.ndim < least or not tensor.numel():
            raise ShapeError(
                f"its {name} has shape {tuple(tensor.shape)}; expected numbers in {least} or more axes"
            )
    if not is_product:
        if "magnitude" in delta.tensors:
            raise ShapeError(
                f"a DoRA's magnitude stands beside a {delta.kind} change, which has no direction"
            )
        return
    if delta.tensors.keys() == {"down", "up"}:
        # Most are; their shapes alone tell.
        down, up = delta.tensors["down"], delta.tensors["up"]
        if up.numel() != len(up) * len(down):
            raise ShapeError(f"its factors do not fit each other: {tuple(up.shape)} and {tuple(down.shape)}")
        return
    _product(_shapes_only(delta))


def check_fits(delta: Delta, module: Module) -> None:
    """Compare every shape without multiplying anything out.

    Raises:
        ShapeError: something does not fit; both shapes are named.
    """
    import torch

    weight = getattr(module, "weight", None)
    if weight is None:
        raise ShapeError(f"it is a {type(module).__name__}, which has no weight")
    if isinstance(module, torch.nn.Embedding):
        raise ShapeError("it is an embedding, of which no change is supported")
    if isinstance(module, torch.nn.Conv2d) and module.groups != 1:
        raise ShapeError("it is a convolution in groups, which no LoRA file describes")
    if _fits_at_a_glance(delta, weight):
        return
    is_norm = isinstance(module, torch.nn.LayerNorm | torch.nn.GroupNorm)
    if is_norm != (delta.kind == "norm"):
        raise ShapeError(f"it is a {type(module).__name__}, and the delta is a {delta.kind}")
    meta = _shapes_only(delta)
    delta_weight(meta, torch.empty(weight.shape, device="meta"))
    bias = getattr(module, "bias", None)
    delta_bias(meta, None if bias is None else torch.empty(bias.shape, device="meta"))


def _shapes_only(delta: Delta) -> Delta:
    import torch

    return delta.map(lambda tensor: torch.empty(tensor.shape, device="meta", dtype=torch.float32))


def _product(delta: Delta) -> Tensor:
    """ΔW without α / r."""
    try:
        change: Tensor = PRODUCTS[delta.kind].delta_weight(delta.tensors)
    except RuntimeError as error:
        raise ShapeError(f"its factors do not fit each other: {error}") from None
    return change


def _fitted(change: Tensor, weight: Tensor) -> Tensor:
    """In the weight's shape: (out, in · kh · kw) as (out, in, kh, kw), and 1×1 kernels as matrices."""
    if change.shape[0] != weight.shape[0] or change.numel() != weight.numel():
        raise ShapeError(
            f"it makes a change of shape {tuple(change.shape)}, the weight is {tuple(weight.shape)}"
        )
    if change.ndim == weight.ndim and change.shape != weight.shape:
        raise ShapeError(
            f"it makes a change of shape {tuple(change.shape)}, the weight is {tuple(weight.shape)}"
        )
    return change.reshape(weight.shape)


def _check_magnitude(magnitude: Tensor, weight: Tensor) -> None:
    rows = (weight.shape[0], *[1] * (weight.ndim - 1))
    columns = (1, weight.shape[1], *[1] * (weight.ndim - 2))
    if tuple(magnitude.shape) not in (rows, columns):
        raise ShapeError(f"its magnitude has shape {tuple(magnitude.shape)}; expected {rows} or {columns}")


def _fits_at_a_glance(delta: Delta, weight: Tensor) -> bool:
    """Whether it is a plain LoRA of exactly the weight's shape, which most are."""
    if delta.kind != "lora" or delta.tensors.keys() != {"down", "up"}:
        return False
    down, up = delta.tensors["down"], delta.tensors["up"]
    return (
        down.shape[1:] == weight.shape[1:]
        and up.shape[:2] == (weight.shape[0], down.shape[0])
        and up.numel() == up.shape[0] * up.shape[1]
    )
