"""A fingerprint of a model: everything that a hook could leave behind, hashed."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.nn import Module

from ..pipeline.pipeline import Pipeline

_TORCH_STATE = {"_parameters", "_buffers", "_modules", "_non_persistent_buffers_set"}


@dataclass(frozen=True, eq=False)
class Fingerprint:
    """What `fingerprint` found. Two compare equal if nothing differs; `a.diff(b)` says what does."""

    entries: Mapping[str, str]
    _alive: tuple[object, ...] = field(default=(), repr=False)
    """What identities refer to, kept so that none of them is given to something else."""

    def diff(self, other: Fingerprint) -> list[str]:
        """Keys that differ, with both values; empty if equal."""
        keys = sorted(self.entries.keys() | other.entries.keys())
        return [
            f"{key}: {self.entries.get(key, 'absent')} → {other.entries.get(key, 'absent')}"
            for key in keys
            if self.entries.get(key) != other.entries.get(key)
        ]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Fingerprint) and not self.diff(other)

    __hash__ = None  # type: ignore[assignment]


def fingerprint(model: Module | Pipeline) -> Fingerprint:
    """Fingerprint of a module, or of all models of a pipeline and its scheduler's configuration.

    Covers, for every module of the tree: class and identity; parameters and buffers with bytes, dtype, shape,
    device, `requires_grad` and identity; `training`; the instance's own attributes, among them `forward`,
    attention processors and whatever a patch adds; forward and backward hooks; the configuration.
    """
    if isinstance(model, Module):
        entries, alive = _module(model)
        return Fingerprint(entries, tuple(alive))
    all_entries = {f"scheduler.{name}": _plain(value) for name, value in vars(model.scheduler).items()}
    all_alive: list[object] = [model.scheduler]
    for name, encoder in model.text_encoders.items():
        all_entries[f"{name}: tokenizer"] = f"{id(encoder.tokenizer)} {len(encoder.tokenizer)}"
        all_alive.append(encoder.tokenizer)
    for name, module in model.components.modules.items():
        entries, alive = _module(module)
        all_entries |= {f"{name}:{key}": value for key, value in entries.items()}
        all_alive += alive
    return Fingerprint(all_entries, tuple(all_alive))


def _module(model: Module) -> tuple[dict[str, str], list[object]]:
    entries: dict[str, str] = {}
    alive: list[object] = []
    for path, module in model.named_modules(remove_duplicate=False):
        alive.append(module)
        entries[f"{path}"] = f"{type(module).__qualname__} {id(module)}"
        for name, tensor in _tensors(module):
            alive.append(tensor)
            entries[f"{path}[{name}]"] = _tensor(tensor)
        entries[f"{path}.children"] = ",".join(module._modules)
        for name, value in vars(module).items():
            if name not in _TORCH_STATE:
                alive.append(value)
                entries[f"{path}.{name}"] = _value(value)
    if hasattr(model, "config"):
        entries["config"] = str(model.config)
    return entries, alive


def _tensors(module: Module) -> Iterator[tuple[str, Tensor]]:
    for name, tensor in (*module._parameters.items(), *module._buffers.items()):
        if tensor is not None:
            yield name, tensor


def _tensor(tensor: Tensor) -> str:
    plain = tensor.detach()
    if plain.device.type == "meta":
        digest = "meta"
    else:
        digest = hashlib.sha256(
            plain.cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
        ).hexdigest()[:16]
    return (
        f"{digest} {tuple(tensor.shape)} {tensor.stride()} {tensor.dtype} {tensor.device} {tensor.requires_grad} "
        f"{id(tensor)} {tensor.grad is None}"
    )


def _plain(value: Any) -> str:
    """A value by content, tensors too."""
    return str(value.tolist()) if isinstance(value, Tensor) else str(value)


def _value(value: Any) -> str:
    if isinstance(value, bool | int | float | str | type(None)):
        return repr(value)
    if isinstance(value, Mapping):
        # torch's hook dictionaries: an empty one is like any other, a full one is known by its functions.
        return str({key: _value(item) for key, item in value.items()})
    if isinstance(value, list | tuple | set | frozenset):
        return f"{type(value).__name__}({', '.join(_value(item) for item in value)})"
    if getattr(value, "__self__", None) is not None and hasattr(value, "__func__"):
        return f"method {value.__func__.__qualname__} of {id(value.__self__)}"
    return f"{type(value).__qualname__} {id(value)}"
