"""Attention of few places while training in half precision on a CPU: the same numbers by another way."""

from __future__ import annotations

import pytest
import torch
from mezzotint_training.attention import AttentionOfFewPlaces
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from torch.utils._python_dispatch import TorchDispatchMode


class Operations(TorchDispatchMode):
    """Collects the names of what PyTorch computes."""

    def __enter__(self):
        self.names = set()
        return super().__enter__()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.names.add(func.__name__)
        return func(*args, **(kwargs or {}))

    @property
    def fused(self) -> bool:
        return any("flash_attention" in name for name in self.names)


def inputs(dtype: torch.dtype, queries: int = 64, keys: int = 24) -> list[Tensor]:
    torch.manual_seed(0)
    return [torch.randn(2, 3, n, 32, dtype=dtype, requires_grad=True) for n in (queries, keys, keys)]


def gradients(tensors: list[Tensor], **options) -> list[Tensor]:
    attended = scaled_dot_product_attention(*tensors, **options)
    return [attended.detach(), *torch.autograd.grad(attended.float().square().sum(), tensors)]


KEPT = (torch.arange(24) < 20)[None]


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"is_causal": True},
        {"scale": 0.5},
        {"attn_mask": torch.zeros(1, 24).masked_fill(~KEPT, -torch.inf)},
        {"attn_mask": KEPT},
    ],
    ids=["plain", "causal", "scale", "mask", "bool mask"],
)
def test_the_same_numbers_as_the_fused_one(options):
    tensors = inputs(torch.bfloat16)
    exact = gradients([tensor.detach().float().requires_grad_() for tensor in tensors], **options)
    if "attn_mask" in options and options["attn_mask"].dtype != torch.bool:
        options = {"attn_mask": options["attn_mask"].bfloat16()}
    with AttentionOfFewPlaces():
        found = gradients(tensors, **options)
    for ours, right in zip(found, exact, strict=True):
        # What bfloat16 can tell apart, a few times.
        assert torch.allclose(ours.float(), right, rtol=0, atol=0.02 * float(right.abs().max()))


def test_few_places_are_computed_step_by_step():
    with AttentionOfFewPlaces(), Operations() as operations:
        gradients(inputs(torch.bfloat16))
    assert not operations.fused


@pytest.mark.parametrize(
    ("tensors", "why"),
    [
        (inputs(torch.float32), "the fused one is as fast in float32"),
        (inputs(torch.bfloat16, 512, 256), "many places"),
    ],
    ids=["float32", "many places"],
)
def test_elsewhere_the_fused_one_stays(tensors, why):
    with AttentionOfFewPlaces(), Operations() as operations:
        gradients(tensors)
    assert operations.fused, why


def test_without_gradients_the_fused_one_stays():
    with AttentionOfFewPlaces(), Operations() as operations, torch.no_grad():
        scaled_dot_product_attention(*inputs(torch.bfloat16))
    assert operations.fused


def test_a_step_of_training_uses_it(pipe, pictures, tmp_path):
    from bias_trainee import training_biases
    from mezzotint_training import TrainingSettings, prepare, train

    settings = TrainingSettings(
        batch_size=2, steps=1, tensorboard=False, mixed_precision="bf16", gradient_checkpointing=True
    )
    data = prepare(pictures((32, 32), (32, 32)), settings, pipe)
    seen = set()

    class Watched(torch.overrides.TorchFunctionMode):
        def __torch_function__(self, func, types, args=(), kwargs=None):
            if func is torch.nn.functional.scaled_dot_product_attention and torch.is_grad_enabled():
                seen.add("fused")
            return func(*args, **(kwargs or {}))

    with Watched(), training_biases(pipe, data.settings) as trainee:
        train(trainee, data, tmp_path / "a.safetensors", quiet=True)
    assert not seen
