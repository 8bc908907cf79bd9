"""`python -m demos.subject`: draw the six pictures and the class, train twice, look and measure; what is
there already is kept."""

from __future__ import annotations

from pathlib import Path

from ..command import Demo, demo_command
from . import CREDIT


def run(demo: Demo) -> None:
    """Everything, one after the other."""
    from ..drawing import draw
    from .measuring import measure, show, table
    from .pictures import CLASS, Character, prompts_for, write_prior, write_subject
    from .training import ALONE, PRIOR, with_prior

    character = Character(demo.emoji)
    pictures = write_subject(character, demo.folder / "pictures")
    prompts = prompts_for(CLASS, PRIOR)
    prior = write_prior(demo.folder / "class", draw(demo.pipe, prompts, demo.kept, "class"), prompts)
    loras: dict[str, Path | None] = {
        "base": None,
        "with prior": demo.train("subject", pictures, with_prior(prior)),
        "without prior": demo.train("subject-without-prior", pictures, ALONE),
    }
    show(demo, character, loras)
    figures = measure(demo, character, loras)
    demo.write("subject", figures, {"credit": CREDIT, "prior pictures": PRIOR}, table(figures, list(loras)))


command = demo_command("subject", run, help=__doc__, count=48)

if __name__ == "__main__":
    command(prog_name="python -m demos.subject")
