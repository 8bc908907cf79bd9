"""The demonstrations from start to end, on drawings of a few concepts, a tiny model and a scorer that only counts."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mezzotint import MezzotintError, RunDefaults
from mezzotint.testing import fingerprint, save_tiny_model, tiny_pipeline
from PIL import Image
from safetensors import safe_open
from torch import nn

pytest.importorskip("resvg_py")

import mezzotint_controlnet
import mezzotint_lora
from mezzotint_emoji.recipe.checkpoint import load_checkpoint, save_checkpoint
from mezzotint_emoji.recipe.manifest import Picture, save_manifest
from mezzotint_lora.training import LoRASettings

from demos import shares
from demos.command import Demo, publish
from demos.edges import pictures as edge_pictures
from demos.edges.__main__ import run as run_edges
from demos.emoji import Emoji
from demos.sheet import write_sheet
from demos.style import classifier, judging
from demos.style import pictures as style_pictures
from demos.style.__main__ import run as run_style
from demos.subject.__main__ import run as run_subject

STYLES = ("flat", "noto")
LABELS = ("fox", "crown", "soccer ball", *"abcdefghijk")


class Counter:
    """In place of the scorer: a picture's colours, and for a text no more than where it stands."""

    scorer = SimpleNamespace(
        image_layers=nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten()),
        images=lambda images: images.mean((2, 3)),
    )

    def images(self, pixels: np.ndarray) -> torch.Tensor:
        means = torch.from_numpy(pixels).float().mean((1, 2))
        return torch.nn.functional.normalize(means, dim=1)

    def texts(self, captions: list[str]) -> torch.Tensor:
        return torch.nn.functional.normalize(torch.arange(1.0, 3 * len(captions) + 1).view(-1, 3), dim=1)


def pretend_to_fit(work, data, folder, schedule):
    """In place of training the scorer: writes down what it would have seen."""
    seen = [(picture.archive, picture.label, picture.style) for picture in data.pictures]
    save_checkpoint(folder / "state.pt", {"step": schedule.steps, "seen": seen})


@pytest.fixture
def demo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Demo:
    work, random = tmp_path / "work", np.random.default_rng(0)
    work.mkdir()
    drawn = [
        Picture(style, "MIT", f"{number:x}", f"{number:x}", label, (), "objects", False, "", "")
        for style in STYLES
        for number, label in enumerate(LABELS)
    ]
    monkeypatch.setattr(
        "mezzotint_emoji.recipe.manifest.split_of",
        lambda base, style: "train" if style == "flat" else "pair",
    )
    save_manifest(drawn, work / "pictures.jsonl")
    pixels = random.integers(0, 255, (len(drawn), 64, 64, 4), dtype=np.uint8)
    pixels[..., 3] = 255
    np.save(work / "pictures.npy", pixels)
    monkeypatch.setattr(Emoji, "judge", Counter())
    package = tmp_path / "to" / "packages" / "unpacked" / style_pictures.TWEMOJI.folder / "package"
    package.mkdir(parents=True)
    icons = {
        f"icon-{number:x}": {
            "body": f'<circle cx="8" cy="8" r="6" fill="#{number:x}0{15 - number % 16:x}040"/>'
        }
        for number in range(len(LABELS))
    }
    (package / "chars.json").write_text(json.dumps({name.removeprefix("icon-"): name for name in icons}))
    (package / "icons.json").write_text(json.dumps({"icons": icons}))
    monkeypatch.setattr(style_pictures, "fetch", lambda source, folder: package)
    monkeypatch.setattr(style_pictures, "TRAINED", 4)
    (work / "scorer_training").mkdir()
    save_checkpoint(work / "scorer_training" / "state.pt", {"step": 5})
    monkeypatch.setattr("demos.style.judging.fit_scorer", pretend_to_fit)
    monkeypatch.setattr("demos.style.judging.keep_freed_memory", lambda: None)
    monkeypatch.setattr("demos.style.measuring.SHOWN", ("fox", "crown"))
    monkeypatch.setattr("demos.subject.training.PRIOR", 3)
    pipe = tiny_pipeline(
        save_tiny_model(tmp_path / "model", sample_size=32), plugins=[mezzotint_lora, mezzotint_controlnet]
    )
    pipe.source = replace(pipe.source, defaults=RunDefaults(steps=1))
    return Demo(pipe, Emoji(work), tmp_path / "to", count=3, steps=1)


