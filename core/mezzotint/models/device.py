"""Which device and dtype a model gets, from what the machine does fast."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import RequestError

if TYPE_CHECKING:
    import torch

DTYPES = ("float32", "float16", "bfloat16")


def choose_device(wanted: str | torch.device = "auto") -> torch.device:
    """`auto` is CUDA where there is one, then Apple's MPS, then the CPU.

    Raises:
        RequestError: torch knows no such device, or has none of that kind here.
    """
    import torch

    if wanted == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(wanted)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise RequestError(
            f"device {str(wanted)!r} cannot be used here: {reason}; here are auto, {', '.join(_devices())}"
        ) from None
    return device


def _devices() -> list[str]:
    import torch

    gpus = [f"cuda:{index}" for index in range(torch.cuda.device_count())]
    return ["cpu", *gpus, *(["mps"] if torch.backends.mps.is_available() else [])]


def choose_dtype(wanted: str | torch.dtype = "auto", device: torch.device | None = None) -> torch.dtype:
    """`auto` puts exactness first on a CPU (float32) and uses float16 on a GPU.

    Raises:
        RequestError: not float32, float16, bfloat16, auto or fast.
    """
    import torch

    on_gpu = device is not None and device.type != "cpu"
    if wanted == "auto":
        return torch.float16 if on_gpu else torch.float32
    if wanted == "fast":
        return torch.float16 if on_gpu else (torch.bfloat16 if cpu_has_fast_bf16() else torch.float32)
    if isinstance(wanted, torch.dtype) and wanted in {getattr(torch, name) for name in DTYPES}:
        return wanted
    if wanted in DTYPES:
        chosen: torch.dtype = getattr(torch, str(wanted))
        return chosen
    raise RequestError(f"dtype must be auto, fast, {', '.join(DTYPES)}, not {wanted!r}")


def cpu_has_fast_bf16() -> bool:
    """Whether this CPU multiplies bfloat16 natively (AVX512-BF16 or AMX); elsewhere it is up to 28 times slower."""
    import torch

    cpu = torch.cpu
    return any(
        getattr(cpu, check, lambda: False)()
        for check in ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    )
