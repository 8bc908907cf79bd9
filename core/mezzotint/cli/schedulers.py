"""`mezzotint schedulers list`."""

from __future__ import annotations

from typing import Any

import click

from ..errors import unknown_name
from ..plugins.registry import Registry
from ..scheduling import SolverSpec
from .common_options import debug_option, json_option, plugin_option
from .plugin_loading import show_absent_plugins, tolerant_registry
from .tables import print_json, print_table


@click.command("list")
@click.argument("family", required=False)
@plugin_option
@json_option
@debug_option
def list_schedulers(family: str | None, plugin_files: tuple[str, ...], as_json: bool) -> None:
    """List the schedulers and spacings by name.

    FAMILY, such as "diffusers", lists the members of a family instead.
    """
    registry = tolerant_registry(plugin_files)
    if family is not None:
        _list_family(registry, family.rstrip(":"), as_json)
        return
    schedulers = [_scheduler(registry, name) for name in registry.schedulers]
    families = [
        {"name": f"{name}:", "description": registry.families[name].description, "plugin": owner.plugin}
        for name in registry.families
        for owner in [registry.families.provided(name).owner]
    ]
    spacings = [_spacing(registry, name) for name in registry.spacings]
    if as_json:
        print_json({"schedulers": schedulers, "families": families, "spacings": spacings})
        return
    _print(schedulers, families, spacings)
    if not schedulers and not families:
        show_absent_plugins(registry)
    for table in (registry.schedulers, registry.families, registry.spacings):
        for conflict in table.conflicts():
            click.echo(f"conflict: {conflict}", err=True)


def _print(
    schedulers: list[dict[str, Any]], families: list[dict[str, Any]], spacings: list[dict[str, Any]]
) -> None:
    if not schedulers and not families:
        click.echo(
            "No plugin brings a scheduler: pip install mezzotint-schedulers. Models run with their own."
        )
    if schedulers:
        print_table(
            ("scheduler", "order", "evaluations", "stochastic", "paper", "plugin"),
            [
                (
                    row["name"],
                    str(row["order"] or ""),
                    str(row["evaluations"] or ""),
                    "yes" if row["stochastic"] else "",
                    row["paper"] or row["description"],
                    row["plugin"],
                )
                for row in schedulers
            ],
        )
    if families:
        click.echo()
        print_table(
            ("family", "description", "plugin"),
            [(f"{row['name']}…", row["description"], row["plugin"]) for row in families],
        )
        click.echo(f"\nMembers: mezzotint schedulers list {families[0]['name'].rstrip(':')}")
    if spacings:
        click.echo()
        print_table(
            ("spacing", "default", "paper", "plugin"),
            [
                (
                    row["name"],
                    f"for {row['family']}" if row["default"] and row["family"] != row["name"] else "",
                    row["paper"] or row["description"],
                    row["plugin"],
                )
                for row in spacings
            ],
        )


def _list_family(registry: Registry, prefix: str, as_json: bool) -> None:
    if prefix not in registry.families:
        raise unknown_name("scheduler family", prefix, registry.families)
    names = [f"{prefix}:{name}" for name in registry.families[prefix].names()]
    if as_json:
        print_json({"schedulers": [{"name": name} for name in names]})
    else:
        click.echo("\n".join(names))


def _scheduler(registry: Registry, name: str) -> dict[str, Any]:
    provided = registry.schedulers.provided(name)
    spec = provided.spec
    row: dict[str, Any] = {
        "name": name,
        "order": None,
        "evaluations": None,
        "stochastic": None,
        "paper": "",
        "description": "" if isinstance(spec, type) else spec.description,
        "options": {},
        "plugin": provided.owner.plugin,
        "distribution": provided.owner.distribution,
    }
    if isinstance(spec, SolverSpec):
        row |= {
            "order": spec.accuracy_order,
            "evaluations": spec.evals_per_step,
            "stochastic": spec.stochastic,
            "paper": spec.paper,
            "options": dict(spec.options),
        }
    return row


def _spacing(registry: Registry, name: str) -> dict[str, Any]:
    provided = registry.spacings.provided(name)
    spec = provided.spec
    return {
        "name": name,
        "family": spec.family,
        "default": spec.default,
        "paper": spec.paper,
        "description": spec.description,
        "options": dict(spec.options),
        "plugin": provided.owner.plugin,
        "distribution": provided.owner.distribution,
    }