def test_the_style_is_made_once_and_its_files_say_what_it_is(demo):
    before = fingerprint(demo.pipe)
    run_style(demo)
    lora, figures = demo.folder / "twemoji-style.safetensors", demo.folder / "style.json"
    with safe_open(lora, "pt") as file:
        words, kinds = file.metadata(), {file.get_tensor(key).dtype for key in file.keys()}  # noqa: SIM118
    assert kinds == {torch.float16}
    assert words["modelspec.license"] == "CC-BY-4.0"
    assert words["modelspec.trigger_phrase"] == "twemoji"
    assert "Twitter, Inc. and other contributors" in words["modelspec.description"]
    said = json.loads(figures.read_text())
    assert said["figures"]["style, weight 1"]["count"] == 3
    assert said["figures"]["R@5 pictures, weight 1"]["count"] == 3
    # All that are kept from the base in one style, measured or not.
    assert said["figures"]["R@5 names, new to the base"]["count"] == len(LABELS) - 4
    assert "| weight 1.5 |" in (demo.folder / "style.md").read_text()
    times = {path: path.stat().st_mtime_ns for path in (lora, *(demo.folder / "drawn").iterdir())}
    figures.unlink()
    run_style(demo)
    assert json.loads(figures.read_text()) == said
    assert times == {path: path.stat().st_mtime_ns for path in (lora, *(demo.folder / "drawn").iterdir())}
    assert not before.diff(fingerprint(demo.pipe))


def test_no_concept_is_trained_on_and_measured(demo):
    twemoji = style_pictures.Twemoji(demo.emoji, demo.folder / "packages")
    trained, held_out = ({picture.base for picture in part} for part in (twemoji.trained, twemoji.held_out))
    assert len(trained) == 4
    assert held_out
    assert not trained & held_out
    measured = twemoji.measured(3)
    assert len(measured) == 3
    prior = style_pictures.write_prior(twemoji, measured, demo.folder / "prior")
    written = [json.loads(row) for row in (prior / "metadata.jsonl").read_text().splitlines()]
    captions = {caption for row in written for caption in row["text"]}
    assert captions == {f"flat icon of {label}" for label in set(LABELS) - {each.label for each in measured}}


def test_names_are_found_by_a_scorer_that_knows_the_style_from_other_concepts(demo):
    run_style(demo)
    unseen, both = sorted(demo.folder.glob("scorer-*"), reverse=True)
    state = load_checkpoint(unseen / "state.pt")
    assert state["step"] == 5 + judging.STEPS
    assert {style for _, _, style in state["seen"]} == {"flat"}
    twemoji = [label for archive, label, _ in state["seen"] if archive == style_pictures.TWEMOJI.folder]
    held_out = style_pictures.Twemoji(demo.emoji, demo.folder / "packages").held_out
    assert not {picture.label for picture in held_out} & set(twemoji)
    seen = load_checkpoint(both / "state.pt")["seen"]
    known = {label for archive, label, _ in seen if archive == style_pictures.TWEMOJI.folder}
    assert {picture.label for picture in held_out} <= known
    assert load_checkpoint(demo.emoji.work / "scorer_training" / "state.pt") == {"step": 5}


def test_a_lora_that_was_trained_with_other_settings_is_not_taken_for_this_one(demo):
    (demo.folder / "pictures").mkdir()
    Image.new("RGB", (64, 64)).save(demo.folder / "pictures" / "a.png")
    settings = LoRASettings(rank=2, caption="a", tensorboard=False)
    path = demo.train("a", demo.folder / "pictures", settings)
    assert demo.train("a", demo.folder / "pictures", settings) == path
    with pytest.raises(MezzotintError, match="was trained on another model or with other settings"):
        demo.train("a", demo.folder / "pictures", settings.replaced(rank=3))


def test_the_character_is_trained_with_and_without_its_class(demo):
    run_subject(demo)
    with safe_open(demo.folder / "subject.safetensors", "pt") as file:
        assert file.metadata()["ss_num_reg_images"] == "3"
    with safe_open(demo.folder / "subject-without-prior.safetensors", "pt") as file:
        assert file.metadata()["ss_num_reg_images"] == "0"
    figures = json.loads((demo.folder / "subject.json").read_text())["figures"]
    for name in ("base", "with prior", "without prior"):
        assert 0 <= figures[f"R@5 class, {name}"]["value"] <= 1
    assert Image.open(demo.folder / "subject.png").width > 4 * 32


