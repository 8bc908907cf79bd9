"""Options of a command that are declared once, as the fields of a model."""

from typing import Annotated

import click
import pytest
from click.testing import CliRunner
from mezzotint.cli.model_options import given, options_of
from pydantic import BaseModel, Field


class Settings(BaseModel):
    only: tuple[str, ...] | None = None
    skip: tuple[Annotated[str, Field(min_length=1)], ...] = ()
    betas: tuple[float, float] = (0.9, 0.99)
    rate: float = 1.0
    flip: bool = False


def read(*arguments: str) -> dict[str, object]:
    @click.command()
    @options_of(Settings)
    def command(**values: object) -> None:
        read.found = given(Settings, values)

    result = CliRunner().invoke(command, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return read.found


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("attn1", ["attn1"]),
        ("attn1,", ["attn1"]),
        ("attn1, attn2", ["attn1", "attn2"]),
        ("blocks.{1,2}", ["blocks.{1,2}"]),
        ("(a,b),x[cd]", ["(a,b)", "x[cd]"]),
        ('["a,b", "c"]', ["a,b", "c"]),
        ("a,,b", ["a", "", "b"]),  # for the model to refuse
    ],
)
def test_a_list_of_words_has_commas_between(text, expected):
    assert read("--only", text, "--skip", text) == {"only": expected, "skip": expected}


def test_what_is_given_is_ready_for_the_model_and_the_rest_is_left_out():
    assert read() == {}
    values = read("--betas", "0.8,0.95", "--rate", "1e-3", "--flip")
    assert Settings(**values) == Settings(betas=(0.8, 0.95), rate=1e-3, flip=True)
