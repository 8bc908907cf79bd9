"""What this machine computes fast."""

import ctypes
import sys
from contextlib import AbstractContextManager, nullcontext

import torch

M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX = -1, -2, -4  # malloc.h of glibc


def autocast() -> AbstractContextManager:
    """bf16 where there are instructions for it; on other processors it is far slower than float32."""
    if torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported():
        return torch.autocast("cpu", torch.bfloat16)
    return nullcontext()


def keep_freed_memory() -> None:
    """Let glibc keep what is freed instead of giving it back to the kernel after each step.

    Half the time of a training step on a CPU goes into page faults otherwise.
    """
    if not sys.platform.startswith("linux"):
        return
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):
        for parameter, value in ((M_MMAP_MAX, 0), (M_TRIM_THRESHOLD, 2**31 - 1), (M_TOP_PAD, 64 << 20)):
            libc.mallopt(parameter, value)
