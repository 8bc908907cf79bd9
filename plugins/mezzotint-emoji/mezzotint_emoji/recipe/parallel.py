"""Gradients of one batch on several cores: a thread a core, each with its share of the batch.

The number of shares is fixed, so that the bits do not depend on how many threads work on them. PyTorch's own threads meet after every operation, so each waits when another program has its core; these meet
once a step. It is also somewhat faster for small networks on an idle machine.
"""

import copy
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from .hardware import autocast

Loss = Callable[..., dict[str, Tensor]]
SHARES = 2


class Shares:
    """Copies of a network that share its weights but have gradients of their own."""

    def __init__(self, network: nn.Module, threads: int = SHARES, count: int = SHARES) -> None:
        self.networks = [network, *(share_weights(network) for _ in range(count - 1))]
        self.pool = ThreadPoolExecutor(threads)

    def backward(self, loss: Loss, inputs: Sequence[Tensor]) -> dict[str, Tensor]:
        """Set the gradients of the network to those of the mean of `loss(network, *inputs)["loss"]`.

        Each input has the batch as its first dimension, a multiple of the number of copies. Returns the mean
        of each scalar that `loss` names.
        """
        parts = zip(*(tensor.chunk(len(self.networks)) for tensor in inputs), strict=True)

        def run(network: nn.Module, part: Sequence[Tensor]) -> dict[str, Tensor]:
            network.zero_grad(set_to_none=True)
            with autocast():
                scalars = loss(network, *part)
            scalars["loss"].backward()
            return {name: value.detach() for name, value in scalars.items()}

        # In bf16 PyTorch's fused attention takes a third of the step: for so few places its backward pass is slow.
        with sdpa_kernel(SDPBackend.MATH):
            results = list(self.pool.map(run, self.networks, parts))
        with torch.no_grad():
            for parameter, *others in zip(*(network.parameters() for network in self.networks), strict=True):
                if parameter.grad is not None:
                    for other in others:
                        parameter.grad += other.grad
                    parameter.grad /= len(self.networks)
        return {name: torch.stack([result[name] for result in results]).mean() for name in results[0]}


def share_weights(network: nn.Module) -> nn.Module:
    """A copy whose parameters are the same memory."""
    twin = copy.deepcopy(network)
    for parameter, original in zip(twin.parameters(), network.parameters(), strict=True):
        parameter.data = original.data
    return twin
