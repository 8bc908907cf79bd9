"""ControlNet-Union: one network for several kinds of control, alone or together (xinsir 2024, ControlNet++)."""

from __future__ import annotations

import ast
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from mezzotint import Conditioning, Field
from mezzotint.errors import RequestError
from mezzotint.pictures import as_picture_for_each
from pydantic import BeforeValidator

from .controlnet import ControlNet, Prepared, Rows, SplitControlNet, split_controlnet
from .image_control import to_tensor
from .networks import load_network

if TYPE_CHECKING:
    from mezzotint import Run
    from torch import Tensor

TYPES = {
    "openpose": 0,
    "depth": 1,
    "hed": 2,
    "softedge": 2,
    "scribble": 2,
    "canny": 3,
    "lineart": 3,
    "mlsd": 3,
    "normal": 4,
    "segment": 5,
    "tile": 6,
    "repaint": 7,
}
"""Kind of control → its number in xinsir's networks; tile and repaint in the larger one (ProMax)."""


def _pictures(value: Any) -> Any:
    if isinstance(value, str):
        value = _from_command_line(value)
    if not isinstance(value, dict) or not value:
        raise ValueError("give a picture for each kind of control, such as {'canny': 'edges.png'}")
    numbers = [TYPES.get(str(kind), kind) for kind in value]
    unknown = [kind for kind in value if not str(TYPES.get(str(kind), kind)).isdecimal()]
    if unknown:
        raise ValueError(f"no kind of control {unknown[0]!r}; there are {', '.join(TYPES)}, and numbers")
    if len({int(number) for number in numbers}) < len(numbers):
        raise ValueError(f"two of {', '.join(map(str, value))} are one kind to the network")
    return {str(kind): as_picture_for_each(picture) for kind, picture in value.items()}


def _from_command_line(text: str) -> Any:
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


class ControlNetUnion(ControlNet, name="controlnet-union"):
    """Guide by one or several kinds of control with a single network."""

    image: Annotated[dict[str, Path | Any], BeforeValidator(_pictures)] = Field(
        description="control picture for each kind, {'canny': 'edges.png', 'depth': 'depth.png'}"
    )

    def _prepare(self, run: Run) -> Prepared:
        finish = partial(split_controlnet, pipe=run.pipe)
        controlnet: SplitControlNet = load_network(run.pipe, self.model, "ControlNetUnionModel", finish)
        self._check_layer_weights(controlnet)
        known = controlnet.network.config.num_control_type
        for kind, number in zip(self.image, self._numbers(), strict=True):
            if number >= known:
                raise RequestError(
                    f"{self.extension_name}: {kind} is kind {number}, and {self.model} has {known}, from 0"
                )
        maps = {kind: self.control_maps(run, picture, kind) for kind, picture in self.image.items()}
        run.publish(self, maps=maps)
        pictures = tuple(to_tensor(several, controlnet.channels, run) for several in maps.values())
        return Prepared(controlnet, pictures, self.region(run))

    def _call(
        self, prepared: Prepared, sample: Tensor, timestep: Tensor, conditioning: Conditioning, rows: Rows
    ) -> list[Tensor]:
        network = prepared.controlnet.network
        kinds = sample.new_zeros((len(sample), network.config.num_control_type))
        kinds[:, self._numbers()] = 1
        hints = prepared.hints(len(rows.chosen), rows.n)
        scale, guess = self._inside(prepared.controlnet)
        down, mid = network(
            sample,
            timestep,
            encoder_hidden_states=conditioning.embeddings,
            controlnet_cond=list(hints),
            control_type=kinds,
            control_type_idx=self._numbers(),
            conditioning_scale=[scale] * len(hints),
            guess_mode=guess,
            added_cond_kwargs=dict(conditioning.added) or None,
            return_dict=False,
        )
        return [*down, mid]

    def _numbers(self) -> list[int]:
        return [int(TYPES.get(kind, kind)) for kind in self.image]
