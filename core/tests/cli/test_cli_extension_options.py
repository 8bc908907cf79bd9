"""Options of extensions on the command line: values, flags, one option at a time, and the help."""

from __future__ import annotations

import pytest
from mezzotint.cli.extension_values import parse_value
from mezzotint.errors import RequestError
from mezzotint.recipes.image_files import read_recipe

FIELDS = ("path", "weight", "layers")


def used(path: str) -> list[tuple[str, dict[str, object]]]:
    return [(entry["name"], entry["options"]) for entry in read_recipe(path)["extensions"]]


@pytest.mark.parametrize(
    ("text", "positional", "named"),
    [
        ("x.safetensors,weight=0.8", ["x.safetensors"], {"weight": "0.8"}),
        ("x.safetensors, 0.8", ["x.safetensors", "0.8"], {}),
        ("'a,b.safetensors',weight=1", ["a,b.safetensors"], {"weight": "1"}),
        ('path="a=b, c"', [], {"path": "a=b, c"}),
        ("it's.safetensors", ["it's.safetensors"], {}),
        ("x,layers=[up.0, 'mid']", ["x"], {"layers": ["up.0", "mid"]}),
        ("x,layers=[1, 2]", ["x"], {"layers": [1, 2]}),
        ("", [], {}),
    ],
)
def test_a_value_is_taken_apart(text, positional, named):
    assert parse_value("stamp", text, FIELDS) == (positional, named)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("x,wieght=1", "did you mean weight?"),
        ("weight=1,x", "'x' has no name"),
        ("x,weight=1,weight=2", "twice"),
        ("'x", "' is missing"),
        ("x,layers=[a", "] is missing"),
        ("a=b.safetensors", "quote it"),
    ],
)
def test_a_malformed_value_says_what_is_wrong(text, words):
    with pytest.raises(RequestError, match=".*") as caught:
        parse_value("stamp", text, FIELDS)
    assert words in str(caught.value)


def test_a_flag_switches_on_and_leaves_the_prompt_alone(generate):
    assert generate("--seed", 1, "--brighten", "ghost").exit_code == 0
    assert used("ghost-1.png") == [("brighten", {"by": 0.5, "invert": False})]


@pytest.mark.parametrize(
    "arguments",
    [
        ["--brighten=by=0.7,invert=true"],
        ["--brighten", "by=0.7,invert=true"],
        ["--brighten=0.7,true"],
        ["--brighten-by", "0.7", "--brighten-invert"],
        ["--brighten", "--brighten-by=0.7", "--brighten-invert"],
        ["--brighten", "by=0.7", "--brighten-invert"],
    ],
)
def test_options_of_one_extension_can_be_given_in_many_ways(generate, arguments):
    result = generate("--seed", 1, *arguments, "ghost")
    assert result.exit_code == 0, result.stderr
    assert used("ghost-1.png") == [("brighten", {"by": 0.7, "invert": True})]


@pytest.mark.parametrize(
    "arguments", [["--stamp", "a", "--stamp-layers", "up.0,mid"], ["--stamp", "a,layers=[up.0,mid]"]]
)
def test_a_list_is_written_with_commas(generate, arguments):
    result = generate("ghost", "--seed", 1, *arguments)
    assert result.exit_code == 0, result.stderr
    assert used("ghost-1.png")[0][1]["layers"] == ["up.0", "mid"]


def test_an_extension_may_be_used_twice(generate):
    generate("ghost", "--seed", 1, "--stamp", "a,weight=0.8", "--stamp", "b")
    assert [options["path"] for _, options in used("ghost-1.png")] == ["a", "b"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--stamp", "a", "--stamp", "b", "--stamp-weight", "2"], "each of 2 --stamp"),
        (["--stamp", "a,weight=1", "--stamp-weight", "2"], "weight of stamp is given twice"),
        (["--stamp", "a,1", "--stamp-weight", "2"], "weight of stamp is given twice"),
        (["--stamp", "a,1,path=b"], "path is given twice"),
        (["--stamp", "a,1,[],4"], "4 values for 3 options"),
        (["--stamp-weight", "2"], "option 'path' is required"),
        (["--brighten-by", "3"], "less than or equal to 2"),
        (["--stamp"], "requires an argument"),
    ],
)
def test_what_is_not_clear_is_an_error(generate, arguments, words):
    result = generate("ghost", *arguments)
    assert result.exit_code == 2
    assert words in result.stderr


def test_help_shows_each_option_with_type_default_limits_and_description(generate):
    text = generate("--help").output
    for words in (
        "brighten: Add a constant to the final latents. (tinyplugin)",
        "--brighten-by FLOAT",
        "how much  [default: 0.5; 0<=x<=2]",
        "--brighten-invert / --no-brighten-invert",
        "--stamp PATH[,KEY=VALUE…]",
        "a file  [required]",
    ):
        assert words in text
    assert "default: []" not in text


def test_an_option_whose_name_is_taken_keeps_the_other_meaning(mezzotint, install):
    install(
        "mezzotint-clash",
        """
        from mezzotint import Extension, hookimpl
        class Lora(Extension, name="lora"):
            plus: int = 1
        class LoraPlus(Extension, name="lora-plus"):
            value: int = 1
        class Size(Extension, name="size"):
            value: int = 1
        @hookimpl
        def extensions():
            return [Lora, LoraPlus, Size]
        """,
    )
    result = mezzotint("generate", "--help")
    assert result.exit_code == 0
    assert "--lora-plus has another meaning here; write --lora plus=…" in result.output
    assert "--size-value" not in result.output


@pytest.mark.parametrize("value", ["1.5", "1.5,mid", "yb=9", "a,b", "weights.safetensors"])
def test_a_value_that_would_become_a_prompt_is_refused(generate, value, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "weights.safetensors").touch()
    result = generate("ghost", "--brighten", value)
    assert result.exit_code == 2
    assert f"would be a prompt; if it is its value, write --brighten={value}" in result.stderr
