"""Options that do something only where another option is set so; alone they would be read over in silence."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, TypeAdapter, ValidationError, create_model

if TYPE_CHECKING:
    from .settings import TrainingSettings


@dataclass(frozen=True)
class Needs:
    """What options need to do anything."""

    options: tuple[str, ...]
    others: tuple[str, ...]
    """The options that decide; one of them is enough."""
    values: tuple[object, ...] = ()
    """Of the others; without any, one has to be set to something that is neither 0 nor false."""
    or_pictures: bool = False
    """Whether pictures may bring what is needed, as a subset of kohya's TOML does; then `prepare` checks it."""

    def is_met(self, value_of: Callable[[str], object]) -> bool:
        """Whether the options do something where the others have these values."""
        values = map(value_of, self.others)
        return any(value in self.values if self.values else bool(value) for value in values)

    def refusal(self, option: str, value_of: Callable[[str], object]) -> str:
        """Why an option does nothing where the others have these values, as a sentence."""
        if self.values:
            (other,) = self.others
            return f"{option} goes with {other}={' or '.join(map(str, self.values))}, not {value_of(other)}"
        what = self.others[0] if len(self.others) == 1 else "one of them"
        return (
            f"{option} does nothing without {' or '.join(self.others)}; set {what} too, or leave {option} out"
        )


def asked_for(settings: TrainingSettings) -> set[str]:
    """Names of what is set to something else than its default, which asks for nothing."""
    fields = type(settings).model_fields
    return {
        name
        for name in settings.model_fields_set
        if getattr(settings, name) != fields[name].get_default(call_default_factory=True)
    }


def check_dependent(settings: TrainingSettings) -> None:
    """Refuse what is set and does nothing, except what pictures may give something to do.

    Raises:
        ValueError: an option lacks what it needs, or two stand in place of one another.
    """
    asked = asked_for(settings)
    for first, second, sentence in settings.alternatives:
        if {first, second} <= asked:
            raise ValueError(f"{sentence}; leave one of them out")
    for need, option in unmet(settings):
        if not need.or_pictures:
            raise ValueError(need.refusal(option, partial(getattr, settings)))


def unmet(settings: TrainingSettings) -> Iterator[tuple[Needs, str]]:
    """Options that are set and lack what they need among the others."""
    asked = asked_for(settings)
    for need in settings.needs:
        if not need.is_met(partial(getattr, settings)):
            yield from ((need, option) for option in need.options if option in asked)


def laid_over(
    below: Mapping[str, Any], above: Mapping[str, Any], model: type[TrainingSettings]
) -> dict[str, Any]:
    """Options from two places, of which those above count.

    What is below goes where what is above leaves it nothing to do: `validate_every` where `validation` is set to 0 above,
    `steps` where there are `epochs` above.
    """
    idle = {
        other
        for first, second, _ in model.alternatives
        for name, other in ((first, second), (second, first))
        if above.get(name) is not None
    }
    before = partial(_as_read, model, below)
    after = partial(_as_read, model, {**below, **above})
    for need in model.needs:
        decided = any(other in above for other in need.others) and not need.is_met(after)
        if decided and (not need.or_pictures or need.is_met(before)):
            idle.update(need.options)
    return {**{name: value for name, value in below.items() if name not in idle}, **above}


def check_values(model: type[TrainingSettings], values: Mapping[str, Any]) -> None:
    """Check values each by itself, of options that the model has.

    Raises:
        ValidationError: one is of the wrong type or out of bounds.
    """
    fields: dict[str, Any] = {
        name: (model.model_fields[name].annotation, model.model_fields[name]) for name in values
    }
    apart: type[BaseModel] = create_model(model.__name__, **fields)
    apart(**values)


def _as_read(model: type[TrainingSettings], values: Mapping[str, Any], name: str) -> object:
    """A value as the model reads it, `"0"` as 0, or its default; what it does not take stays, and the model will say so."""
    field = model.model_fields[name]
    value = values.get(name, field.get_default(call_default_factory=True))
    try:
        return TypeAdapter(field.annotation).validate_python(value)
    except ValidationError:
        return value
