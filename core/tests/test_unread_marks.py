"""Signs in a prompt that nothing in use reads are said once; ordinary text is not."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from mezzotint import Extension, PromptMark, Registry, hookimpl
from mezzotint.hooks.prompt_marks import CHUNK, COMPOSITION, EDIT, LORA_TAG, WEIGHT, WELL_KNOWN
from mezzotint.plugins.discovery import Owner, PluginRow, State
from mezzotint.plugins.unread_marks import hint_at_unread_marks


class Emphasis(Extension, name="emphasis"):
    reads = (WEIGHT, EDIT)


class Tags(Extension, name="tags"):
    reads = (LORA_TAG,)

    folder: Path
    fuse: bool = False


class Wildcards(Extension, name="wildcards"):
    reads = (PromptMark("a wildcard", r"__\w+__"),)


class Provides:
    @hookimpl
    def extensions(self):
        return [Emphasis, Tags, Wildcards]


@pytest.mark.parametrize(
    ("text", "mark"),
    [
        ("a (red:1.2) cat", WEIGHT),
        ("a (red cat, sitting:.8)", WEIGHT),
        ("((red:1.2)) cat", WEIGHT),
        ("a (red:2)", WEIGHT),
        ("(photo 2:1.5)", WEIGHT),
        ("a [cat:dog:0.5]", EDIT),
        ("a [cat::0.5]", EDIT),
        ("a [:cat:0.5]", EDIT),
        ("a [cat:10]", EDIT),
        ("a [(red:1.1) cat:dog:.5]", EDIT),
        ("a [cat|dog]", EDIT),
        ("a cat BREAK a dog", CHUNK),
        ("a cat,\nBREAK\na dog", CHUNK),
        ("a cat, BREAK, a dog", CHUNK),
        ("a cat <lora:line:0.8>", LORA_TAG),
        ("<lyco:line>", LORA_TAG),
        ("a cat AND a dog", COMPOSITION),
        ("a cat :1.2 AND a dog :0.8", COMPOSITION),
    ],
)
def test_signs_are_found(text, mark):
    assert mark.find([text]) is not None


@pytest.mark.parametrize(
    "text",
    [
        "a ghost",
        "a ghost (white)",
        "((a ghost)), [blurred]",
        "a poster (16:9)",
        "at night (10:30)",
        "a scroll (John 3:16)",
        "a cat (so cute :3)",
        "at dusk [18:45]",
        r"a smiley \(nose:1.2\)",
        "A CAT AND A DOG",
        "a poster that says FISH AND CHIPS",
        "a sign: TAKE A BREAK",
        "a sign: THE BREAK ROOM",
        "a brand and a breakfast, BRAND, BREAKFAST",
        "a <b> c",
        "ratio 1:2 | 3:4",
    ],
)
def test_ordinary_text_has_none(text):
    assert [mark.name for mark in WELL_KNOWN if mark.find([text])] == []


@pytest.mark.parametrize("start", ["(a:", "[a:", "(a", "[a|", "<lora:", "[::", "((", "[[", "AND "])
@pytest.mark.parametrize("rest", ["1", "a", "(", "[", "|", ":", "1."])
def test_a_long_text_takes_no_time(start, rest):
    text = start + rest * 20_000
    began = time.process_time()
    for mark in WELL_KNOWN:
        mark.find([text])
    assert time.process_time() - began < 1


def hint(texts, *in_use, rows=()):
    registry = Registry.load([Provides()], entry_points=[])
    registry.rows += rows
    return hint_at_unread_marks(texts, in_use, registry)


def test_who_reads_it_is_said_with_how_to_switch_it_on():
    assert hint(["a (red:1.2) cat", "a [cat:dog:0.5]"]) == (
        "'(red:1.2)' (a weight), '[cat:dog:0.5]' (prompt editing): plain words unless emphasis "
        "(--emphasis, in Python use=[Emphasis()]) is in use"
    )
    assert "unless tags (--tags FOLDER, in Python use=[Tags(folder=…)]) is in use" in hint(["<lora:a:1>"])


def test_an_extension_in_use_reads_its_own_signs_alone():
    assert hint(["a (red:1.2) cat"], Emphasis()) is None
    assert "'<lora:a:1>'" in hint(["a (red:1.2) cat <lora:a:1>"], Emphasis())


def test_a_plugins_own_signs_are_known():
    assert "'__colour__' (a wildcard): plain words unless wildcards" in hint(["a __colour__ cat"])


def test_what_to_install_is_said():
    bare = Registry.load(entry_points=[])
    assert hint_at_unread_marks(["<lora:a:1>"], [], bare) == (
        "'<lora:a:1>' (a LoRA tag): plain words without an extension that reads that; "
        "pip install mezzotint-lora brings one"
    )
    off = PluginRow(
        Owner("lora", "mezzotint-lora", "0.1"), State.DISABLED, "", "disabled by MEZZOTINT_DISABLE"
    )
    bare.rows.append(off)
    assert "as plugin lora (mezzotint-lora 0.1) is disabled (disabled by MEZZOTINT_DISABLE)" in (
        hint_at_unread_marks(["<lora:a:1>"], [], bare) or ""
    )
    assert "as no extension reads that" in (hint_at_unread_marks(["a cat AND a dog"], [], bare) or "")


def test_a_run_says_it_once(pipe, caplog):
    pipe(["a (red:1.2) cat", "a (blue:1.3) cat"], negative="(bad:1.4)", steps=2, n=2)
    assert [record.getMessage() for record in caplog.records] == [
        "'(red:1.2)' (a weight): plain words without an extension that reads that; "
        "pip install mezzotint-conditioning brings one"
    ]
    caplog.clear()
    pipe("a (red) cat AND more".upper(), steps=1)
    pipe.plan("a (red:1.2) cat")
    assert "plain words" not in caplog.text


def test_a_negative_prompt_counts(pipe, caplog):
    pipe("a cat", negative="(bad:1.4)", steps=1)
    assert "'(bad:1.4)'" in caplog.text
