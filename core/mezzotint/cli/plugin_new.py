"""`mezzotint plugins new`: a plugin that works, to change into one's own."""

from __future__ import annotations

import keyword
import re
from importlib.resources import files
from pathlib import Path
from string import Template

import click

from .. import __version__
from ..errors import RequestError
from .common_options import debug_option

KINDS = ("extension", "scheduler")
_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")


@click.command()
@click.argument("name")
@click.option(
    "--kind", type=click.Choice(KINDS), default="extension", show_default=True, help="What it provides."
)
@click.option(
    "-o",
    "--output",
    metavar="FOLDER",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path(),
    help="Where to put its folder.  [default: here]",
)
@debug_option
def new(name: str, kind: str, output: Path) -> None:
    """Write a plugin called NAME that works and passes its tests, as the start of your own.

    NAME is what people will type, such as half-step. Its distribution is mezzotint-NAME.
    """
    folder = output / f"mezzotint-{_checked(name)}"
    if folder.exists():
        raise RequestError(f"{folder} exists; choose another name, or another folder with --output")
    for path, text in plugin_files(name, kind).items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")
        click.echo(str(target))
    click.echo(
        f"Next: pip install --editable '{folder}[test]'; pytest {folder}; mezzotint plugins check {name}",
        err=True,
    )


def plugin_files(name: str, kind: str) -> dict[str, str]:
    """The files of a new plugin by their path in its folder."""
    package = f"mezzotint_{name.replace('-', '_')}"
    values = {
        "name": name,
        "distribution": f"mezzotint-{name}",
        "package": package,
        "function": _identifier(name),
        "class_name": "".join(word.capitalize() for word in name.split("-")),
        "summary": f"The {kind} {name} for mezzotint",
        "version": ".".join(__version__.split(".")[:2]),
    }
    names = {
        "any/pyproject.toml": "pyproject.toml",
        f"{kind}/README.md": "README.md",
        f"{kind}/__init__.py": f"{package}/__init__.py",
        f"{kind}/test": f"tests/test_{_identifier(name)}.py",
    }
    templates = files("mezzotint.cli") / "plugin_templates"
    return {
        path: Template((templates / f"{template}.template").read_text(encoding="utf-8")).substitute(values)
        for template, path in names.items()
    }


def _checked(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise RequestError(
            f"{name!r} is no name for a plugin: lower-case words joined by dashes, such as half-step"
        )
    if name.startswith("mezzotint-"):
        raise RequestError(f"leave out the prefix: mezzotint plugins new {name.removeprefix('mezzotint-')}")
    return name


def _identifier(name: str) -> str:
    identifier = name.replace("-", "_")
    return f"{identifier}_" if keyword.iskeyword(identifier) else identifier
