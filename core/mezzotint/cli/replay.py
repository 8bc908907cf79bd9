"""`mezzotint replay`."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..recipes.differences import changed_versions
from ..recipes.image_files import read_image
from ..recipes.replaying import find_recipe
from ..recipes.replaying import replay as replay_image
from .common_options import debug_option, json_option, plugin_option
from .display import waiting
from .open_model import quiet_libraries, show_warnings
from .output_names import OutputNames, save_under_free_name
from .tables import print_json

if TYPE_CHECKING:
    from PIL.Image import Image

    from ..recipes.recipe import Recipe

DIFFERS = 1
"""Exit code where the pixels are not the same, as of `cmp`."""


@click.command()
@click.argument("image", type=click.Path(path_type=Path))
@click.option("--anyway", is_flag=True, help="Go on where a plugin, model or file is missing or differs.")
@click.option("-o", "--output", metavar="PATH", help="Also save the new image: folder, file or pattern.")
@plugin_option
@json_option
@debug_option
@click.pass_context
def replay(
    ctx: click.Context,
    image: Path,
    anyway: bool,
    output: str | None,
    plugin_files: tuple[str, ...],
    as_json: bool,
) -> None:
    """Make IMAGE again from the recipe it holds, and compare the pixels.

    Exit code 0: identical (or --anyway). 1: not identical. 2: it cannot be made again here.
    """
    recipe = find_recipe(image)
    names = OutputNames.parse(output)
    original = read_image(image)
    show_warnings()
    saved = None
    with nullcontext() if output is None else names.folder_ready():
        with waiting(f"making {image.name} again …", quiet=as_json):
            quiet_libraries()
            result = replay_image(recipe, anyway=anyway, plugins=plugin_files)
        made = result.images[recipe.index]
        if output is not None:
            saved = save_under_free_name(made, result.recipe_of(recipe.index), _name(names, recipe))
    finding = compare(original, made)
    changed = changed_versions(recipe) if finding else []
    if as_json:
        print_json(
            {
                "identical": not finding,
                "difference": finding,
                "versions": changed,
                "path": str(saved) if saved else None,
            }
        )
    else:
        click.echo(f"{image}: {finding or 'identical, every pixel'}")
        if saved:
            click.echo(str(saved))
    if finding and not anyway:
        ctx.exit(DIFFERS)


def compare(original: Image, made: Image) -> str:
    """What differs between two images, or an empty string."""
    from PIL import ImageChops

    if original.size != made.size:
        return "not identical: {}x{} pixels, now {}x{}".format(*original.size, *made.size)
    difference = ImageChops.difference(original, made.convert("RGB"))
    if difference.getbbox() is None:
        return ""
    largest = difference.convert("RGB").split()
    changed = ImageChops.lighter(ImageChops.lighter(largest[0], largest[1]), largest[2])
    counts = changed.histogram()
    strongest = max(value for value, count in enumerate(counts) if count)
    total = original.width * original.height
    return f"not identical: {total - counts[0]} of {total} pixels differ, by {strongest} of 255 at most"


def _name(names: OutputNames, recipe: Recipe) -> Path:
    return names.path(
        prompt=recipe.prompt[recipe.index // recipe.n],
        seed=recipe.seed + recipe.index,
        number=recipe.index + 1,
        model=recipe.model.name,
    )
