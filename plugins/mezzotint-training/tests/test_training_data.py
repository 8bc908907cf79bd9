"""Folders, metadata.jsonl and metadata.csv; what is missing or wrong is named."""

from __future__ import annotations

import csv
import json
import logging

import pytest
from mezzotint_training import Captioning, DataError, Item, TrainingSettings, prepare, read_folder
from mezzotint_training.data.reading import with_captions, with_sizes
from PIL import Image


def captions(items):
    return {item.path.name: item.captions for item in items}


def test_a_folder_with_captions_beside(pictures):
    folder = pictures((32, 32), (32, 32))
    (folder / "1.txt").rename(folder / "1.caption")
    assert captions(read_folder(folder)) == {
        "0.png": ("picture 0, red, blue, green",),
        "1.png": ("picture 1, red, blue, green",),
    }


def test_metadata_comes_before_what_lies_beside(pictures):
    folder = pictures((32, 32), (32, 32))
    rows = [{"file_name": "0.png", "text": "a cat"}, {"file_name": "1.png", "captions": ["one", "two"]}]
    (folder / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)))
    assert captions(read_folder(folder)) == {"0.png": ("a cat",), "1.png": ("one", "two")}


def test_pictures_below_are_found_and_masks_are_not_pictures(pictures):
    folder = pictures((32, 32))
    (folder / "more").mkdir()
    Image.new("RGB", (8, 8)).save(folder / "more" / "a.JPG")
    Image.new("L", (8, 8)).save(folder / "0.mask.png")
    items = read_folder(folder)
    assert [item.path.name for item in items] == ["0.png", "a.JPG"]
    assert items[0].mask == folder / "0.mask.png"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{", "line 1 is not JSON"),
        ("[1]", 'every line is an object with a "file_name"'),
        ('{"file_name": "../x.png"}', r"names ../x.png, which lies outside the folder"),
        ('{"file_name": "gone.png"}', "names gone.png, which is not in the folder"),
        (r'{"file_name": "0.png", "text": "a\u0000b"}', "line 1: a NUL in the caption is no text; remove it"),
        ('{"file_name": "/etc/x.png"}', "names /etc/x.png, which lies outside the folder"),
        ('{"file_name": "0.png", "mask": "a/../../x.png"}', "names a/../../x.png, which lies outside"),
        ('{"file_name": "0.png", "mask": "' + "x" * 300 + '"}', "which is not there"),
        ("[" * 100_000, "line 1 is not JSON: lists or objects in it are nested too deeply to read"),
        (
            '{"file_name": "0.png", "text": "\\ud800"}',
            r"line 1: '\\ud800' in the caption is half of a surrogate",
        ),
        (
            '{"file_name": "0.png", "text": "a"}\n\n{"file_name": "./0.png", "text": "b"}',
            "line 3 names 0.png, as line 1 does; a picture has one line",
        ),
        ('{"file_name": "0.png", "text": 3}', "the caption is a text or a list of texts, not 3"),
        ('{"file_name": "0.png", "conditioning_image": "c.png"}', "names c.png, which is not there"),
    ],
)
def test_a_malformed_line_of_metadata_is_named(line, said, pictures):
    folder = pictures((32, 32))
    (folder / "metadata.jsonl").write_text(line)
    with pytest.raises(DataError, match=said):
        read_folder(folder)


def test_metadata_may_be_csv(pictures):
    folder = pictures((32, 32), (32, 32), (32, 32))
    Image.new("L", (32, 32)).save(folder / "m.mask.png")
    rows = '\ufefffile_name,text,mask\r\n0.png,"a cat, ""red""\nand more",m.mask.png\r\n1.png,,\r\n'
    (folder / "metadata.csv").write_text(rows, encoding="utf-8", newline="")
    first, second, _ = read_folder(folder)
    assert first.captions == ('a cat, "red"\nand more',)
    assert first.mask == folder / "m.mask.png"
    assert second.captions == ("picture 1, red, blue, green",)


def test_csv_as_spreadsheets_and_people_write_it(pictures):
    folder = pictures((32, 32), (32, 32))
    long = "x" * 200_000
    rows = f',file_name, text ,,\n0, 0.png , "a cat, red",,,\n,,,\n\n1,1.png,{long}\n'
    (folder / "metadata.csv").write_text(rows)
    before = csv.field_size_limit()
    assert captions(read_folder(folder)) == {"0.png": ("a cat, red",), "1.png": (long,)}
    assert csv.field_size_limit() == before


