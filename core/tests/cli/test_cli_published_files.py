"""Pictures and texts that extensions publish lie beside the picture they belong to."""

from __future__ import annotations

import json
from pathlib import Path

from PIL import Image

PLUGIN = '''
from PIL import Image
from mezzotint import Extension, TextFile, hookimpl


class Maps(Extension, name="maps"):
    """Publish something of every kind."""

    @hookimpl
    def images(self, images, run):
        pictures = [{"cat": Image.new("RGB", (k + 1, 1))} for k in range(len(images))]
        table = TextFile(".csv", "a,b\\n1,2\\n")
        run.publish(self, pictures=pictures, table=table, layers={"mid.0": Image.new("L", (2, 2))}, numbers=[1, 2])


@hookimpl
def extensions():
    return [Maps]
'''


def test_they_are_named_after_the_picture_and_their_keys(generate):
    Path("maps.py").write_text(PLUGIN)
    result = generate("ghost", "--seed", 7, "-n", 2, "--batch-size", 2, "--plugin", "maps.py", "--maps")
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines() == [
        "ghost-7.png",
        "ghost-7.maps.cat.png",
        "ghost-7.maps.csv",
        "ghost-7.maps.mid-0.png",
        "ghost-8.png",
        "ghost-8.maps.cat.png",
    ]
    assert Image.open("ghost-8.maps.cat.png").size == (2, 1)
    assert Path("ghost-7.maps.csv").read_text() == "a,b\n1,2\n"


def test_nothing_that_exists_is_overwritten_and_json_lists_them(generate):
    Path("maps.py").write_text(PLUGIN)
    Path("ghost-7.maps.csv").write_text("mine")
    result = generate("ghost", "--seed", 7, "--plugin", "maps.py", "--maps", "--json")
    (image,) = json.loads(result.stdout)["images"]
    assert image["beside"] == ["ghost-7.maps.cat.png", "ghost-7.maps-2.csv", "ghost-7.maps.mid-0.png"]
    assert Path("ghost-7.maps.csv").read_text() == "mine"
