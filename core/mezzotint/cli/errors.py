"""What people see when something goes wrong: one sentence on stderr and exit code 2."""

from __future__ import annotations

import click

from ..errors import MezzotintError

FAILED = 2
INTERRUPTED = 130
"""128 + SIGINT, as shells report it."""


class Interrupted(Exception):
    """Ctrl-C, with a sentence about what is finished."""


def report(error: BaseException, *, debug: bool) -> int:
    """Print an error for the person at the keyboard and return the exit code.

    Args:
        debug: also print the traceback.
    """
    if isinstance(error, click.ClickException):
        return _report_usage(error)
    if isinstance(error, click.Abort | KeyboardInterrupt):
        click.echo("interrupted", err=True)
        return INTERRUPTED
    if isinstance(error, Interrupted):
        click.echo(f"interrupted: {error}", err=True)
        return INTERRUPTED
    if debug:
        import traceback

        click.echo("".join(traceback.format_exception(error)), err=True)
    click.echo(f"Error: {sentence(error)}", err=True)
    if not debug and not isinstance(error, MezzotintError):
        click.echo("Add --debug to see the traceback.", err=True)
    return FAILED


def sentence(error: BaseException) -> str:
    """An exception as one sentence, with the notes that say which plugin and hook it came from."""
    text = str(error).strip()
    if isinstance(error, OSError) and error.strerror:
        text = f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    elif not isinstance(error, MezzotintError):
        # Of a stranger's message the first line is the sentence; --debug shows all of it.
        first = text.partition("\n")[0]
        text = f"{type(error).__name__}: {first}" if first else type(error).__name__
    notes = [note for note in getattr(error, "__notes__", ()) if note]
    return f"{text} ({'; '.join(notes)})" if notes else text


def _report_usage(error: click.ClickException) -> int:
    if type(error).__name__ == "NoArgsIsHelpError":
        error.show()
        return FAILED
    click.echo(f"Error: {error.format_message()}", err=True)
    context = getattr(error, "ctx", None)
    if context is not None:
        click.echo(f"Try '{context.command_path} --help'.", err=True)
    return FAILED
