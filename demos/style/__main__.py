"""`python -m demos.style`: fetch, train, draw the sheet and measure; what is there already is kept."""

from __future__ import annotations

from ..command import Demo, demo_command
from . import CREDIT


def run(demo: Demo) -> None:
    """Everything, one after the other."""
    from .measuring import measure, show, table
    from .pictures import TRAINED, Twemoji, write_pictures, write_prior
    from .training import with_prior

    twemoji = Twemoji(demo.emoji, demo.folder / "packages")
    pictures = write_pictures(twemoji, demo.folder / "pictures")
    prior = write_prior(twemoji, twemoji.measured(demo.count), demo.folder / "prior")
    lora = demo.train("twemoji-style", pictures, with_prior(prior))
    show(demo, twemoji, lora)
    figures = measure(demo, twemoji, lora)
    facts = {"pictures": TRAINED, "credit": CREDIT, "lora": lora.name, "bytes": lora.stat().st_size}
    demo.write("style", figures, facts, table(figures))


command = demo_command("style", run, help=__doc__, count=384)

if __name__ == "__main__":
    command(prog_name="python -m demos.style")
