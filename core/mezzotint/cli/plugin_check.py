"""`mezzotint plugins check`: what an author wants to know before others install the plugin."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import click
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from ..plugins.discovery import PluginRow, State, installed_entry_points
from ..plugins.registry import Registry
from ..scheduling import SolverSpec
from .common_options import debug_option, json_option
from .plugin_details import find_rows
from .plugin_loading import tolerant_registry
from .tables import print_json

FAILED = 1
HEAVY = ("torch", "diffusers", "transformers", "peft")
IMPORT_SECONDS = 0.25
"""Beyond this a plugin makes `mezzotint --help` slow for everybody."""


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    check: str
    passed: bool
    text: str


@click.command()
@click.argument("name")
@click.option("--quick", is_flag=True, help="Leave out the measurements of solvers and spacings.")
@json_option
@debug_option
@click.pass_context
def check(ctx: click.Context, name: str, quick: bool, as_json: bool) -> None:
    """Check a plugin before others install it: NAME is an installed plugin, or a Python file.

    Exit code 0: nothing to mend. 1: something is.
    """
    is_file = Path(name).suffix == ".py"
    registry = Registry.load([name]) if is_file else tolerant_registry()
    rows = registry.rows[-1:] if is_file else find_rows(registry, name)
    findings = []
    for row in rows:
        for finding in _findings(registry, row, quick):
            findings.append(finding)
            if not as_json:
                mark = click.style("ok  ", fg="green") if finding.passed else click.style("MEND", fg="red")
                click.echo(f"{mark} {finding.check}: {finding.text}")
    failed = [finding for finding in findings if not finding.passed]
    if as_json:
        print_json({"passed": not failed, "findings": [asdict(finding) for finding in findings]})
    if failed:
        ctx.exit(FAILED)


def _findings(registry: Registry, row: PluginRow, quick: bool) -> Iterator[Finding]:
    if row.state is not State.LOADED:
        yield Finding("loads", False, f"{row.owner} is {row.state}: {row.cause}")
        return
    provided = registry.provided_by(row.owner)
    counts = ", ".join(f"{kind} {', '.join(names)}" for kind, names in provided.items())
    yield Finding("loads", True, f"{row.owner}: {counts or 'nothing'}")
    clashes = [sentence for sentence in registry.conflicts() if str(row.owner) in sentence]
    yield Finding("names", not clashes, "; ".join(clashes) or "none is taken")
    if row.owner.distribution is not None:
        yield _requirement(row.owner.distribution)
        yield _import_time(row)
    yield from _extensions(registry, provided.get("extensions", []))
    if not quick:
        yield from _conformance(registry, provided)


def _requirement(distribution: str) -> Finding:
    """Plugins that say which mezzotint they need are refused by name where it is another one."""
    lines = metadata.requires(distribution) or []
    for line in lines:
        requirement = Requirement(line)
        if canonicalize_name(requirement.name) == "mezzotint":
            lower = any(one.operator in (">=", "==", "~=", ">") for one in requirement.specifier)
            return Finding(
                "requirement",
                lower,
                str(requirement)
                if lower
                else f"{requirement} names no lowest version; write mezzotint>=0.1 in its dependencies",
            )
    return Finding("requirement", False, f"{distribution} does not depend on mezzotint; add mezzotint>=0.1")


def _import_time(row: PluginRow) -> Finding:
    """Import it alone in a new process: listings import every plugin."""
    module = next(p.module for p in installed_entry_points() if p.value == row.value)
    code = (
        "import sys, time, json, mezzotint.hookspecs, pydantic; began = time.process_time()\n"
        f"__import__({module!r})\n"
        "print(json.dumps([time.process_time() - began, "
        f"[name for name in {HEAVY!r} if name in sys.modules]]))"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    if answer.returncode:
        last = answer.stderr.strip().rpartition("\n")[2]
        return Finding("import", False, f"{module} cannot be imported by itself: {last}")
    seconds, heavy = json.loads(answer.stdout.splitlines()[-1])
    if heavy:
        return Finding(
            "import",
            False,
            f"importing {module} imports {', '.join(heavy)}, which every listing waits for; "
            "import them inside the functions that use them",
        )
    slow = seconds > IMPORT_SECONDS
    return Finding(
        "import", not slow, f"{module} takes {seconds:.2f} s" + (" of everybody's" if slow else "")
    )


def _extensions(registry: Registry, names: list[str]) -> Iterator[Finding]:
    """Options are shown in help, forms and documentation: each one needs its line."""
    for name in names:
        extension = registry.extensions[name]
        silent = [field for field, info in extension.model_fields.items() if not info.description]
        missing = ["a docstring"] if not extension.summary() else []
        missing += [f"a description of {field}" for field in silent]
        missing += ["a hook method"] if not list(extension.hook_names()) else []
        yield Finding(
            f"extension {name}",
            not missing,
            f"lacks {', '.join(missing)}" if missing else f"acts at {', '.join(extension.hook_names())}",
        )


def _conformance(registry: Registry, provided: dict[str, list[str]]) -> Iterator[Finding]:
    from ..testing import check_solver, check_spacing

    for name in provided.get("schedulers", []):
        spec = registry.schedulers[name]
        if isinstance(spec, SolverSpec):
            yield _measured("scheduler", name, check_solver(spec))
    for name in provided.get("spacings", []):
        yield _measured("spacing", name, check_spacing(registry.spacings[name]))


def _measured(kind: str, name: str, report: Any) -> Finding:
    if report.failed:
        return Finding(f"{kind} {name}", False, "; ".join(str(finding) for finding in report.failed))
    count = len([finding for finding in report.findings if finding.outcome == "passed"])
    order = next((f"; {f.measured}" for f in report.findings if f.check.startswith("order")), "")
    return Finding(f"{kind} {name}", True, f"{count} checks passed{order}")
