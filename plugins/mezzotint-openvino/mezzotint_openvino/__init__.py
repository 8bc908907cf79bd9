"""The U-Net in OpenVINO, where no other extension needs its inside."""

from collections.abc import Sequence

from mezzotint import Extension, hookimpl

from .extension import OpenVINO

__all__ = ["OpenVINO"]


@hookimpl
def extensions() -> Sequence[type[Extension]]:
    """`openvino`."""
    return [OpenVINO]