def test_the_edge_network_is_trained_on_outlines_and_measured_on_unseen_ones(demo, monkeypatch):
    halves = {"pair": set(LABELS[::2]), "train": set(LABELS[1::2])}
    monkeypatch.setattr(
        Picture, "split", property(lambda self: next(k for k, v in halves.items() if self.label in v))
    )
    before = fingerprint(demo.pipe)
    run_edges(demo)
    captions = [path.read_text() for path in (demo.folder / "pictures").glob("*.txt")]
    assert len(captions) == len(halves["train"]) * len(STYLES) * (1 + edge_pictures.PLACED)
    assert not any(label in caption for caption in captions for label in halves["pair"] if len(label) > 1)
    said = json.loads((demo.folder / "edges.json").read_text())
    assert said["figures"]["edge F1, moved, with control"]["count"] == demo.count
    assert Image.open(demo.folder / "edges.png").width > 3 * 32
    assert not before.diff(fingerprint(demo.pipe))


def test_edges_that_meet_within_a_pixel_count():
    asked, beside = np.zeros((2, 8, 8, 3), np.uint8)
    asked[:, 3], beside[:, 4] = 255, 255
    assert edge_pictures.edge_f1(asked, asked, 0) == 1
    assert edge_pictures.edge_f1(asked, beside, 0) == 0
    assert edge_pictures.edge_f1(asked, beside, 1) == 1
    assert edge_pictures.edge_f1(asked, np.zeros_like(asked), 1) == 0
    half = np.where(np.arange(8)[:, None, None] < 4, asked, 0).astype(np.uint8)
    assert edge_pictures.edge_f1(asked, half, 0) == pytest.approx(2 / 3)


def test_table_and_sheet_take_their_place_in_the_docs(tmp_path):
    (tmp_path / "images").mkdir()
    (tmp_path / "style.png").write_bytes(b"")
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- figures: style -->\n<!-- end of figures -->\nafter\n")
    for table in ("| 1 |\n", "| 2 |\n"):
        (tmp_path / "style.md").write_text(table)
        publish("style", tmp_path, tmp_path)
    text = page.read_text()
    assert text.startswith("before\n<!-- figures: style -->\n<img")
    assert text.endswith("| 2 |\n<!-- end of figures -->\nafter\n")
    assert "| 1 |" not in text


def test_wilsons_interval_is_scipys():
    stats = pytest.importorskip("scipy.stats")
    for found in (0, 3, 20):
        measured = shares.share(np.arange(20) < found)
        interval = stats.binomtest(found, 20).proportion_ci(method="wilson")
        assert (measured.low, measured.high) == pytest.approx((interval.low, interval.high), abs=1e-6)


def test_a_ratio_is_of_the_same_prompts_and_none_without_hits(tmp_path):
    hits = np.arange(40) < 20
    assert (shares.ratio(hits, hits).low, shares.ratio(hits, hits).high) == (1, 1)
    assert np.isnan(shares.ratio(hits, np.zeros(40, bool)).value)


def test_a_sheet_has_a_column_for_each_name(tmp_path):
    pictures = np.zeros((2, 8, 8, 3), np.uint8)
    sheet = Image.open(write_sheet(tmp_path / "a.png", {"a": pictures, "b": pictures + 255}, ["x", "y"]))
    assert sheet.getpixel((sheet.width - 20, 26)) == (0, 0, 0)
    assert sheet.getpixel((sheet.width - 6, 26)) == (255, 255, 255)


def test_the_classifier_tells_two_sets_apart(tmp_path):
    random = torch.Generator().manual_seed(0)
    first = torch.rand(48, 3, 16, 16, generator=random) * 0.5
    features = [classifier.features_of(Counter.scorer, each) for each in (first, first - 0.5)]
    trained = tuple(each[:24] for each in features)
    found = classifier.train_classifier(lambda: trained, tmp_path / "a.safetensors")
    assert found.is_second(features[1][24:]).all()
    assert not found.is_second(features[0][24:]).any()
    again = classifier.train_classifier(pytest.fail, tmp_path / "a.safetensors")
    assert torch.equal(again.weight, found.weight)


def test_a_picture_is_found_where_one_of_the_five_nearest_shows_its_concept(demo):
    colours = np.eye(3, dtype=np.uint8).repeat(4, axis=0).reshape(12, 1, 1, 3).repeat(4, 1).repeat(4, 2) * 200
    names = [f"{'abc'[k // 4]}{k}" for k in range(12)]
    found = demo.emoji.finds_picture(colours[[0, 0]], ["a3", "b5"], colours, names)
    assert found[0]