def test_columns_that_are_no_captions_are_named_where_captions_are_missing(pictures, pipe):
    folder = pictures((32, 32), captions=False)
    (folder / "metadata.csv").write_text("file_name,description\n0.png,a cat\n")
    said = r"0\.png has no caption \(.*metadata\.csv, line 2 has file_name, description, and captions are read from text, "
    with pytest.raises(DataError, match=said):
        prepare(folder, TrainingSettings(), pipe)
    assert prepare(folder, TrainingSettings(missing_captions="name"), pipe)
    (folder / "metadata.csv").write_text("file_name,width,text\n0.png,3,\n")
    with pytest.raises(DataError, match=r"0\.png has no caption; write"):
        prepare(folder, TrainingSettings(), pipe)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "metadata.csv: its first line names the columns, of which one is file_name"),
        ("0.png,a cat\n", "its first line names the columns"),
        (
            "file_name;text\n0.png;a\n",
            "one is file_name, with commas between them; it is 'file_name;text'",
        ),
        ("file_name\ttext\n", r"with commas between them; it is 'file_name\\ttext'"),
        ("File_Name,text\n0.png,a\n", "of which one is file_name, .* it is 'File_Name,text'"),
        ("file_name,text, text\n0.png,a,b\n", "names text twice; keep one of the two columns"),
        (
            "file_name,text\n0.png,a\n0.png,b\n",
            "line 3 names 0.png, as line 2 does; a picture has one row; several captions of one are a list in metadata.jsonl",
        ),
        ("file_name,text\n0.png,a\0b\n", "line 2: a NUL in the caption is no text; remove it"),
        ("file_name,text\n0.png,a cat, red\n", "line 2 has more cells than there are columns"),
        ("file_name,text\n,a cat\n", "line 2: every line has a file_name"),
        ('file_name,text\n0.png,"a cat\n', "line 2 is not CSV: unexpected end of data"),
        ("file_name,text\ngone.png,a\n", r"metadata.csv, line 2 names gone.png, which is not in the folder"),
        ("file_name,text\n../x.png,a\n", "names ../x.png, which lies outside the folder"),
    ],
)
def test_a_malformed_line_of_csv_is_named(text, said, pictures):
    folder = pictures((32, 32))
    (folder / "metadata.csv").write_text(text)
    with pytest.raises(DataError, match=said):
        read_folder(folder)


def test_two_files_of_metadata_are_one_too_many(pictures):
    folder = pictures((32, 32))
    (folder / "metadata.csv").write_text("file_name,text\n0.png,a\n")
    (folder / "metadata.jsonl").write_text("")
    with pytest.raises(DataError, match="has metadata.jsonl and metadata.csv; keep one of them"):
        read_folder(folder)


@pytest.mark.parametrize(
    ("name", "repeats"),
    [("10_sks dog", True), ("2023_holiday", False), ("01_front", False), ("\u0661_front", False)],
)
def test_repeats_in_names_of_folders_are_warned_of_once(name, repeats, pictures, tmp_path, caplog):
    inner = pictures((32, 32), (32, 32), name=name)
    assert len(read_folder(tmp_path)) == 2
    said = f"has folders such as {name}, and repeats in their names are not read"
    assert [said in record.message for record in caplog.records] == [True] * repeats
    caplog.clear()
    read_folder(inner)
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    read_folder(tmp_path)
    assert not caplog.records


def test_text_that_is_not_utf8_is_named_with_its_line(pictures):
    folder = pictures((32, 32))
    (folder / "0.txt").write_bytes("a café".encode("latin-1"))
    with pytest.raises(DataError, match=r"0\.txt, line 1 is not UTF-8 \(byte 0xe9"):
        read_folder(folder)
    rows = '\n{"file_name": "0.png", "text": "a café"}'
    (folder / "metadata.jsonl").write_bytes(rows.encode("latin-1"))
    with pytest.raises(DataError, match=r"metadata\.jsonl, line 2 is not UTF-8 .*; save it as UTF-8"):
        read_folder(folder)


def test_only_ends_of_lines_end_a_line_of_metadata_and_a_byte_order_mark_is_no_text(pictures):
    folder = pictures((32, 32), (32, 32))
    rows = '{"file_name": "0.png", "text": "one\u2028two"}\r\n{"file_name": "1.png", "text": "a\x85b"}\r\n'
    (folder / "metadata.jsonl").write_bytes(b"\xef\xbb\xbf" + rows.encode())
    assert captions(read_folder(folder)) == {"0.png": ("one\u2028two",), "1.png": ("a\x85b",)}


def test_every_file_may_be_a_link_as_in_the_hugging_face_cache(pictures, tmp_path):
    folder = pictures((32, 32))
    Image.new("L", (32, 32)).save(folder / "m.mask.png")
    row = {"file_name": "0.png", "text": "a cat", "mask": "m.mask.png"}
    (folder / "metadata.jsonl").write_text(json.dumps(row))
    (tmp_path / "blobs").mkdir()
    for number, path in enumerate(sorted(folder.iterdir())):
        path.rename(tmp_path / "blobs" / str(number))
        path.symlink_to(f"../blobs/{number}")
    (item,) = read_folder(folder)
    assert (item.path, item.captions, item.mask) == (folder / "0.png", ("a cat",), folder / "m.mask.png")


