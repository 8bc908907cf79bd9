"""Groups of commands from `CommandSpec`s, mezzotint's own and the plugins', imported when they are called."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

import click

from ..errors import MezzotintError, PluginError
from ..plugins.specs import CommandSpec


@dataclass(frozen=True)
class Entry:
    """A command and who provides it; mezzotint itself is `None`."""

    spec: CommandSpec
    owner: str | None = None


PluginEntries = Callable[[], Mapping[str, Entry]]
_ASKED = "mezzotint.plugin_commands"


class CommandTree(click.Group):
    """The commands below a prefix of words.

    Groups on the way are made as needed, also around commands of several plugins. The plugins are only
    asked where mezzotint's own commands do not answer.

    Args:
        own: mezzotint's commands by name.
        plugins: asks for the plugins' commands by name; may raise `MezzotintError`.
        group_help: a line for each group, by its words.
    """

    def __init__(
        self,
        name: str,
        own: Mapping[str, Entry],
        plugins: PluginEntries,
        group_help: Mapping[str, str],
        path: tuple[str, ...] = (),
        **attributes: Any,
    ) -> None:
        super().__init__(name, **attributes)
        self._own = own
        self._plugins = plugins
        self._group_help = group_help
        self._path = path

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The words that may come next."""
        return sorted(self._lines(self._all(ctx)[0]))

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command or group of that word, or `None`."""
        found = self._find(cmd_name, self._own)
        # A group of ours may hold commands of plugins, so it is complete only with them.
        if found is None:
            found = self._find(cmd_name, self._merged(ctx))
        return found

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does, with near misses named."""
        if self.get_command(ctx, args[0]) is None and not args[0].startswith("-"):
            close = get_close_matches(args[0], self.list_commands(ctx), n=3, cutoff=0.5)
            hint = f" Did you mean {' or '.join(close)}?" if close else ""
            ctx.fail(f"no command {' '.join([*self._path, args[0]])!r}.{hint}")
        return super().resolve_command(ctx, args)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """A group that has `list` lists when no command is named."""
        names_none = not args or (args[0].startswith("-") and args[0] not in ctx.help_option_names)
        if self._path and names_none and self.get_command(ctx, "list") is not None:
            args = ["list", *args]
        return super().parse_args(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The commands with one line each, from their specs: nothing is imported for it."""
        entries, problem = self._all(ctx)
        lines = self._lines(entries)
        sections: dict[str, list[tuple[str, str]]] = {}
        for word in sorted(lines):
            title = "Commands" if self._is_own(word) else "Commands of plugins"
            sections.setdefault(title, []).append((word, lines[word]))
        for title in sorted(sections):
            with formatter.section(title):
                formatter.write_dl(sections[title])
        if problem:
            formatter.write_paragraph()
            formatter.write_text(f"Commands of plugins are missing here: {problem}")

    def _all(self, ctx: click.Context) -> tuple[Mapping[str, Entry], str]:
        try:
            return self._merged(ctx), ""
        except MezzotintError as error:
            return self._own, str(error)

    def _merged(self, ctx: click.Context) -> Mapping[str, Entry]:
        # The contexts of one command line share their meta, so plugins are asked once.
        if _ASKED not in ctx.meta:
            ctx.meta[_ASKED] = self._plugins()
        # Our own come last: no plugin replaces a command of mezzotint.
        return {**ctx.meta[_ASKED], **self._own}

    def _is_own(self, word: str) -> bool:
        return any(_starts(name, (*self._path, word)) for name in self._own)

    def _find(self, word: str, entries: Mapping[str, Entry]) -> click.Command | None:
        path = (*self._path, word)
        name = " ".join(path)
        if not any(_starts(known, path) and known != name for known in entries):
            return _load(entries[name]) if name in entries else None
        help_text = self._group_help.get(name) or f"Commands of {name}."
        return CommandTree(word, self._own, self._plugins, self._group_help, path, help=help_text)

    def _lines(self, entries: Mapping[str, Entry]) -> dict[str, str]:
        """Next word → its line in the listing."""
        here = len(self._path)
        lines: dict[str, str] = {}
        below: dict[str, list[str]] = {}
        for name, entry in entries.items():
            words = name.split()
            if tuple(words[:here]) != self._path or len(words) == here:
                continue
            if len(words) == here + 1:
                lines[words[here]] = entry.spec.help
            else:
                below.setdefault(words[here], []).append(words[here + 1])
        for word, next_words in below.items():
            own_line = self._group_help.get(" ".join((*self._path, word)), "")
            lines[word] = own_line or ", ".join(sorted(set(next_words)))
        return lines


def _starts(name: str, path: tuple[str, ...]) -> bool:
    return tuple(name.split()[: len(path)]) == path


def _load(entry: Entry) -> click.Command:
    try:
        command = entry.spec.load()
    except Exception as error:
        if entry.owner is None:
            raise
        raise PluginError(
            f"command {entry.spec.name!r} of {entry.owner} cannot be imported from {entry.spec.target}: "
            f"{type(error).__name__}: {error}"
        ) from error
    if not isinstance(command, click.Command):
        raise PluginError(
            f"command {entry.spec.name!r} of {entry.owner}: {entry.spec.target} is no click command"
        )
    return command
