"""Which pictures are used: of pinned packages alone, and of them what is under an open licence."""

import hashlib
import io
import json
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest
from mezzotint_emoji.recipe import sources
from mezzotint_emoji.recipe.errors import RecipeError, SourceMismatch
from mezzotint_emoji.recipe.manifest import build_manifest
from mezzotint_emoji.recipe.sources import (
    EMOJIBASE,
    FLUENT_3D,
    FLUENT_FLAT,
    FLUENT_GRADIENT,
    NOTO,
    NOTO_BLOB,
    SOURCES,
    fetch,
)


def write_package(folder: Path, files: dict[str, object]) -> Path:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content))
    return folder


@pytest.fixture
def packages(tmp_path):
    """Small packages of the forms of the real ones: a ghost, a waving hand, a flag, and a drawing of nobody's."""
    ghost, hand, dark, flag, other = "1F47B", "1F44B", "1F44B-1F3FF", "1F1EB-1F1F7", "1FAE8"
    people, flags = 1, 9
    entries = [
        {"hexcode": ghost, "label": "ghost", "tags": ["fantasy"], "group": 0},
        {
            "hexcode": hand,
            "label": "waving hand",
            "group": people,
            "skins": [{"hexcode": dark, "label": "waving hand: dark skin tone"}],
        },
        {"hexcode": flag, "label": "flag: France", "group": flags},
        {"hexcode": other, "label": "shaking face", "group": 0},
    ]
    groups = {"groups": {"0": "smileys-emotion", "1": "people-body", "9": "flags"}}
    names = {
        "1f47b": "ghost",
        "1f44b": "waving-hand",
        "1f44b-1f3ff": "waving-hand-dark",
        "1f1eb-1f1f7": "france",
    }
    icons = {"icons": {"ghost": {}, "unknown-thing": {}}}
    solid = {f"assets/{key.lower()}.webp": "" for key in (ghost, hand, dark, flag, other)}
    return {
        EMOJIBASE: write_package(tmp_path / "base", {"meta/groups.json": groups, "en/data.json": entries}),
        FLUENT_FLAT: write_package(tmp_path / "flat", {"chars.json": names}),
        FLUENT_GRADIENT: write_package(tmp_path / "gradient", {}),
        NOTO: write_package(tmp_path / "noto", {"chars.json": names}),
        NOTO_BLOB: write_package(tmp_path / "blob", {"icons.json": icons}),
        FLUENT_3D: write_package(tmp_path / "3d", solid),
    }


def test_of_the_3d_package_only_what_was_published(packages):
    solid = {picture.hex for picture in build_manifest(packages) if picture.style == "3d"}
    assert solid == {"1f47b", "1f44b", "1f44b-1f3ff"}  # neither the shaking face, nor a flag


def test_every_picture_names_its_package_and_licence(packages):
    manifest = build_manifest(packages)
    licences = {source.folder: source.license for source in SOURCES}
    assert {picture.style for picture in manifest} == {"3d", "flat", "gradient", "noto", "blob"}
    assert all(picture.license == licences[picture.archive] for picture in manifest)
    assert {picture.license for picture in manifest} <= {"MIT", "Apache-2.0"}
    dark = next(picture for picture in manifest if picture.hex == "1f44b-1f3ff")
    assert (dark.base, dark.skin) == ("1f44b", True)


def test_names_of_icons_are_found_by_their_label(packages):
    assert [p.hex for p in build_manifest(packages) if p.style == "blob"] == ["1f47b"]


@pytest.fixture
def archive(tmp_path):
    """A pinned package whose archive lies in the folder already, and the bytes of it."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as tar:
        for name in ("one", "two"):
            info = tarfile.TarInfo(f"package/{name}.txt")
            info.size = 3
            tar.addfile(info, io.BytesIO(name.encode()))
    content = stream.getvalue()
    source = replace(NOTO, archive="thing-1.tgz", sha256=hashlib.sha256(content).hexdigest())
    (tmp_path / source.archive).write_bytes(content)
    return source, content


def test_an_archive_is_unpacked_once_it_is_checked(archive, tmp_path):
    source, _ = archive
    assert sorted(path.name for path in fetch(source, tmp_path).iterdir()) == ["one.txt", "two.txt"]


@pytest.mark.parametrize("change", [lambda content: content[:-9], lambda content: content + b"x"])
def test_other_bytes_are_refused_and_not_unpacked(archive, tmp_path, change):
    source, content = archive
    (tmp_path / source.archive).write_bytes(change(content))
    with pytest.raises(SourceMismatch, match="delete it and run `data` again"):
        fetch(source, tmp_path)
    assert not (tmp_path / "unpacked").exists()


def test_unpacking_that_was_interrupted_is_begun_anew(archive, tmp_path, monkeypatch):
    source, _ = archive

    def half(tar, folder, **options):
        folder.mkdir(parents=True)
        (folder / "one.txt").write_text("on")
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(tarfile.TarFile, "extractall", half)
        with pytest.raises(KeyboardInterrupt):
            fetch(source, tmp_path)
    assert sorted(path.name for path in fetch(source, tmp_path).iterdir()) == ["one.txt", "two.txt"]


def test_without_npm_a_sentence_says_what_to_do(archive, tmp_path, monkeypatch):
    source, _ = archive
    (tmp_path / source.archive).unlink()
    monkeypatch.setattr(sources, "_download_command", lambda source: ["no-such-program"])
    with pytest.raises(
        RecipeError, match="`no-such-program` is not installed; install it, or put thing-1.tgz into"
    ):
        fetch(source, tmp_path)
