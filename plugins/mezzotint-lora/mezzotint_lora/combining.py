"""LoRAs made of LoRAs: several as one, one with a lower rank, and the difference of two models."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from .adapter import Adapter, Delta, Target
from .decomposing import Keep, Progress, decompose, decompose_factors, silent
from .deltas import delta_weight, highest_rank, lora, rank_of, scale_of, shape_of
from .errors import LoRAError
from .files import resolved
from .names import Names
from .network_words import ALPHA, DIM, up_to_date

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module


def merge(
    adapters: Sequence[Adapter],
    weights: Sequence[float],
    keep: Keep | None = None,
    names: Mapping[str, Names] | None = None,
    progress: Progress = silent,
) -> Adapter:
    """One LoRA that changes a model as several with their weights do together.

    Without `keep` it is exact: the factors stand side by side, and ranks add up. With it, the sum of each module
    is cut to the rank by its singular values.

    Args:
        names: of the model, where its names cannot be told from the files alone.

    Raises:
        LoRAError: a DoRA, which depends on the weights of a model: merge it into one instead.
    """
    dotted = [resolved(adapter, names) for adapter in adapters]
    targets = sorted({target for adapter in dotted for target in adapter.deltas})
    deltas = {}
    for done, target in enumerate(targets):
        parts = [
            (adapter.deltas[target], weight)
            for adapter, weight in zip(dotted, weights, strict=True)
            if target in adapter.deltas
        ]
        deltas[target] = _sum(target, parts, keep)
        progress(done + 1, len(targets))
    # What could not be read is not in the sum; `write_adapter` refuses to lose it.
    unread = {key: why for adapter in adapters for key, why in adapter.unread.items()}
    words = up_to_date(_common([adapter.metadata for adapter in adapters]), deltas.values())
    return Adapter(deltas, words, "kohya", unread)


def resize(adapter: Adapter, keep: Keep, progress: Progress = silent) -> Adapter:
    """The same LoRA with a lower rank: the nearest to it in each module; ranks are never raised.

    LoHa and LoKr become LoRAs; full differences and norms stay as they are.

    Raises:
        LoRAError: a DoRA, whose directions cannot be cut without the model, or there is nothing that has a rank.
    """
    if not any(map(rank_of, adapter.deltas.values())):
        raise LoRAError(
            "nothing in it has a rank, only whole differences; `mezzotint lora extract` makes a LoRA of two models"
        )
    deltas = {}
    for done, (target, delta) in enumerate(adapter.deltas.items()):
        deltas[target] = delta if not rank_of(delta) else _cut(target, delta, 1.0, keep)
        progress(done + 1, len(adapter.deltas))
    return replace(adapter, deltas=deltas, metadata=up_to_date(adapter.metadata, deltas.values()))


def extract(
    base: Mapping[str, Module],
    tuned: Mapping[str, Module],
    keep: Keep,
    norms: bool = False,
    progress: Progress = silent,
) -> tuple[Adapter, float]:
    """The LoRA that makes `tuned` of `base`, as nearly as its rank allows.

    Args:
        base, tuned: models by component, with the same modules.
        norms: also keep the changes of norms and biases whole, which only some programs read.

    Returns:
        The adapter, and the share of the change of weights (in squared norm) that it holds.

    Raises:
        LoRAError: the models have different modules or shapes, do not differ, or have weights that are no finite numbers.
    """
    import torch
    from torch import nn

    deltas: dict[Target, Delta] = {}
    whole, lost = 0.0, 0.0
    pairs = list(_pairs(base, tuned))
    for done, (component, path, first, second) in enumerate(pairs):
        names = {"unet": path}.get(component) or Names.from_modules([path]).in_files[path]
        target = Target(component, names)
        change = (second.weight - first.weight).detach().float()
        bias = None if first.bias is None else (second.bias - first.bias).detach().float()
        progress(done + 1, len(pairs))
        if not all(tensor.isfinite().all() for tensor in (change, bias) if tensor is not None):
            raise LoRAError(f"{target.module} has weights that are no finite numbers in one of the models")
        if isinstance(first, nn.Linear | nn.Conv2d) and change.abs().max() > 0:
            delta = decompose(change, keep)
            found = delta_weight(delta, first.weight)
            assert found is not None  # it has factors
            whole += float((change**2).sum())
            lost += float(((change - found) ** 2).sum())
            if norms and bias is not None and bias.abs().max() > 0:
                delta = replace(delta, tensors={**delta.tensors, "bias": bias})
            deltas[target] = delta
        elif norms and isinstance(first, nn.Linear | nn.Conv2d):
            if bias is not None and bias.abs().max() > 0:
                deltas[target] = Delta("full", {"bias": bias})
        elif norms and isinstance(first, nn.LayerNorm | nn.GroupNorm):
            tensors = {"weight": change} | ({} if bias is None else {"bias": bias})
            if any(bool(torch.any(tensor != 0)) for tensor in tensors.values()):
                deltas[target] = Delta("norm", tensors)
    if not deltas:
        raise LoRAError("the two models do not differ in any weight that a LoRA can change")
    return Adapter(deltas), 1.0 if whole == 0 else 1 - lost / whole


def _sum(target: Target, parts: Sequence[tuple[Delta, float]], keep: Keep | None) -> Delta:
    import torch

    if any(delta.kind in ("full", "norm") for delta, _ in parts):
        return _sum_of_differences(target, parts)
    if len(parts) == 1 and keep is not None:
        return _cut(target, parts[0][0], parts[0][1], keep)
    shape = _shape(target, [delta for delta, _ in parts])
    pairs = [_factors(target, delta, weight) for delta, weight in parts]
    if any(pair is None for pair in pairs):
        change = sum(_change(target, delta).reshape(shape) * weight for delta, weight in parts)
        assert not isinstance(change, int)  # there is at least one part
        # A Hadamard or Kronecker product has a rank of its own; what is below rounding is no part of it.
        highest = sum(highest_rank(delta) for delta, _ in parts)
        return decompose(change, keep or Keep(None, "ratio", 1e7), highest)
    factors = [pair for pair in pairs if pair is not None]
    down = torch.cat([down.reshape(-1, *shape[1:]) for down, _ in factors])
    up = torch.cat([up for _, up in factors], dim=1)
    if keep is not None:
        return decompose_factors(down, up, keep)
    ones = [1] * (down.ndim - 2)
    return Delta("lora", {"down": down, "up": up.reshape(*up.shape, *ones)}, float(len(down)))


def _shape(target: Target, deltas: Sequence[Delta]) -> tuple[int, ...]:
    """The one shape that all of them change, with the kernel's axes if any file has them."""
    shapes = sorted({shape_of(delta) for delta in deltas}, key=len)
    if len({(shape[0], math.prod(shape)) for shape in shapes}) > 1:
        raise _not_alike(target, shapes)
    return shapes[-1]


