"""What an extension tells: a warning by that word, a note as it stands, and nothing of a note where it should be quiet."""

from __future__ import annotations

import logging

import pytest
from mezzotint.cli.open_model import show_warnings


@pytest.fixture(autouse=True)
def as_before():
    logger = logging.getLogger("mezzotint")
    handlers, level = list(logger.handlers), logger.level
    yield
    logger.handlers[:] = handlers
    logger.setLevel(level)


@pytest.mark.parametrize(
    ("notes", "printed"), [(True, "picked it\nwarning: too long\n"), (False, "warning: too long\n")]
)
def test_notes_are_printed_where_they_are_wanted_and_each_once(capsys, notes, printed):
    show_warnings(notes=notes)
    for _ in range(2):
        logging.getLogger("mezzotint").info("picked it")
        logging.getLogger("mezzotint").warning("too long")
    assert capsys.readouterr().err == printed
