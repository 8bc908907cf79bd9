"""mezzotint's own commands, declared as a plugin declares its own."""

from __future__ import annotations

from ..plugins.registry import Registry
from ..plugins.specs import CommandSpec

OWN = (
    CommandSpec("generate", "mezzotint.cli.generate:generate", "Make images from a prompt."),
    CommandSpec("replay", "mezzotint.cli.replay:replay", "Make an image again from the recipe in its file."),
    CommandSpec("models", "mezzotint.cli.models:models", "List the models."),
    CommandSpec(
        "plugins list", "mezzotint.cli.plugins:list_plugins", "List the plugins and what became of them."
    ),
    CommandSpec("plugins explain", "mezzotint.cli.plugin_details:explain", "Show what a plugin brings."),
    CommandSpec("plugins new", "mezzotint.cli.plugin_new:new", "Write a plugin to start your own from."),
    CommandSpec(
        "plugins check", "mezzotint.cli.plugin_check:check", "Check a plugin before others install it."
    ),
    CommandSpec("plugins enable", "mezzotint.cli.plugin_switch:enable", "Switch a plugin on again."),
    CommandSpec("plugins disable", "mezzotint.cli.plugin_switch:disable", "Switch a plugin off."),
    CommandSpec(
        "schedulers list", "mezzotint.cli.schedulers:list_schedulers", "List the schedulers and spacings."
    ),
)
GROUP_HELP = {
    "plugins": "See plugins, switch them on and off, write your own.",
    "schedulers": "See and compare schedulers.",
}


def command_conflicts(registry: Registry) -> list[str]:
    """A sentence for each command of a plugin that cannot be reached under its name."""
    own = {spec.name for spec in OWN}
    groups = {name for known in (*own, *registry.commands) for name in _prefixes(known)}
    return [
        f"command {name!r} of {registry.commands.provided(name).owner} is not used: "
        f"{'mezzotint has a command' if name in own else 'there are commands below a group'} of that name"
        for name in registry.commands
        if name in own or name in groups
    ]


def _prefixes(name: str) -> list[str]:
    words = name.split()
    return [" ".join(words[:length]) for length in range(1, len(words))]