def _not_alike(target: Target, shapes: Sequence[tuple[int, ...]]) -> LoRAError:
    return LoRAError(
        f"{target.module} has shape {' in one file and '.join(map(str, shapes))} in another; these LoRAs are for "
        "different models"
    )


def _sum_of_differences(target: Target, parts: Sequence[tuple[Delta, float]]) -> Delta:
    kinds = {delta.kind for delta, _ in parts}
    if len(kinds) > 1:
        raise LoRAError(
            f"{target.module} is a {' in one file and a '.join(sorted(kinds))} in another; merge them into a model instead"
        )
    names = sorted({name for delta, _ in parts for name in delta.tensors})
    for name in names:
        shapes = sorted({tuple(delta.tensors[name].shape) for delta, _ in parts if name in delta.tensors})
        if len(shapes) > 1:
            raise _not_alike(target, shapes)
    tensors = {
        name: sum(weight * delta.tensors[name].float() for delta, weight in parts if name in delta.tensors)
        for name in names
    }
    return Delta(kinds.pop(), tensors)  # type: ignore[arg-type]


def _cut(target: Target, delta: Delta, weight: float, keep: Keep) -> Delta:
    pair = _factors(target, delta, weight)
    if pair is not None:
        return decompose_factors(*pair, keep)
    return decompose(_change(target, delta) * weight, keep, highest_rank(delta))


def _factors(target: Target, delta: Delta, weight: float) -> tuple[Tensor, Tensor] | None:
    _refuse(target, delta)
    if delta.kind != "lora":
        return None
    down, up = lora.factors(delta.map(lambda tensor: tensor.float()).tensors)
    return down, up.flatten(1) * (scale_of(delta) * weight)


def _change(target: Target, delta: Delta) -> Tensor:
    """ΔW in float64, where what a product of float32 adds to its rank is far below what is kept."""
    from .deltas import PRODUCTS

    _refuse(target, delta)
    change: Tensor = PRODUCTS[delta.kind].delta_weight(delta.map(lambda tensor: tensor.double()).tensors)
    return change * scale_of(delta)


def _refuse(target: Target, delta: Delta) -> None:
    if "magnitude" in delta.tensors:
        raise LoRAError(
            f"{target.module} is a DoRA, whose change depends on the model's weights; only a merge into a model can hold it "
            "(mezzotint lora merge FILE --into MODEL)"
        )
    left = set(delta.tensors) & {"bias", "up_bias"}
    if left:
        raise LoRAError(
            f"{target.module} changes a bias, which a LoRA made of LoRAs cannot hold; merge it into a model"
        )


def _common(all_words: Sequence[Mapping[str, str]]) -> dict[str, str]:
    """What every header says alike, and rank and alpha if any says them; the rest would not be true of the sum."""
    first, *others = all_words
    alike = {key: value for key, value in first.items() if all(words.get(key) == value for words in others)}
    return {key: words[key] for words in all_words for key in (DIM, ALPHA) if key in words} | alike


def _pairs(base: Mapping[str, Module], tuned: Mapping[str, Module]):  # type: ignore[no-untyped-def]
    for component, model in base.items():
        other = dict(tuned[component].named_modules())
        for path, module in model.named_modules():
            if getattr(module, "weight", None) is None or not hasattr(module, "bias"):
                continue
            second = other.get(path)
            if second is None or second.weight.shape != module.weight.shape:
                raise LoRAError(
                    f"the two models do not have the same shape: {component}.{path} is {tuple(module.weight.shape)} in the "
                    f"first and {'absent' if second is None else tuple(second.weight.shape)} in the second"
                )
            yield component, path, module, second
