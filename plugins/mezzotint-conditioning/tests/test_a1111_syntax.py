"""Reading the web UI's prompt syntax: weights, editing, alternation, BREAK, chunks, without a model."""

from __future__ import annotations

import random

import pytest
from mezzotint.errors import RequestError
from mezzotint_conditioning.a1111.chunks import make_chunks
from mezzotint_conditioning.a1111.parse import parse
from mezzotint_conditioning.a1111.schedule import Break, Fragment, at_step, changes
from mezzotint_conditioning.a1111.tree import Text


def pieces(text, step=1, count=10):
    return [
        "BREAK" if isinstance(piece, Break) else (piece.text, pytest.approx(piece.weight))
        for piece in at_step(parse(text), step, count)
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("normal text", [("normal text", 1)]),
        ("an (important) word", [("an ", 1), ("important", 1.1), (" word", 1)]),
        (r"\(literal\]", [("(literal]", 1)]),
        ("(unnecessary)(parens)", [("unnecessaryparens", 1.1)]),
        (
            "a (((house:1.3)) [on] a (hill:0.5), sun, (((sky)))).",
            [
                ("a ", 1),
                ("house", 1.3 * 1.1 * 1.1),
                (" ", 1.1),
                ("on", 1),
                (" a ", 1.1),
                ("hill", 0.5 * 1.1),
                (", sun, ", 1.1),
                ("sky", 1.1**4),
                (".", 1),
            ],
        ),
        ("(a:b:1.5)", [("a:b", 1.5)]),
        ("(a: 1.5 )", [("a", 1.5)]),
        ("(a:-.5)", [("a", -0.5)]),
        ("(style: anime)", [("style: anime", 1.1)]),
        ("[a]", [("a", 1 / 1.1)]),
        ("[a: b]", [("a: b", 1 / 1.1)]),
        ("a: b | c", [("a: b | c", 1)]),
        (r"a\:b \| c\\d \x \\", ["a:b | c\\d \\x \\"]),
        ("", [("", 1)]),
    ],
)
def test_text_and_weights(text, expected):
    assert pieces(text) == [(each, 1) if isinstance(each, str) else each for each in expected]


@pytest.mark.parametrize(
    ("text", "by_last_step"),
    [
        ("test", {10: "test"}),
        ("a [b:3]", {3: "a ", 10: "a b"}),
        ("a [b: 3]", {3: "a ", 10: "a b"}),
        ("a [b::3] c", {3: "a b c", 10: "a  c"}),
        ("a [b : c : 1] d", {1: "a b  d", 10: "a  c  d"}),
        ("a[b:[c:d:2]:1]e", {1: "abe", 2: "ace", 10: "ade"}),
        ("a [b:.5] c", {5: "a  c", 10: "a b c"}),
        ("a [b:1.0] c", {10: "a  c"}),
        ("a [b:0] c", {10: "a b c"}),
        ("a [b:99] c", {10: "a  c"}),
        ("[fe|]male", {1: "female", 2: "male", 3: "female", 4: "male"}),
        ("[a|b|c]", {1: "a", 2: "b", 3: "c", 4: "a"}),
    ],
)
def test_editing_and_alternation_as_the_web_ui_documents_them(text, by_last_step):
    """Steps are counted from 1, and an entry is in effect up to its step."""
    first = 1
    for last, expected in by_last_step.items():
        for step in range(first, last + 1):
            assert "".join(piece.text for piece in at_step(parse(text), step, 10)) == expected
        first = last + 1


def test_weights_inside_editing_and_editing_inside_weights():
    assert pieces("[(a:2):b:3]", 1) == [("a", 2)]
    assert pieces("([a|b]:1.5)", 2) == [("b", 1.5)]
    assert changes(parse("([a|b]:1.5)"))
    assert not changes(parse("[a] (b:2) BREAK c"))


def test_break_ends_a_chunk_also_inside_brackets():
    assert pieces("a BREAK b") == [("a", 1), "BREAK", ("b", 1)]
    assert pieces("(a BREAK b)") == [("a", 1.1), "BREAK", ("b", 1.1)]
    assert pieces("a BREAKFAST") == [("a BREAKFAST", 1)]


def reference(text):
    """Weight of every letter, counted with a stack of multipliers: another way than the parser's tree."""
    closing = {}
    stack = []
    for position, letter in enumerate(text):
        if letter in "([":
            stack.append(position)
        elif letter in ")]":
            closing[stack.pop()] = position
    weights = {}
    for position, letter in enumerate(text):
        if letter.isalpha():
            weight = 1.0
            for start, end in closing.items():
                if start < position < end:
                    number = text[start:end].rpartition(":")[2]
                    own = text[start] == "(" and number.replace(".", "").isdigit()
                    weight *= float(number) if own else 1.1 if text[start] == "(" else 1 / 1.1
            weights[position] = weight
    return list(weights.values())


