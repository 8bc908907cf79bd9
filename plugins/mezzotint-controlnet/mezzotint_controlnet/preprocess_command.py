"""`mezzotint preprocess NAME IMAGE`: a subcommand for each preprocessor, with its own options."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from mezzotint import PreprocessorSpec, Registry
from mezzotint.errors import RequestError
from mezzotint.pictures import open_picture

from .preprocess import options_of, preprocess
from .resize import resize_picture

if TYPE_CHECKING:
    from PIL.Image import Image


class Preprocessors(click.Group):
    """The preprocessors of all plugins as commands."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Their names."""
        return list(self._registry(ctx).preprocessors)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """One of them."""
        registry = self._registry(ctx)
        if cmd_name not in registry.preprocessors:
            return None
        return _command(registry.preprocessors[cmd_name])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does, but near misses are named."""
        if not args[0].startswith("-"):
            self._registry(ctx).preprocessors.provided(args[0])
        return super().resolve_command(ctx, args)

    def _registry(self, ctx: click.Context) -> Registry:
        return ctx.meta.setdefault(
            "mezzotint_controlnet.registry", Registry.load(ctx.params.get("plugin_files", ()))
        )


@click.group(
    "preprocess",
    cls=Preprocessors,
    no_args_is_help=True,
    epilog="Example: mezzotint preprocess canny photo.png --low 50 -o edges.png",
)
@click.option(
    "--plugin",
    "plugin_files",
    metavar="FILE",
    multiple=True,
    help="Also load this Python file as a plugin. Repeatable.",
)
def command(plugin_files: tuple[str, ...]) -> None:
    """Make a control map of a picture, to look at it or to keep it."""


def _command(spec: PreprocessorSpec) -> click.Command:
    options = options_of(spec.function)

    def run(image: Path, output: Path | None, sheet: bool, size: str | None, **values: Any) -> None:
        path = output or image.with_name(f"{image.stem}-{spec.name}{'-sheet' if sheet else ''}.png")
        _check_output(path)
        picture, control = _make(spec, image, values, None if size is None else _size(size))
        (_beside(picture, control) if sheet else control).save(path)
        click.echo(str(path))

    parameters: list[click.Parameter] = [
        click.Argument(["image"], type=click.Path(path_type=Path)),
        *(_option(spec, name, default) for name, default in options.items()),
        click.Option(
            ["-o", "--output"],
            type=click.Path(path_type=Path),
            metavar="FILE",
            help=f"Where to write the map.  [default: IMAGE-{spec.name}.png, or -sheet.png]",
        ),
        click.Option(["--sheet"], is_flag=True, help="Write the picture and its map side by side."),
        click.Option(
            ["--size"],
            metavar="WxH",
            help="Make the map at this size, as a run of this size does.  [default: the picture's own]",
        ),
    ]
    return click.Command(
        spec.name, params=parameters, callback=run, help=spec.description, short_help=spec.description
    )


def _check_output(path: Path) -> None:
    from PIL import Image

    if path.exists():
        raise RequestError(f"{path} exists; choose another name with -o")
    if not path.parent.is_dir():
        raise RequestError(f"folder {path.parent} does not exist; make it first")
    if Image.registered_extensions().get(path.suffix.lower()) not in Image.SAVE:
        raise RequestError(f"{path} names no kind of picture; end it in .png")


class Literal(click.ParamType):
    """A value as in `preprocess="name(option=value)"`, for options whose default names no simple type."""

    name = "value"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Python's numbers, lists and so on; what is none of them is text."""
        if not isinstance(value, str):
            return value
        try:
            return ast.literal_eval(value)
        except (ValueError, SyntaxError):
            return value


def _size(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"([1-9]\d*)x([1-9]\d*)", text)
    if match is None:
        raise RequestError(f"--size {text}: give width and height, such as 512x512")
    return int(match[1]), int(match[2])


def _make(
    spec: PreprocessorSpec, image: Path, values: dict[str, Any], size: tuple[int, int] | None
) -> tuple[Image, Image]:
    registry: Registry = click.get_current_context().meta["mezzotint_controlnet.registry"]
    picture = open_picture(image)
    if size is not None:
        picture = resize_picture(picture, size)
    return picture, preprocess(registry, spec.name, picture, values)


def _option(spec: PreprocessorSpec, name: str, default: Any) -> click.Option:
    kind = type(default) if type(default) in (int, float, str, bool) else Literal()
    flag = name.replace("_", "-")
    return click.Option(
        [f"--{flag}/--no-{flag}" if kind is bool else f"--{flag}", name],
        type=kind,
        default=default,
        show_default=True,
        help=_described(spec, name),
    )


def _described(spec: PreprocessorSpec, name: str) -> str:
    """What the function's docstring says about an argument (Google style)."""
    for line in (spec.function.__doc__ or "").splitlines():
        match = re.match(r"\s+([\w, ]+): (.+)", line)
        if match and name in re.split(r",\s*", match[1]):
            return match[2]
    return ""


def _beside(picture: Image, control: Image) -> Image:
    from PIL import Image

    sheet = Image.new("RGB", (2 * picture.width + 4, picture.height), "white")
    sheet.paste(picture, (0, 0))
    sheet.paste(control, (picture.width + 4, 0))
    return sheet
