"""Whether torch can compile for a device."""

from __future__ import annotations

import torch

MISSING = (
    "compile needs a C++ compiler, and none is installed here; install one, set CXX, or leave compile out"
)


def has_compiler(device: torch.device) -> bool:
    """For a CPU inductor writes C++; what it finds out only in the middle is found out here."""
    if device.type != "cpu":
        return True
    from torch._inductor.cpp_builder import get_cpp_compiler
    from torch._inductor.exc import InvalidCxxCompiler

    try:
        get_cpp_compiler()
    except (InvalidCxxCompiler, OSError):
        return False
    return True
