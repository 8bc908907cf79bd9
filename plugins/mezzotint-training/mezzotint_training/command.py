"""What the commands that train share: their options, settings from a file, and what is said at the end."""

from __future__ import annotations

import logging
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any, TypeVar

import click
from mezzotint.cli.model_options import given, options_of

from .errors import TrainingError
from .names_elsewhere import answer, names_elsewhere
from .outputs import FILE, check_output
from .settings import TrainingSettings

if TYPE_CHECKING:
    from mezzotint import Pipeline

    from .training import Trained

Command = TypeVar("Command", bound=Callable[..., Any])
Settings = TypeVar("Settings", bound=TrainingSettings)
INTERRUPTED = 130

_OPTIONS = (
    click.option("-m", "--model", default="emoji", show_default=True, help="Name or diffusers folder."),
    click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, …"),
    click.option(
        "--dtype",
        default="float32",
        show_default=True,
        help="Of the frozen base; what is trained is float32.",
    ),
    click.option(
        "--config",
        type=click.Path(path_type=Path, exists=True, dir_okay=False),
        help="TOML file of the options below; those on the command line come first.",
    ),
    click.option("--resume", is_flag=True, help="Go on from the last checkpoint."),
    click.option("-q", "--quiet", is_flag=True, help="Print nothing but the path."),
)


def training_options(command: Command) -> Command:
    """`--model`, `--device`, `--dtype`, `--config`, `--resume` and `--quiet`."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def training_command(
    settings: type[TrainingSettings],
    train: str,
    *,
    output: str,
    what: str,
    suffix: str = FILE,
    help: str,
) -> click.Command:
    """A command `train DATA -o OUTPUT`, with an option for each setting.

    Args:
        settings: the model of the options.
        train: `package.module:function`, imported when the command runs; called with the pipeline, data, output,
            settings, and `resume` and `quiet` by name.
        output: what is written, for the help.
        what: how errors call it, `a LoRA`.
        suffix: that its file must have; empty for a folder.
        help: of the command.
    """

    @click.command("train", cls=_TrainingCommand, help=help)
    @click.argument("data", type=click.Path(path_type=Path, exists=True))
    @click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help=output)
    @training_options
    @options_of(settings)
    def command(
        data: Path,
        output: Path,
        model: str,
        device: str,
        dtype: str,
        config: Path | None,
        resume: bool,
        quiet: bool,
        **values: Any,
    ) -> None:
        from .preparing import read_data

        chosen = read_settings(settings, config, values)
        # What can be wrong without a model is said before one is loaded.
        check_output(output, what, suffix=suffix, resume=resume)
        if data.is_file():
            read_data(data)
        with running(model, device=device, dtype=dtype, quiet=quiet) as (pipe, finish):
            finish(resolve_name(train)(pipe, data, output, chosen, resume=resume, quiet=quiet))

    return command


class _TrainingCommand(click.Command):
    """Answers an option of another trainer with the one of that meaning."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            name = error.option_name.lstrip("-").replace("-", "_")
            hint = _hint(name, [parameter.name for parameter in self.params if parameter.name])
            if hint is None:
                raise
            raise click.NoSuchOption(error.option_name, f"{error.message} {hint}", ctx=ctx) from None


def _hint(name: str, options: Sequence[str]) -> str | None:
    """What to write in place of another trainer's option."""
    meant = names_elsewhere(options).get(name)
    if meant is None:
        said = answer(name, None, options)
        return said and f"{said[0].upper()}{said[1:]}."
    name, _, value = meant.partition("=")
    return f"Did you mean --{name.replace('_', '-')} {value}".rstrip() + "?"


def read_settings(model: type[Settings], config: Path | None, values: Mapping[str, Any]) -> Settings:
    """Settings from a TOML file and the command line, which comes first.

    Raises:
        TrainingError: the file is not TOML, or an option is unknown or out of range.
    """
    said: dict[str, Any] = {}
    if config is not None:
        try:
            said = tomllib.loads(config.read_text(encoding="utf-8"))
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise TrainingError(f"{config} is not TOML: {error}") from None
        except RecursionError:
            raise TrainingError(f"{config}: lists or tables in it are nested too deeply to read") from None
        said = {name.replace("-", "_"): value for name, value in said.items()}
    return model.combined(said, given(model, values))


@contextmanager
def running(
    model: str, *, device: str, dtype: str, quiet: bool
) -> Iterator[tuple[Pipeline, Callable[[Trained], None]]]:
    """The pipeline to train, on this process's device, and what to call with the result.

    Yields:
        The pipeline, and a function that says where the file is; for a training that was interrupted it ends the
        program with exit code 130.
    """
    import mezzotint
    import torch
    from accelerate import PartialState

    _speak_up(notes=not quiet)
    state = PartialState(cpu=device == "cpu" or not torch.cuda.is_available())
    if state.num_processes > 1 and device == "auto":
        device = str(state.device)
    pipe = mezzotint.load(model, device=device, dtype=dtype)

    def finish(trained: Trained) -> None:
        if not state.is_main_process:
            return
        if trained.finished:
            click.echo(str(trained.path))
            return
        click.echo(f"interrupted at step {trained.step}, which is saved; go on with --resume", err=True)
        raise SystemExit(INTERRUPTED)

    try:
        yield pipe, finish
    finally:
        state.destroy_process_group()


def _speak_up(*, notes: bool) -> None:
    """Warnings of the data (a picture that is skipped) as sentences on stderr; notes: where a training goes on."""
    from mezzotint.cli.open_model import quiet_libraries, show_warnings

    quiet_libraries()
    show_warnings(notes=notes)
    logging.getLogger("accelerate").setLevel(logging.ERROR)