def test_a_file_name_that_is_no_text_makes_no_caption(pictures, pipe):
    folder = pictures((32, 32), captions=False)
    (folder / "0.png").rename(folder / "caf\udce9.png")
    with pytest.raises(DataError, match=r"'\\udce9' in the caption is half of a surrogate pair"):
        prepare(folder, TrainingSettings(missing_captions="name"), pipe)


def test_an_items_captioning_is_filled_with_what_is_set(pictures, pipe):
    item = Item(pictures((32, 32)) / "0.png", ("a, b",), Captioning(prefix="sks", dropout=0.1))
    settings = TrainingSettings(shuffle_captions=True, caption_dropout=0.5)
    data = prepare([item], settings, pipe)
    assert data.training.items[0].captioning == Captioning(shuffle=True, prefix="sks", dropout=0.1)


def test_a_folder_without_pictures_says_so(tmp_path):
    (tmp_path / "notes.txt").write_text("nothing")
    with pytest.raises(DataError, match=r"has no pictures in it; there may be \.png"):
        read_folder(tmp_path)
    with pytest.raises(DataError, match="is no folder"):
        read_folder(tmp_path / "gone")


def test_each_policy_about_missing_captions(pictures, caplog):
    folder = pictures((32, 32), (32, 32))
    (folder / "1.txt").unlink()
    (folder / "1.png").rename(folder / "red-apple_2.png")
    items = read_folder(folder)
    with pytest.raises(DataError, match=r"red-apple_2\.png has no caption; write a \.txt beside each"):
        with_captions(items, "stop")
    assert captions(with_captions(items, "empty"))["red-apple_2.png"] == ("",)
    assert captions(with_captions(items, "name"))["red-apple_2.png"] == ("red apple 2",)
    assert captions(with_captions(items, "stop", "a fruit"))["red-apple_2.png"] == ("a fruit",)
    with caplog.at_level(logging.WARNING, "mezzotint"):
        assert list(captions(with_captions(items, "skip"))) == ["0.png"]
    assert "red-apple_2.png has no caption and is skipped" in caplog.text


def test_pictures_of_the_class_never_get_the_subjects_caption(pictures, pipe):
    folder = pictures((32, 32), (32, 32), captions=False)
    items = [Item(folder / "0.png"), Item(folder / "1.png", is_prior=True)]
    with pytest.raises(DataError, match=r"1\.png has no caption; .* with prior_caption=…"):
        prepare(items, TrainingSettings(caption="a photo of sks dog"), pipe)
    settings = TrainingSettings(caption="a photo of sks dog", prior_caption="a photo of a dog")
    data = prepare(items, settings, pipe)
    assert captions(data.training.items) == {
        "0.png": ("a photo of sks dog",),
        "1.png": ("a photo of a dog",),
    }


def test_a_corrupt_picture_among_good_ones_is_named_and_stops_or_is_skipped(pictures, caplog):
    folder = pictures((32, 32), (32, 32), (32, 32))
    (folder / "1.png").write_bytes(b"not a picture")
    items = read_folder(folder)
    with pytest.raises(
        DataError, match=r"1\.png is not a picture .*; repair or remove it, or choose bad_images=skip"
    ):
        with_sizes(items, "stop", decode=False)
    with caplog.at_level(logging.WARNING, "mezzotint"):
        assert [item.path.name for item in with_sizes(items, "skip", decode=False)] == ["0.png", "2.png"]
    assert "1.png is not a picture" in caplog.text


def test_the_digest_covers_bytes_and_masks_and_not_where_the_folder_lies(tmp_path, pipe):
    folder = tmp_path / "bitmaps"
    folder.mkdir()
    files = (folder / "a.tif", folder / "a.mask.tif")
    for file in files:
        Image.new("RGBA", (32, 32), "red").save(file)

    def digest(**options) -> str:
        settings = TrainingSettings(caption="a square", **{"masks": True, **options})
        return prepare(folder, settings, pipe).training.digest()

    found = [digest(), digest(masks=False), digest(alpha_masks=True)]
    for file in files:
        whole = file.read_bytes()
        # The size stays.
        Image.new("RGBA", (32, 32), "blue").save(file)
        found.append(digest())
        file.write_bytes(whole)
    assert len(set(found)) == 5
    folder = folder.rename(tmp_path / "elsewhere")
    assert digest() == found[0]


def test_pictures_held_out_are_the_same_in_every_run(pictures, pipe):
    folder = pictures(*[(32, 32)] * 10)
    first, again = (prepare(folder, TrainingSettings(validation=0.3), pipe) for _ in range(2))
    assert [item.path for item in first.held_out.items] == [item.path for item in again.held_out.items]
    assert len(first.held_out) == 3
    assert not {item.path for item in first.held_out.items} & {item.path for item in first.training.items}
