"""`mezzotint lora inspect`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from ..describing import Description, describe
from ..files import read_adapter
from ..printable import printable

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
        click.echo(_json(plain))
    else:
        _print(found)
        if report is not None:
            _print_fit(model, report, keys)
    if report is not None and not report.fits:
        ctx.exit(1)


def _print(found: Description) -> None:
    from ..fitting import by_reason

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
            _say(f"{name:{width}}  {value}")
    for line in by_reason(found.unread):
        _say(f"{'unread':{width}}  {line}")


def _print_fit(model: str | None, report: Any, keys: bool) -> None:
    from ..fitting import by_reason

    click.echo()
    if report.fits:
        modules = len(set(report.applied.values()))
        _say(f"loads into {model}: yes, {len(report.applied)} keys on {modules} modules")
    else:
        problem = report.problem or f"has {len(report.unknown)} keys that do not fit"
        _say(f"loads into {model}: no. It {problem}")
        reasons = [] if report.problem and not keys else list(by_reason(report.unknown))
        for reason in reasons[: None if keys else SHOWN]:
            _say(f"  {reason}")
        if len(reasons) > SHOWN and not keys:
            click.echo(f"  … and {len(reasons) - SHOWN} more; --keys shows all")
    if keys:
        for key, place in report.applied.items():
            _say(f"  {key} → {place}")


def _say(line: str) -> None:
    """Every line of the text goes through here: names, keys and words in it are the file's."""
    click.echo(printable(line))


def _json(plain: dict[str, Any]) -> str:
    """The exact words; what no terminal should see is escaped."""
    text = json.dumps(plain, indent=2, ensure_ascii=False)
    return "".join(
        letter if letter.isprintable() or letter == "\n" else json.dumps(letter)[1:-1] for letter in text
    )


def _histogram(counts: Any) -> str:
    if len(counts) == 1:
        value, count = next(iter(counts.items()))
        return f"{value} ({count})"
    return ", ".join(f"{value} ({count})" for value, count in counts.items())