def random_prompt(rng, depth=0):
    text = ""
    for _ in range(rng.randint(1, 3)):
        kind = rng.choice("aaa([") if depth < 4 else "a"
        if kind == "a":
            text += rng.choice(["cat", "dog ", "x"])
        else:
            inside = random_prompt(rng, depth + 1) + "z"
            number = f":{rng.choice(['1.3', '0.5', '2'])}" if kind == "(" and rng.random() < 0.5 else ""
            text += f"({inside}{number})" if kind == "(" else f"[{inside}]"
    return text


@pytest.mark.parametrize("seed", range(40))
def test_nested_weights_multiply(seed):
    text = random_prompt(random.Random(seed))
    found = [
        piece.weight for piece in at_step(parse(text), 1, 1) for letter in piece.text if letter.isalpha()
    ]
    assert found == pytest.approx(reference(text))


@pytest.mark.parametrize(
    "text", ["a cat", "  two  blanks ", "émoji 🐈\n\ttab", "a: b | c; 16:9, {x} <y>", "a 1:1,2", "\\x", "\\"]
)
def test_text_without_syntax_passes_byte_for_byte(text):
    assert parse(text) == (Text(text),)
    assert at_step(parse(text), 1, 1) == (Fragment(text),)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a (cat", r"prompt 'a \(cat': '\(' at character 3 is never closed; write \\\( if it is text"),
        ("a [cat", r"'\[' at character 3 is never closed; write \\\[ if it is text"),
        ("a cat)", r"'\)' at character 6 closes nothing; write \\\) if it is text"),
        ("(a]", r"'\]' at character 3 closes nothing"),
        ("(cat:1.3x)", r"'1.3x' after the colon at character 5 is no number; write \\: if it is text"),
        ("(cat:1.2.3)", "'1.2.3' after the colon at character 5 is no number"),
        ("(cat:nan)", "'nan' after the colon at character 5 is no number"),
        ("(cat:inf)", "'inf' after the colon"),
        ("(cat:1,3)", "'1,3' after the colon at character 5 is no number"),
        ("(cat:)", "'' after the colon at character 5 is no number"),
        (f"(cat:{'9' * 400})", "is no number"),
        ("[a:b:1x]", "'1x' after the colon at character 5 is no number"),
        ("[a:b:c:3]", r"has 3 colons; editing is \[from:to:when\]"),
        ("[a:-2]", "-2 is no step at which a prompt could change"),
        ("(" * 500 + ")" * 500, "brackets are nested more than 100 deep"),
    ],
)
def test_what_cannot_be_read_is_one_sentence(text, message):
    with pytest.raises(RequestError, match=message):
        parse(text)


class Letters:
    """A tokenizer with one token a letter and room for 5."""

    model_max_length = 7

    def __call__(self, texts, **_):
        return type("Encoded", (), {"input_ids": [[ord(letter) for letter in text] for text in texts]})

    def get_vocab(self):
        return {",</w>": ord(",")}


def chunked(text, backtrack=20):
    return [
        "".join(map(chr, chunk.tokens))
        for chunk in make_chunks(at_step(parse(text), 1, 1), Letters(), backtrack)
    ]


@pytest.mark.parametrize(
    ("text", "backtrack", "expected"),
    [
        ("", 20, [""]),
        ("abc", 20, ["abc"]),
        ("abcde", 20, ["abcde"]),
        ("abcdefg", 20, ["abcde", "fg"]),
        ("ab,cdefg", 20, ["ab,", "cdefg"]),
        ("ab,cdefg", 0, ["ab,cd", "efg"]),
        ("a,bcdefg", 3, ["a,bcd", "efg"]),
        ("a,bcdefg", 4, ["a,", "bcdef", "g"]),
        ("abcd,efg", 20, ["abcd,", "efg"]),
        ("abcde,fg", 20, ["abcde", ",fg"]),
        ("ab BREAK cd", 20, ["ab", "cd"]),
        ("BREAK a", 20, ["", "a"]),
        ("a BREAK ", 20, ["a"]),
        ("a BREAK BREAK b", 20, ["a", "", "b"]),
    ],
)
def test_chunks(text, backtrack, expected):
    assert chunked(text, backtrack) == expected


def test_weights_go_with_their_tokens_into_the_chunks():
    chunks = make_chunks(at_step(parse("ab(cdef:2)g"), 1, 1), Letters())
    assert [chunk.weights for chunk in chunks] == [[1, 1, 2, 2, 2], [2, 1]]
