"""The command `mezzotint`: its groups, and the one place where errors become sentences and exit codes."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

import click

from .. import __version__
from . import errors
from .command_tree import CommandTree, Entry
from .common_options import Session, debug_option
from .own_commands import GROUP_HELP, OWN


class Main(CommandTree):
    """The root of all commands."""

    def main(self, args: Sequence[str] | None = None, standalone_mode: bool = True, **extra: Any) -> Any:  # type: ignore[override]
        """Run, print an error as one sentence, and exit."""
        arguments, debug = _take_debug(list(sys.argv[1:] if args is None else args))
        extra["obj"] = Session(debug)
        if not standalone_mode:
            return super().main(arguments, standalone_mode=False, **extra)
        try:
            code = super().main(arguments, standalone_mode=False, **extra)
        except (Exception, KeyboardInterrupt) as error:
            sys.exit(errors.report(error, debug=debug))
        sys.exit(code if isinstance(code, int) else 0)


def plugin_commands() -> Mapping[str, Entry]:
    """The commands that plugins bring, by name."""
    from .plugin_loading import tolerant_registry

    commands = tolerant_registry().commands
    return {name: Entry(commands[name], str(commands.provided(name).owner)) for name in commands}


def _take_debug(arguments: list[str]) -> tuple[list[str], bool]:
    """The arguments without `--debug`, which every command understands, also those of plugins."""
    end = arguments.index("--") if "--" in arguments else len(arguments)
    kept = [argument for argument in arguments[:end] if argument != "--debug"]
    return kept + arguments[end:], len(kept) < end


main = Main(
    "mezzotint",
    {spec.name: Entry(spec) for spec in OWN},
    plugin_commands,
    GROUP_HELP,
    help="Latent diffusion from plugins.",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    epilog='Start with: mezzotint generate "3d render of a ghost"',
)
main = debug_option(main)
main = click.version_option(
    __version__, "-V", "--version", package_name="mezzotint", message="mezzotint %(version)s"
)(main)
