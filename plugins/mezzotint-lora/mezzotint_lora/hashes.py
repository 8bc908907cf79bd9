"""The hashes that kohya's files carry: `sshs_model_hash` and the older `sshs_legacy_hash`.

Source: kohya-ss/sd-scripts `library/train_util.py` (`precalculate_safetensors_hashes`, `addnet_hash_safetensors`,
`addnet_hash_legacy`): SHA-256 of the tensors' bytes, and of 64 KiB at 1 MiB of a file with the `ss_` words alone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


KEYS = ("sshs_model_hash", "sshs_legacy_hash")


def without_hashes(metadata: Mapping[str, str]) -> dict[str, str]:
    """The metadata for a file of another format, of which the hashes would not be true."""
    return {key: value for key, value in metadata.items() if key not in KEYS}


def with_hashes(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> dict[str, str]:
    """The metadata with both hashes brought up to date, where it has `ss_` words or hashes."""
    if not any(key.startswith(("ss_", "sshs_")) for key in metadata):
        return dict(metadata)
    from safetensors.torch import save

    training = {key: value for key, value in metadata.items() if key.startswith("ss_")}
    data = save({key: tensor.contiguous() for key, tensor in tensors.items()}, training)
    start = int.from_bytes(data[:8], "little") + 8
    whole = hashlib.sha256(data[start:]).hexdigest()
    legacy = hashlib.sha256(data[0x100000 : 0x100000 + 0x10000]).hexdigest()[:8]
    return {**metadata, "sshs_model_hash": whole, "sshs_legacy_hash": legacy}
