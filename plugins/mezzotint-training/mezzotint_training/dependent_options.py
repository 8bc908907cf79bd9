"""Options that do something only where another option is set so; alone they would be read over in silence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter, ValidationError

if TYPE_CHECKING:
    from .settings import TrainingSettings

_INSTEAD = {"steps": "epochs", "epochs": "steps"}
"""How long is said by one of them."""


@dataclass(frozen=True)
class Needs:
    """What options need to do anything."""

    options: tuple[str, ...]
    other: str
    """The option that decides."""
    values: tuple[object, ...] = ()
    """Of the other; without any, it has to be set to something that is neither 0 nor false."""

    def is_met(self, value: object) -> bool:
        """Whether the options do something where the other has this value."""
        return value in self.values if self.values else bool(value)

    def refusal(self, option: str, value: object) -> str:
        """Why an option does nothing where the other has this value, as a sentence."""
        if self.values:
            return f"{option} goes with {self.other}={' or '.join(map(str, self.values))}, not {value}"
        return f"{option} does nothing without {self.other}; set {self.other} too, or leave {option} out"


def asked_for(settings: TrainingSettings) -> set[str]:
    """Names of what is set, and not to nothing: `None`, 0 or false."""
    return {name for name in settings.model_fields_set if getattr(settings, name)}


def check_dependent(settings: TrainingSettings) -> None:
    """Refuse what is set and does nothing.

    Raises:
        ValueError: an option lacks what it needs, or two stand in place of one another.
    """
    asked = asked_for(settings)
    for name, other in _INSTEAD.items():
        if {name, other} <= asked:
            raise ValueError(f"{name} and {other} both say how long to train; leave one of them out")
    for need in settings.needs:
        value = getattr(settings, need.other)
        for option in need.options:
            if option in asked and not need.is_met(value):
                raise ValueError(need.refusal(option, value))


def laid_over(
    below: Mapping[str, Any], above: Mapping[str, Any], model: type[TrainingSettings]
) -> dict[str, Any]:
    """Options from two places, of which those above count.

    What is below goes where it has nothing left to do: `validate_every` where `validation` is set to 0 above, `steps` where
    there are `epochs` above.
    """
    replaced = {_INSTEAD[name] for name, value in above.items() if name in _INSTEAD and value is not None}
    idle = {
        option
        for need in model.needs
        if need.other in above and not need.is_met(_as_read(model, need.other, above[need.other]))
        for option in need.options
    }
    return {**{name: value for name, value in below.items() if name not in replaced | idle}, **above}


def _as_read(model: type[TrainingSettings], name: str, value: object) -> object:
    """The value as the model reads it, `"0"` as 0; what it does not take stays, and the model will say so."""
    try:
        return TypeAdapter(model.model_fields[name].annotation).validate_python(value)
    except ValidationError:
        return value
