"""What the CPU or GPU at hand does fast."""

from __future__ import annotations

import logging
import os
import platform
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mezzotint.models.device import cpu_has_fast_bf16

if TYPE_CHECKING:
    import torch

logger = logging.getLogger("mezzotint")

FLAGS = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "amx_int8", "asimd", "bf16", "i8mm")
"""CPU features that decide what is fast, by their names in /proc/cpuinfo."""


@dataclass(frozen=True)
class Machine:
    """The device that a model is on, as far as choices depend on it."""

    device: str
    """`cpu`, `cuda` or `mps`."""
    name: str
    flags: tuple[str, ...]
    """Of the CPU."""
    threads: int
    fast_bf16: bool
    """Whether bfloat16 is multiplied natively."""
    onednn: bool
    """Whether torch has oneDNN."""
    load: float
    """Processes that want the CPU, averaged over the last minute; 0 where the system does not say."""

    def __str__(self) -> str:
        flags = " ".join(self.flags) or "no flags known"
        return f"{self.name} ({flags}), {self.threads} threads, load {self.load:.1f}"


def this_machine(device: torch.device) -> Machine:
    """The machine that a model on this device runs on."""
    import torch

    name, flags = _cpu()
    return Machine(
        device.type,
        torch.cuda.get_device_name(device) if device.type == "cuda" else name,
        flags,
        torch.get_num_threads(),
        _has_fast_bf16(device),
        torch.backends.mkldnn.is_available(),
        os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0,
    )


def warn_of_slow_bf16(device: torch.device) -> None:
    """Say that bfloat16 is slow here, where it is."""
    if not _has_fast_bf16(device):
        logger.warning(
            "bf16: this %s has no native bfloat16 (AMX, AVX512-BF16), so it is likely slower than float32",
            device.type,
        )


def _has_fast_bf16(device: torch.device) -> bool:
    import torch

    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return device.type == "cpu" and cpu_has_fast_bf16()


def _cpu() -> tuple[str, tuple[str, ...]]:
    name, flags = platform.processor() or platform.machine(), set[str]()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            key, _, value = line.partition(":")
            if key.strip() in ("flags", "Features"):
                flags |= set(value.split())
            elif key.strip() == "model name":
                name = value.strip()
    return name, tuple(flag for flag in FLAGS if flag in flags)
