"""What there is: plugins and what became of them, models, schedulers; switching plugins on and off."""

from __future__ import annotations

import json
import os
from pathlib import Path

GOOD = """
    from mezzotint import Extension, Field, ModelSpec, RunDefaults, hookimpl, solver, spacing
    class Glow(Extension, name="glow"):
        "Make it glow."
        by: float = Field(0.5, gt=0, description="how much")
        @hookimpl
        def latents(self, latents, run): ...
    @solver("half", accuracy_order=2, evals_per_step=2, paper="Heun 1900")
    def half(s): ...
    @spacing("even@here", default=True)
    def even(n, schedule): ...
    @hookimpl
    def extensions(): return [Glow]
    @hookimpl
    def models(): return [ModelSpec("m", "/models/m", "a model", "MIT", RunDefaults(20, 5.0, (64, 64), "half", "even"))]
    @hookimpl
    def schedulers(): return [half]
    @hookimpl
    def spacings(): return [even]
"""
BROKEN = "import module_that_is_not_there"


def row_of(name, mezzotint):
    rows = json.loads(mezzotint("plugins", "list", "--json").stdout)["plugins"]
    return next(row for row in rows if row["name"] == name)


def test_plugins_list_shows_what_failed_and_still_exits_with_0(mezzotint, install):
    install("mezzotint-good", GOOD)
    install("mezzotint-broken", BROKEN)
    for arguments in (["plugins"], ["plugins", "list"]):
        result = mezzotint(*arguments)
        assert result.exit_code == 0
        broken = next(line for line in result.stdout.splitlines() if line.startswith("broken"))
        good = next(line for line in result.stdout.splitlines() if line.startswith("good"))
        assert "failed" in broken
        assert "module_that_is_not_there" in broken
        assert good.split()[:4] == ["good", "mezzotint-good", "1.2", "loaded"]
        assert "model m, scheduler half, spacing even@here, extension glow" in good


def test_plugins_list_goes_on_in_strict_mode(mezzotint, install, monkeypatch):
    install("mezzotint-broken", BROKEN)
    monkeypatch.setenv("MEZZOTINT_STRICT", "1")
    assert mezzotint("plugins", "list").exit_code == 0
    assert mezzotint("generate", "ghost").exit_code == 2


def test_names_that_two_plugins_claim_are_printed(mezzotint, install):
    install("mezzotint-good", GOOD)
    install("mezzotint-twin", GOOD)
    answer = json.loads(mezzotint("plugins", "--json").stdout)
    assert any("extension 'glow' is provided by" in sentence for sentence in answer["conflicts"])
    assert "conflict: extension 'glow'" in mezzotint("plugins").stdout


def test_disable_keeps_a_plugin_from_being_imported_and_enable_undoes_it(mezzotint, install):
    install("mezzotint-broken", BROKEN)
    result = mezzotint("plugins", "disable", "broken")
    assert result.exit_code == 0
    assert os.environ["MEZZOTINT_CONFIG"] in result.stdout
    assert "mezzotint plugins enable broken" in result.stdout
    row = row_of("broken", mezzotint)
    assert (row["state"], row["cause"]) == ("disabled", f"disabled by {os.environ['MEZZOTINT_CONFIG']}")
    assert mezzotint("plugins", "enable", "broken").exit_code == 0
    assert row_of("broken", mezzotint)["state"] == "failed"


def test_disable_and_enable_twice_say_so(mezzotint, install):
    install("mezzotint-good", GOOD)
    assert "not disabled" in mezzotint("plugins", "enable", "good").stdout
    mezzotint("plugins", "disable", "mezzotint-good")
    assert "already disabled" in mezzotint("plugins", "disable", "mezzotint-good").stdout
    result = mezzotint("plugins", "enable", "good")
    assert result.exit_code == 2
    assert "mezzotint plugins enable mezzotint-good" in result.stderr


def test_enable_cannot_undo_the_environment(mezzotint, install, monkeypatch):
    install("mezzotint-good", GOOD)
    monkeypatch.setenv("MEZZOTINT_DISABLE", "good")
    result = mezzotint("plugins", "enable", "good")
    assert result.exit_code == 2
    assert "MEZZOTINT_DISABLE" in result.stderr


