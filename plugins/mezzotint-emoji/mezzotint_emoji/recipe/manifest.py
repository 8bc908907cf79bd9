"""Which pictures exist, what they show and under which licence they come."""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from .sources import EMOJIBASE, FLUENT_3D, FLUENT_FLAT, FLUENT_GRADIENT, NOTO, NOTO_BLOB, Source
from .split import Split, split_of

EXCLUDED_GROUPS = frozenset({"flags", "component", "symbols"})
CLOCK_FACE = re.compile(r"o’clock|-thirty")


@dataclass(frozen=True)
class Picture:
    """One drawing of one emoji in one style.

    `hex` is the code point sequence without variation selectors, `base` that of the emoji without skin tone,
    `archive` the unpacked package, `name` the file or icon in it.
    """

    style: str
    license: str
    hex: str
    base: str
    label: str
    tags: tuple[str, ...]
    group: str
    skin: bool
    archive: str
    name: str

    @property
    def split(self) -> Split:
        return split_of(self.base, self.style)


def code_points(text: str) -> str:
    """`1F468-200D-1F33E` as `1f468-1f33e`: joiners and variation selectors are written inconsistently."""
    parts = text.lower().replace("_", "-").split("-")
    return "-".join(part for part in parts if part not in ("fe0f", "200d"))


def build_manifest(folder_of: Mapping[Source, Path]) -> list[Picture]:
    """All pictures of the permissive styles, in a fixed order, without `EXCLUDED_GROUPS` and clock faces."""
    meanings = _meanings(folder_of[EMOJIBASE])
    flat = _json(folder_of[FLUENT_FLAT] / "chars.json")
    noto = _json(folder_of[NOTO] / "chars.json")
    # Microsoft published only the emoji of its own repository under MIT (microsoft/fluentui-emoji issue 51).
    # The 3D package holds others too. The flat icons were made from that repository: they are the filter.
    published = {code_points(key) for key in flat}
    rendered = {path.stem: path.name for path in sorted((folder_of[FLUENT_3D] / "assets").glob("*.webp"))}
    open_3d = {key: name for key, name in rendered.items() if code_points(key) in published}
    by_label = {_slug(meaning["label"]): key for key, meaning in meanings.items()}
    by_icon = {icon: key for key, icon in noto.items()}

    def named(source: Source) -> dict[str, str]:
        icons = _json(folder_of[source] / "icons.json")["icons"]
        found = {icon: by_icon.get(icon) or by_label.get(icon) for icon in icons}
        return {key: icon for icon, key in found.items() if key}

    styles: list[tuple[str, Source, Callable[[], dict[str, str]]]] = [
        ("3d", FLUENT_3D, lambda: open_3d),
        ("flat", FLUENT_FLAT, lambda: flat),
        ("gradient", FLUENT_GRADIENT, lambda: flat),
        ("noto", NOTO, lambda: noto),
        ("blob", NOTO_BLOB, lambda: named(NOTO_BLOB)),
    ]
    return [
        picture for style, source, names in styles for picture in _pictures(style, source, names(), meanings)
    ]


def save_manifest(pictures: list[Picture], path: Path) -> None:
    """Write one JSON object a line."""
    path.write_text("".join(json.dumps(asdict(picture)) + "\n" for picture in pictures))


def load_manifest(path: Path) -> list[Picture]:
    """Read what `save_manifest` wrote."""
    rows = map(json.loads, path.read_text().splitlines())
    return [Picture(**{**row, "tags": tuple(row["tags"])}) for row in rows]


def _pictures(style: str, source: Source, names: Mapping[str, str], meanings: dict) -> Iterator[Picture]:
    for key, name in names.items():
        meaning = meanings.get(code_points(key))
        if not meaning or meaning["group"] in EXCLUDED_GROUPS or CLOCK_FACE.search(meaning["label"]):
            continue
        yield Picture(
            style=style,
            license=source.license,
            hex=code_points(key),
            archive=source.folder,
            name=name,
            **meaning,
        )


def _meanings(emojibase: Path) -> dict[str, dict]:
    """Code points to label, tags and group, from emojibase."""
    groups = _json(emojibase / "meta" / "groups.json")["groups"]
    meanings = {}
    for entry in _json(emojibase / "en" / "data.json"):
        shared = {
            "tags": tuple(entry.get("tags", ())),
            "group": groups.get(str(entry.get("group")), "component"),
            "base": code_points(entry["hexcode"]),
        }
        meanings[shared["base"]] = {**shared, "label": entry["label"], "skin": False}
        for skin in entry.get("skins", ()):
            meanings[code_points(skin["hexcode"])] = {**shared, "label": skin["label"], "skin": True}
    return meanings


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


def _json(path: Path) -> dict:
    return json.loads(path.read_text())
