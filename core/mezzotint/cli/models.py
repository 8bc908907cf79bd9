"""`mezzotint models`."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import click

from ..plugins.discovery import Owner
from ..plugins.specs import ModelSpec, RunDefaults
from .common_options import debug_option, json_option, plugin_option
from .plugin_loading import show_absent_plugins, tolerant_registry
from .tables import print_json, print_table


@click.command()
@plugin_option
@json_option
@debug_option
def models(plugin_files: tuple[str, ...], as_json: bool) -> None:
    """List the models that `mezzotint generate --model NAME` opens, and the parts that extensions take."""
    registry = tolerant_registry(plugin_files)
    provided = [registry.models.provided(name) for name in registry.models]
    if as_json:
        print_json({"models": [_plain(entry.spec, entry.owner) for entry in provided]})
        return
    if provided:
        print_table(
            ("name", "description", "licence", "plugin", "defaults"),
            [
                (
                    m.spec.name,
                    _description(m.spec),
                    m.spec.licence,
                    m.owner.plugin,
                    _defaults(m.spec.defaults),
                )
                for m in provided
            ],
        )
    else:
        click.echo(
            "No plugin brings a model. Install one (pip install mezzotint-emoji), or give a diffusers folder:"
        )
        click.echo('mezzotint generate "a prompt" --model FOLDER')
        show_absent_plugins(registry)
    for conflict in registry.models.conflicts():
        click.echo(f"conflict: {conflict}", err=True)


def _plain(spec: ModelSpec, owner: Owner) -> dict[str, Any]:
    return {
        "name": spec.name,
        "kind": spec.kind,
        "description": spec.description,
        "licence": spec.licence,
        "plugin": owner.plugin,
        "distribution": owner.distribution,
        "version": owner.version,
        "path": str(spec.path),
        "defaults": asdict(spec.defaults),
        "example_prompts": list(spec.example_prompts),
    }


def _description(spec: ModelSpec) -> str:
    """What it is; for a part of a model, of which kind."""
    return spec.description if spec.kind == "pipeline" else f"{spec.kind}: {spec.description}"


def _defaults(defaults: RunDefaults) -> str:
    """`20 steps, guidance 5, 64x64, dpmpp-2m/karras`."""
    scheduler = "/".join(filter(None, (defaults.scheduler, defaults.spacing)))
    parts = (
        f"{defaults.steps} steps" if defaults.steps is not None else "",
        f"guidance {defaults.guidance:g}" if defaults.guidance is not None else "",
        "{}x{}".format(*defaults.size) if defaults.size is not None else "",
        scheduler,
    )
    return ", ".join(filter(None, parts))
