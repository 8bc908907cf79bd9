"""The click command behind `mezzotint generate`: extensions' options appear by themselves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from ..plugins.registry import Registry
from .extension_options import ExtensionOptions, join_optional_values, options_of
from .plugin_loading import hinting_at_failures, tolerant_registry

_REGISTRY = "mezzotint.registry"
_OPTIONS = "mezzotint.extension_options"


class GenerateCommand(click.Command):
    """Loads the plugins before it reads its arguments, as their extensions decide which options there are."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Load the plugins, then as click does."""
        files = _plugin_files(args)
        wants_help = bool(set(args) & set(ctx.help_option_names)) or not args
        registry = tolerant_registry(files) if wants_help else Registry.load(files)
        taken = {name for parameter in self.params for name in (*parameter.opts, *parameter.secondary_opts)}
        options = options_of(registry, taken | set(ctx.help_option_names))
        ctx.meta[_REGISTRY], ctx.meta[_OPTIONS] = registry, options
        with hinting_at_failures(registry):
            return super().parse_args(ctx, join_optional_values(args, options))

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        """Own parameters and those of the extensions."""
        return [*super().get_params(ctx), *(option for one in known_options(ctx) for option in one.options)]

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Own options, then a section for each extension."""
        options = [parameter for parameter in super().get_params(ctx) if isinstance(parameter, click.Option)]
        own = [record for option in options if (record := option.get_help_record(ctx))]
        with formatter.section("Options"):
            formatter.write_dl(own)
        for one in known_options(ctx):
            with formatter.section(one.title):
                formatter.write_dl([r for option in one.options if (r := option.get_help_record(ctx))])
                for sentence in one.left_out:
                    formatter.write_text(sentence)


def known_options(ctx: click.Context) -> list[ExtensionOptions]:
    """The extensions' options of this command line."""
    options: list[ExtensionOptions] = ctx.meta.get(_OPTIONS, [])
    return options


def known_registry(ctx: click.Context) -> Registry:
    """The plugins of this command line."""
    registry: Any = ctx.meta[_REGISTRY]
    assert isinstance(registry, Registry)
    return registry


def _plugin_files(args: Sequence[str]) -> list[str]:
    """The values of `--plugin`, found before click knows the options."""
    files = []
    for position, argument in enumerate(args):
        if argument == "--":
            break
        if argument == "--plugin" and position + 1 < len(args):
            files.append(args[position + 1])
        elif argument.startswith("--plugin="):
            files.append(argument.partition("=")[2])
    return files