def test_a_plugin_that_there_is_not_gives_near_misses(mezzotint, install):
    install("mezzotint-good", GOOD)
    for command in ("disable", "enable", "explain"):
        result = mezzotint("plugins", command, "goood")
        assert result.exit_code == 2
        assert "did you mean good" in result.stderr
    assert not Path(os.environ["MEZZOTINT_CONFIG"]).exists()


def test_explain_shows_distribution_hook_points_and_options(mezzotint, install):
    install("mezzotint-good", GOOD)
    for name in ("good", "mezzotint-good", "glow"):
        text = mezzotint("plugins", "explain", name).stdout
        for words in (
            "good: loaded",
            "distribution: mezzotint-good 1.2",
            "entry point: mezzotint_good",
            "extension glow: Make it glow.",
            "acts at: latents",
            "--glow-by FLOAT  how much  [default: 0.5; x>0]",
        ):
            assert words in text
    answer = json.loads(mezzotint("plugins", "explain", "good", "--json").stdout)
    assert answer["plugins"][0]["extensions"][0]["hook_points"] == ["latents"]


def test_explain_of_a_failure_has_its_traceback_on_demand(mezzotint, install):
    install("mezzotint-broken", BROKEN)
    assert "Traceback" not in mezzotint("plugins", "explain", "broken").output
    assert "Traceback" in mezzotint("plugins", "explain", "broken", "--debug").stderr


def test_models_shows_defaults_and_json_has_the_path(mezzotint, install):
    install("mezzotint-good", GOOD)
    line = mezzotint("models").stdout.splitlines()[1]
    for words in ("a model", "MIT", "good", "20 steps, guidance 5, 64x64, half/even"):
        assert words in line
    model = json.loads(mezzotint("models", "--json").stdout)["models"][0]
    assert model["path"] == "/models/m"
    assert model["defaults"]["size"] == [64, 64]


def test_schedulers_list_has_solvers_and_spacings(mezzotint, install):
    install("mezzotint-good", GOOD)
    text = mezzotint("schedulers", "list").stdout
    assert "half       2      2            Heun 1900  good" in text
    assert "even@here" in text
    answer = json.loads(mezzotint("schedulers", "--json").stdout)
    assert answer["schedulers"][0]["stochastic"] is False
    assert answer["spacings"][0]["family"] == "even"


def test_a_family_is_named_and_lists_its_members_when_asked(mezzotint, install):
    install(
        "mezzotint-many",
        """
        from mezzotint import SchedulerFamily, hookimpl
        @hookimpl
        def schedulers():
            return [SchedulerFamily("lots", lambda: ["One", "Two"], lambda name, config: None, "many")]
        """,
    )
    assert "lots:…" in mezzotint("schedulers", "list").stdout
    assert mezzotint("schedulers", "list", "lots").stdout == "lots:One\nlots:Two\n"
    assert "did you mean lots?" in mezzotint("schedulers", "list", "lot").stderr


def test_without_any_plugin_listings_say_what_to_install(mezzotint):
    for command in ("plugins", "models", "schedulers"):
        result = mezzotint(command)
        assert result.exit_code == 0


def test_an_unknown_name_points_at_a_plugin_that_failed(mezzotint, install):
    install("mezzotint-broken", BROKEN)
    for arguments in (["ghost"], ["ghost", "--glow"]):
        result = mezzotint("generate", *arguments)
        assert result.exit_code == 2
        assert "A plugin failed to load (broken)" in result.stderr
        assert "mezzotint plugins explain broken" in result.stderr


def test_an_unknown_name_points_at_a_plugin_that_is_off(mezzotint, install, monkeypatch):
    install("mezzotint-lamp", "from mezzotint import hookimpl\n@hookimpl\ndef extensions():\n    return []\n")
    monkeypatch.setenv("MEZZOTINT_DISABLE", "lamp")
    for command in (
        ["generate", "ghost"],
        ["generate", "ghost", "--glow"],
        ["generate", "ghost", "--scheduler", "glow"],
        ["models"],
        ["schedulers", "list"],
    ):
        result = mezzotint(*command)
        assert "lamp: disabled by MEZZOTINT_DISABLE" in result.output, command
        assert "see: mezzotint plugins list" in result.output
