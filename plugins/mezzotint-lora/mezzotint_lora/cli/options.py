"""Arguments that several commands share."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import click

from ..decomposing import Keep, Progress, silent
from ..errors import LoRAError

Command = TypeVar("Command", bound=Callable[..., Any])

format_option = click.option(
    "--to",
    "format",
    type=click.Choice(["kohya", "diffusers", "peft"]),
    default="kohya",
    show_default=True,
    help="Format to write.",
)
model_option = click.option(
    "-m",
    "--model",
    help="The model that the LoRA is for: a name or folder; needed only where its names are unusual.",
)
force_option = click.option("--force", is_flag=True, help="Write over a file that exists.")


def output_argument(command: Command) -> Command:
    """OUTPUT at the end, or `-o OUTPUT` as the commands that train and merge have it; handed over as `output`."""

    @functools.wraps(command)
    def with_output(*args: Any, output: Path | None, output_option: Path | None, **options: Any) -> Any:
        if (output is None) == (output_option is None):
            raise click.UsageError(
                "give OUTPUT, at the end or with -o"
                if output is None
                else "OUTPUT is given twice; give it once"
            )
        return command(*args, output=output or output_option, **options)

    path = click.Path(path_type=Path)
    option = click.option(
        "-o", "--output", "output_option", type=path, help="OUTPUT, if it is not at the end."
    )
    # click lists arguments in the order in which they were added, from the last.
    return click.argument("output", type=path, required=False)(option(with_output))  # type: ignore[return-value]


def keep_options(required: bool, rank: str = "Largest rank to keep.") -> Callable[[Command], Command]:
    """`--rank` with `--ratio`, `--fro` or `--cumulative`, handed over apart.

    Args:
        required: whether `--rank` is.
        rank: its help.
    """

    def add(command: Command) -> Command:
        for name, text in (
            ("cumulative", "Keep this share of the sum of singular values, 0 to 1."),
            ("fro", "Keep this share of the Frobenius norm, 0 to 1."),
            ("ratio", "Keep singular values down to the largest divided by this."),
        ):
            command = click.option(f"--{name}", type=float, metavar="X", help=text)(command)
        return click.option("--rank", type=click.IntRange(1), required=required, metavar="N", help=rank)(
            command
        )

    return add


def keep_of(rank: int | None, *, alone: bool = False, **rules: float | None) -> Keep | None:
    """What the options say, or `None` for nothing.

    Args:
        alone: whether a rule may stand without a rank.

    Raises:
        LoRAError: two rules at once, or a rule without a rank that needs one.
    """
    given = {name: value for name, value in rules.items() if value is not None}
    if len(given) > 1:
        raise LoRAError(f"{' and '.join(f'--{name}' for name in given)} cannot be used together; choose one")
    if rank is None and not given:
        return None
    if rank is None and not alone:
        raise LoRAError(f"--{next(iter(given))} needs --rank N too, the largest rank to keep")
    name, value = next(iter(given.items()), ("rank", 0.0))
    return Keep(rank, name, value)


def check_free(path: Path, force: bool) -> None:
    """Refuse to write over what is there.

    Raises:
        LoRAError: it exists, and `force` is not set.
    """
    if path.exists() and not force:
        raise LoRAError(f"{path} exists; choose another name, or --force to write over it")


def names_of_model(model: str | None) -> Any:
    """Module names of a model by component, or `None` where none is named."""
    if model is None:
        return None
    import mezzotint

    from ..loading import models_of
    from ..names import Names

    return {component: Names.of(module) for component, module in models_of(mezzotint.load(model)).items()}


@contextmanager
def counting(label: str) -> Iterator[Progress]:
    """A bar on the terminal, nothing elsewhere."""
    import sys

    if not sys.stderr.isatty():
        yield silent
        return
    from rich.console import Console
    from rich.progress import Progress as Bar

    with Bar(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(label, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
