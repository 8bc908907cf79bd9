"""Commands of plugins, and that listings import nothing heavy."""

from __future__ import annotations

import os
import resource
import subprocess
import sys

import pytest

COMMANDS = """
    from mezzotint import CommandSpec, hookimpl
    @hookimpl
    def commands():
        return [
            CommandSpec("lora train", "mezzotint_cmd_target:train", "Train one."),
            CommandSpec("lora inspect", "mezzotint_cmd_target:train", "Look at one."),
            CommandSpec("schedulers compare", "mezzotint_cmd_target:train", "Compare them."),
            CommandSpec("lost", "module_that_is_not_there:command", "Not there."),
            CommandSpec("generate", "mezzotint_cmd_target:train", "Tries to replace ours."),
        ]
"""


@pytest.fixture
def commands(install, tmp_path):
    install("mezzotint-cmd", COMMANDS)
    target = tmp_path / "site" / "mezzotint_cmd_target.py"
    target.write_text(
        "import click\n"
        "@click.command()\n"
        "@click.option('--rank', default=4)\n"
        "def train(rank):\n"
        "    click.echo(f'rank {rank}')\n"
    )


def test_groups_on_the_way_are_made(mezzotint, commands):
    assert mezzotint("lora", "train", "--rank", 8).stdout == "rank 8\n"
    text = mezzotint("lora", "--help").output
    assert "inspect  Look at one." in text


def test_a_plugin_may_add_to_a_group_of_ours(mezzotint, commands):
    assert mezzotint("schedulers", "compare").stdout == "rank 4\n"
    text = mezzotint("schedulers", "--help").output
    assert "compare  Compare them." in text
    assert "list  List the schedulers" in text.replace("list     List", "list  List")


def test_help_lists_them_without_importing_them(mezzotint, commands):
    result = mezzotint("--help")
    assert "lora" in result.output
    assert "inspect, train" in result.output
    assert "mezzotint_cmd_target" not in sys.modules


def test_a_plugin_cannot_replace_a_command_of_ours(mezzotint, commands):
    assert "Make images from a prompt" in mezzotint("generate", "--help").output
    assert "command 'generate' of plugin cmd" in mezzotint("plugins", "list").stdout


def test_a_command_that_cannot_be_imported_names_its_plugin(mezzotint, commands):
    result = mezzotint("lost")
    assert result.exit_code == 2
    assert "'lost' of plugin cmd (mezzotint-cmd 1.2)" in result.stderr


def test_unknown_commands_give_near_misses(mezzotint, commands):
    assert "Did you mean generate?" in mezzotint("genrate").stderr
    assert "Did you mean train?" in mezzotint("lora", "trian").stderr
    assert mezzotint("genrate").exit_code == 2


def test_help_survives_a_broken_configuration(mezzotint, tmp_path):
    (tmp_path / "config.toml").write_text("[plugins")
    result = mezzotint("--help")
    assert result.exit_code == 0
    assert "generate" in result.output
    assert "not valid TOML" in result.output.replace("\n", " ")
    assert mezzotint("plugins").exit_code == 2
    (tmp_path / "config.toml").write_text("x = " + "[" * 5000)
    assert "nested too deeply to read" in mezzotint("plugins").stderr.replace("\n", " ")


def cpu_seconds() -> float:
    """Of the processes that this one has waited for."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


@pytest.mark.parametrize(
    "arguments", [["--help"], ["plugins", "list"], ["models"], ["schedulers", "list"], ["generate", "--help"]]
)
def test_listings_import_nothing_heavy_and_are_quick(arguments):
    code = (
        "import sys\n"
        "from mezzotint.cli.main import main\n"
        "try: main(sys.argv[1:])\n"
        "finally: print(*[m for m in ('torch', 'diffusers', 'transformers', 'PIL', 'rich') if m in sys.modules],"
        " file=sys.stderr)\n"
    )
    before = cpu_seconds()
    process = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, "MEZZOTINT_PLUGINS": ""},
    )
    assert process.returncode == 0, process.stderr
    assert process.stderr.strip() == ""
    # On an idle machine CPU time is what one waits for; the aim is 0.5 s, the bound is for slow machines.
    assert cpu_seconds() - before < 1.5


def test_a_reader_that_leaves_early_is_no_error():
    command = f"{sys.executable} -m mezzotint --help | true"
    process = subprocess.run(["bash", "-c", command], capture_output=True, text=True)
    assert process.stderr == ""
