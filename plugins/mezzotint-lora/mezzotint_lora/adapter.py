"""What a LoRA file says, whatever its layout: for each module, one change of its weight."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from torch import Tensor

COMPONENTS = ("unet", "text_encoder", "text_encoder_2")
"""The models of a pipeline that an adapter may change, by diffusers' names."""


class Target(NamedTuple):
    """The module that a delta is for."""

    component: str
    """One of `COMPONENTS`."""
    module: str
    """As the file spells it: `mid_block.attentions.0.proj_in`, or kohya's `mid_block_attentions_0_proj_in`."""


@dataclass(frozen=True, eq=False)
class Delta:
    """The change of one module's weight.

    Kinds and the tensors of each, in the order of the factors in the product:

    | kind | tensors | ΔW |
    |---|---|---|
    | `lora` | `down` (r, in, …), `up` (out, r, …), `mid` (r, r, kh, kw), `up_bias` (out) | up·mid·down·α/r |
    | `loha` | `w1_a`, `w1_b`, `w2_a`, `w2_b`, `t1`, `t2` | (w1a·w1b) ∘ (w2a·w2b)·α/r |
    | `lokr` | `w1` or `w1_a`, `w1_b`; `w2` or `w2_a`, `w2_b`, `t2` | w1 ⊗ w2·α/r |
    | `full` | `weight`, `bias` | weight |
    | `norm` | `weight`, `bias` | weight, of a normalisation |

    `magnitude` beside the first three makes it DoRA: the new length of each row (or column) of W + ΔW.
    """

    kind: str
    tensors: Mapping[str, Tensor]
    alpha: float | None = None
    """As the file has it, the factor being alpha / rank; `None` or 0 where it has none, which means the rank."""
    keys: tuple[str, ...] = ()
    """The keys of the file that it was read from."""

    def map(self, change: Callable[[Tensor], Tensor]) -> Delta:
        """The same delta with every tensor changed."""
        return replace(self, tensors={name: change(tensor) for name, tensor in self.tensors.items()})


@dataclass(frozen=True, eq=False)
class Adapter:
    """A LoRA file as data. `read_adapter` makes it, `write_adapter` takes it."""

    deltas: Mapping[Target, Delta]
    metadata: Mapping[str, str] = field(default_factory=dict)
    """The header's own words: `ss_…`, `modelspec.…`."""
    layout: str = "kohya"
    """The layout it was read from."""
    unread: Mapping[str, str] = field(default_factory=dict)
    """Keys that no part of the layout explains, with what is wrong about each."""

    @property
    def components(self) -> tuple[str, ...]:
        """The models that it changes."""
        present = {target.component for target in self.deltas}
        return tuple(component for component in COMPONENTS if component in present)

    def of(self, component: str) -> dict[str, Delta]:
        """The deltas of one model by module."""
        return {
            target.module: delta for target, delta in self.deltas.items() if target.component == component
        }
