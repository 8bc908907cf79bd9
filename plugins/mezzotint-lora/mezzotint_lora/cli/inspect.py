"""`mezzotint lora inspect`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from ..describing import Description, describe
from ..files import read_adapter

SHOWN = 10
"""Reasons that are printed of many."""


@click.command("inspect")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("-m", "--model", help="Also say whether it will load into this model: a name or folder.")
@click.option("--keys", is_flag=True, help="With --model: every key and what becomes of it.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def command(ctx: click.Context, file: Path, model: str | None, keys: bool, as_json: bool) -> None:
    """Show what is in a LoRA file, without a model.

    With --model, the exit code is 1 if the file does not fit it.
    """
    adapter = read_adapter(file)
    found = describe(file, adapter)
    report = None
    if model is not None:
        import mezzotint

        from ..fitting import fit
        from ..loading import models_of

        report = fit(adapter, models_of(mezzotint.load(model))).report
    if as_json:
        plain = found.plain()
        if report is not None:
            plain["model"] = {
                "name": model,
                "fits": report.fits,
                "problem": report.problem or None,
                "applied": dict(report.applied),
                "unknown": dict(report.unknown),
            }
        click.echo(json.dumps(plain, indent=2, ensure_ascii=False))
    else:
        _print(found)
        if report is not None:
            _print_fit(model, report, keys)
    if report is not None and not report.fits:
        ctx.exit(1)


def _print(found: Description) -> None:
    family = (
        f"{found.family.title} ({found.family.because})"
        if found.family
        else f"unknown: {found.family.because}"
    )
    rows = [
        ("file", str(found.path)),
        ("format", found.layout),
        ("for", family),
        *((name, value) for name, value in found.facts.items()),
        ("kinds", _histogram(found.kinds)),
        ("rank", _histogram(found.ranks)),
        ("alpha", _histogram(found.alphas)),
        ("numbers", f"{found.parameters:,} ({', '.join(found.dtypes)})"),
        ("modules", _histogram(found.components)),
        ("blocks", _histogram(found.blocks)),
        ("words", ", ".join(f"{word} ({n})" if n else word for word, n in found.words.items())),
    ]
    width = max(len(name) for name, value in rows if value)
    for name, value in rows:
        if value:
            click.echo(f"{name:{width}}  {value}")
    for key, why in found.unread.items():
        click.echo(f"{'unread':{width}}  {key} {why}")


def _print_fit(model: str | None, report: Any, keys: bool) -> None:
    from ..fitting import by_reason

    if report.fits:
        modules = len(set(report.applied.values()))
        click.echo(f"\nloads into {model}: yes, {len(report.applied)} keys on {modules} modules")
    else:
        problem = report.problem or f"has {len(report.unknown)} keys that do not fit"
        click.echo(f"\nloads into {model}: no. It {problem}")
        reasons = [] if report.problem and not keys else list(by_reason(report.unknown))
        for reason in reasons[: None if keys else SHOWN]:
            click.echo(f"  {reason}")
        if len(reasons) > SHOWN and not keys:
            click.echo(f"  … and {len(reasons) - SHOWN} more; --keys shows all")
    if keys:
        for key, place in report.applied.items():
            click.echo(f"  {key} → {place}")


def _histogram(counts: Any) -> str:
    if len(counts) == 1:
        value, count = next(iter(counts.items()))
        return f"{value} ({count})"
    return ", ".join(f"{value} ({count})" for value, count in counts.items())
