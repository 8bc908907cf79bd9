"""`python -m demos.edges`: write pictures, train the ControlNet, draw the sheet and measure; what is there
already is kept."""

from __future__ import annotations

from ..command import Demo, demo_command


def run(demo: Demo) -> None:
    """Everything, one after the other."""
    from mezzotint_controlnet.training import train_controlnet

    from .measuring import measure, show, table
    from .outlines import show_outlines
    from .pictures import write_pictures
    from .training import SETTINGS

    network = demo.folder / "emoji-edges"
    if not network.exists():
        pictures = write_pictures(demo.emoji, demo.folder / "pictures")
        train_controlnet(demo.pipe, pictures, network, demo.settled(SETTINGS), resume=True)
    show(demo, network)
    show_outlines(demo, network)
    figures = measure(demo, network)
    size = sum(path.stat().st_size for path in network.iterdir())
    demo.write("edges", figures, {"network": network.name, "bytes": size}, table(figures))


command = demo_command("edges", run, help=__doc__, count=64)

if __name__ == "__main__":
    command(prog_name="python -m demos.edges")
