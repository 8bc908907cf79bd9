"""Files of prompts to draw while training."""

from __future__ import annotations

import pytest
from mezzotint_training import DataError
from mezzotint_training.prompts import SamplePrompt, read_prompts


def test_a_file_that_is_not_utf8_is_named_with_its_line(tmp_path):
    (tmp_path / "prompts.txt").write_bytes("a cat\na café".encode("latin-1"))
    with pytest.raises(DataError, match=r"prompts\.txt, line 2 is not UTF-8 .*; save it as UTF-8"):
        read_prompts(tmp_path / "prompts.txt")


def test_a_byte_order_mark_is_no_part_of_a_prompt(tmp_path):
    (tmp_path / "prompts.txt").write_bytes(b"\xef\xbb\xbfa cat\r\na\xe2\x80\xa8dog --d 3\r\n")
    assert read_prompts(tmp_path / "prompts.txt") == [
        SamplePrompt("a cat"),
        SamplePrompt("a\u2028dog", seed=3),
    ]


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(DataError, match=r"prompts\.txt: No such file"):
        read_prompts(tmp_path / "prompts.txt")
