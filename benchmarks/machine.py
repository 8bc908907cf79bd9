"""What every measurement prints first: the CPU and its features, threads, versions."""

from __future__ import annotations


def describe_machine() -> str:
    """Two lines: processor and features; torch, diffusers and threads."""
    import diffusers
    import torch
    from mezzotint_blocks.speed.machine import this_machine

    machine = this_machine(torch.device("cpu"))
    return (
        f"CPU {machine.name}; features: {' '.join(machine.flags) or 'none known'}\n"
        f"torch {torch.__version__}, {machine.threads} threads; diffusers {diffusers.__version__}"
    )
