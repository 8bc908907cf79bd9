"""What the commands of the demonstrations share: options, training that goes on, and what is written."""

from __future__ import annotations

import json
import math
import re
import shutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

import click
import mezzotint
from mezzotint import MezzotintError, Pipeline
from mezzotint.cli.open_model import quiet_libraries
from mezzotint_lora.training import LoRASettings, train_lora
from mezzotint_training import TrainingSettings
from platformdirs import user_cache_path
from safetensors import safe_open

from .emoji import Emoji
from .shares import Measured

Settings = TypeVar("Settings", bound=TrainingSettings)


@dataclass(frozen=True)
class Demo:
    """One demonstration on its way: the model, the recipe's folder, and where results go."""

    pipe: Pipeline
    emoji: Emoji
    folder: Path
    count: int
    """Prompts of each kind that are measured."""
    steps: int | None
    """Of each training, in place of the demonstration's own."""

    @property
    def kept(self) -> Path:
        """Pictures that were drawn before."""
        return self.folder / "drawn"

    def settled(self, settings: Settings) -> Settings:
        """Settings with the steps that were asked for."""
        return settings if self.steps is None else settings.replaced(steps=self.steps)

    def train(self, name: str, pictures: Path, settings: LoRASettings) -> Path:
        """The LoRA `name`, trained if it is not there; a training that was stopped goes on.

        Raises:
            MezzotintError: a LoRA is there that was trained otherwise.
        """
        settings = self.settled(settings)
        path = self.folder / f"{name}.safetensors"
        if path.exists():
            with safe_open(path, "pt") as file:
                words = file.metadata()
            was = (
                words.get("ss_sd_model_hash"),
                words.get("ss_max_train_steps"),
                words.get("ss_network_dim"),
            )
            if was != (self.pipe.fingerprint, str(settings.steps), str(settings.rank)):
                raise MezzotintError(
                    f"{path} is there and was trained on another model or with other settings; remove it and "
                    f"{path.stem}-training, or name another folder (--to)"
                )
            return path
        return train_lora(self.pipe, pictures, path, settings, resume=True).path

    def write(self, name: str, figures: Mapping[str, Measured], facts: Mapping[str, Any], table: str) -> None:
        """`NAME.json` with every figure and `NAME.md` with the table, which is printed as well."""
        said = {
            "model": self.pipe.source.name,
            "model_hash": self.pipe.fingerprint,
            **facts,
            # A ratio to nothing is no number, which JSON does not have.
            "figures": {key: _plain(asdict(value)) for key, value in figures.items()},
        }
        (self.folder / f"{name}.json").write_text(f"{json.dumps(said, indent=2)}\n", encoding="utf-8")
        (self.folder / f"{name}.md").write_text(table, encoding="utf-8")
        click.echo(table)


def demo_command(name: str, run: Callable[[Demo], None], *, help: str, count: int) -> click.Command:
    """`python -m demos.NAME`."""

    @click.command(name, help=help)
    @click.option("--to", "folder", type=click.Path(path_type=Path), default=Path(name), show_default=True)
    @click.option(
        "--work",
        type=click.Path(path_type=Path, file_okay=False),
        default=lambda: user_cache_path("mezzotint") / "emoji",
        show_default="emoji in the cache folder of mezzotint",
        help="Folder of the emoji model's recipe, after `data` and `train scorer`.",
    )
    @click.option("-m", "--model", default="emoji", show_default=True, help="Name or diffusers folder.")
    @click.option(
        "--steps", type=click.IntRange(1), help="Of each training; default: the demonstration's own."
    )
    @click.option(
        "--count", type=click.IntRange(2), default=count, show_default=True, help="Prompts measured."
    )
    @click.option("--threads", type=click.IntRange(1), help="Cores to use; default: all.")
    @click.option(
        "--docs",
        type=click.Path(path_type=Path, exists=True, file_okay=False),
        help="Also put sheet and table into the pages of this folder.",
    )
    def command(
        folder: Path,
        work: Path,
        model: str,
        steps: int | None,
        count: int,
        threads: int | None,
        docs: Path | None,
    ) -> None:
        import torch

        quiet_libraries()
        if threads:
            torch.set_num_threads(threads)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            run(Demo(mezzotint.load(model, device="cpu"), Emoji(work), folder, count, steps))
            if docs is not None:
                publish(name, folder, docs)
        except MezzotintError as error:
            click.echo(f"Error: {error}", err=True)
            sys.exit(2)

    return command


def _plain(values: Mapping[str, float]) -> dict[str, float | None]:
    return {key: value if math.isfinite(value) else None for key, value in values.items()}


def publish(name: str, folder: Path, docs: Path) -> None:
    """Copy the sheets to the images of the docs, and `NAME.md` between the marks of the page that has them."""
    for sheet in folder.glob("*.png"):
        shutil.copyfile(sheet, docs / "images" / f"demo-{sheet.name}")
    marks = re.compile(rf"(<!-- figures: {name} -->\n).*?(<!-- end of figures -->)", re.DOTALL)
    table = (folder / f"{name}.md").read_text(encoding="utf-8")
    image = f'<img src="images/demo-{name}.png" alt="Pictures of concepts that were not trained on: {name}">'
    for page in docs.glob("*.md"):
        text = page.read_text(encoding="utf-8")
        if marks.search(text):
            filled = marks.sub(lambda found: f"{found[1]}{image}\n\n{table}{found[2]}", text)
            page.write_text(filled, encoding="utf-8")
