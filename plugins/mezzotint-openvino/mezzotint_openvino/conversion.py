"""A U-Net of torch as a compiled model of OpenVINO, for fixed shapes."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import torch
from mezzotint.errors import RequestError
from torch import Tensor
from torch.utils._pytree import TreeSpec, tree_unflatten


class Flat(torch.nn.Module):
    """The U-Net as a function of tensors alone, in the order in which its arguments hold them."""

    def __init__(self, unet: Any, forward: Any, values: Sequence[Any], spec: TreeSpec) -> None:
        """`values` and `spec` are the flattened arguments; what is no tensor among them becomes a constant."""
        super().__init__()
        self.unet = unet
        self._forward = forward
        self._values = [None if isinstance(value, Tensor) else value for value in values]
        self._places = [place for place, value in enumerate(values) if isinstance(value, Tensor)]
        self._spec = spec

    def forward(self, *tensors: Tensor) -> Tensor:
        """The prediction (rows, channels, height, width)."""
        values = list(self._values)
        for place, tensor in zip(self._places, tensors, strict=True):
            values[place] = tensor
        args, kwargs = tree_unflatten(values, self._spec)
        prediction: Tensor = self._forward(*args, **kwargs)[0]
        return prediction


class Converted:
    """A compiled U-Net: tensors in, prediction out."""

    def __init__(self, request: Any, dtype: torch.dtype) -> None:
        self._request = request
        self._dtype = dtype

    def __call__(self, tensors: Sequence[Tensor]) -> Tensor:
        """The prediction (rows, channels, height, width)."""
        inputs = [_array(tensor) for tensor in tensors]
        outputs = self._request.infer(inputs, share_inputs=True, share_outputs=True)
        # The request writes its next output into the same memory.
        return torch.from_numpy(next(iter(outputs.values())).copy()).to(self._dtype)


def convert(flat: Flat, tensors: Sequence[Tensor], precision: str) -> Converted:
    """Trace, convert and compile, for exactly these shapes.

    What `openvino.convert_model` does with a torch module, without its telemetry, which would report to a server.
    """
    import openvino
    from openvino.frontend import FrontEndManager
    from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder

    example = tuple(tensor.float() if tensor.is_floating_point() else tensor for tensor in tensors)
    with warnings.catch_warnings(), torch.no_grad():
        # The tracer warns of every shape that becomes a constant; they are meant to.
        warnings.simplefilter("ignore")
        decoder = TorchScriptPythonDecoder(flat.eval(), example_input=example)
        frontend = FrontEndManager().load_by_framework("pytorch")
        model = frontend.convert(frontend.load(decoder))
    model.reshape({position: list(tensor.shape) for position, tensor in enumerate(example)})
    compiled = openvino.Core().compile_model(model, "CPU", _settings(flat.unet, precision))
    return Converted(compiled.create_infer_request(), tensors[0].dtype)


def choose_precision(wanted: str) -> str:
    """`auto` is bf16 where the CPU multiplies it natively.

    Raises:
        RequestError: bf16 on a CPU that does not.
    """
    native = wanted != "f32" and _has_bf16()
    if wanted == "bf16" and not native:
        raise RequestError(
            "openvino: this CPU has no native bfloat16 (AMX or AVX512-BF16); use precision f32, or auto"
        )
    return "bf16" if native else "f32"


def _has_bf16() -> bool:
    import openvino

    return "BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def _settings(unet: Any, precision: str) -> dict[str, Any]:
    settings: dict[str, Any] = {
        "INFERENCE_PRECISION_HINT": precision,
        "INFERENCE_NUM_THREADS": torch.get_num_threads(),
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": 1,
    }
    if unet.config.resnet_time_scale_shift == "scale_shift":
        # OpenVINO 2026.4 crashes on AVX2 while it fuses norm, scale and shift into one kernel.
        settings["SNIPPETS_MODE"] = "DISABLE"
    return settings


def _array(tensor: Tensor) -> Any:
    tensor = tensor.float() if tensor.is_floating_point() else tensor
    return tensor.detach().contiguous().numpy()
