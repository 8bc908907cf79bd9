"""Whatever mode and orientation a picture is stored in, it is seen as a person sees it."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from mezzotint.pictures import open_picture
from mezzotint_training import Buckets, DataError, Item
from mezzotint_training.data.buckets import Placement
from mezzotint_training.data.images import (
    View,
    centred,
    check_decodes,
    load_conditioning,
    load_mask,
    load_view,
    probe,
)
from PIL import Image

WHITE, BLACK = (255, 255, 255), (0, 0, 0)


def seen(path: Path, size=(16, 16), background=WHITE) -> torch.Tensor:
    return load_view(centred(Item(path), Placement(size, size)), background)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "I", "I;16", "F"])
def test_a_grey_picture_is_grey_in_every_mode(mode, tmp_path):
    grey = Image.new("L", (16, 16), 128 if mode != "1" else 255)
    if mode in ("I", "I;16"):
        values = np.full((16, 16), 128 * 257, dtype=np.uint16 if mode == "I;16" else np.int32)
        image = Image.fromarray(values)
    elif mode == "F":
        image = Image.fromarray(np.full((16, 16), 128 / 255, dtype=np.float32))
    else:
        image = grey.convert("P" if mode == "P" else "RGB").convert(mode)
    path = tmp_path / ("a.tif" if mode in ("F", "CMYK", "YCbCr", "I") else "a.png")
    image.save(path)
    expected = 1.0 if mode == "1" else 128 / 255 * 2 - 1
    assert (seen(path) - expected).abs().max() < 0.02


def test_what_is_transparent_shows_the_background(tmp_path):
    layers = Image.new("RGBA", (16, 16), (255, 0, 0, 0))
    layers.paste((0, 255, 0, 255), (0, 0, 8, 16))
    layers.save(tmp_path / "a.png")
    on_white, on_black = seen(tmp_path / "a.png"), seen(tmp_path / "a.png", background=BLACK)
    assert torch.equal(on_white[:, 0, 0], torch.tensor([-1.0, 1.0, -1.0]))
    assert torch.equal(on_white[:, 0, 15], torch.tensor([1.0, 1.0, 1.0]))
    assert torch.equal(on_black[:, 0, 15], torch.tensor([-1.0, -1.0, -1.0]))


def test_a_transparent_palette_colour_shows_the_background(tmp_path):
    image = Image.new("P", (16, 16), 0)
    image.putpalette([255, 0, 0, 0, 0, 255])
    image.save(tmp_path / "a.png", transparency=0)
    assert torch.equal(seen(tmp_path / "a.png"), torch.ones(3, 16, 16))


def test_exif_rotation_is_applied_to_size_and_pixels(tmp_path):
    image = Image.new("RGB", (20, 10), "black")
    image.paste((255, 255, 255), (0, 0, 10, 10))
    exif = Image.Exif()
    exif[0x0112] = 6
    image.save(tmp_path / "a.jpg", exif=exif, quality=95)
    assert probe(Item(tmp_path / "a.jpg")).size == (10, 20)
    upright = seen(tmp_path / "a.jpg", size=(10, 20))
    assert upright[:, 2, 5].min() > 0.9
    assert upright[:, 17, 5].max() < -0.9


def test_the_first_frame_of_an_animation_is_used(tmp_path):
    frames = [Image.new("RGB", (16, 16), colour) for colour in ("white", "black")]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    assert seen(tmp_path / "a.gif").min() > 0.9


def test_a_huge_picture_is_refused_by_its_header(tmp_path):
    """A PNG that says 50,000 × 50,000 and holds nothing."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 50_000, 50_000, 8, 2, 0, 0, 0)
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IEND", b""))
    with pytest.raises(DataError, match="2,500,000,000 pixels; at most 134,217,728 are opened"):
        probe(Item(tmp_path / "a.png"))


def test_a_picture_that_is_cut_off_is_named(tmp_path):
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)).save(
        tmp_path / "a.png"
    )
    whole = (tmp_path / "a.png").read_bytes()
    (tmp_path / "b.png").write_bytes(whole[: len(whole) // 2])
    assert probe(Item(tmp_path / "b.png")).size == (64, 64)
    with pytest.raises(DataError, match=r"b\.png is broken"):
        check_decodes(Item(tmp_path / "b.png"))


def test_cut_and_mirror_are_those_of_the_view(tmp_path):
    ramp = np.broadcast_to(np.arange(32, dtype=np.uint8)[None, :, None] * 8, (32, 32, 3))
    Image.fromarray(ramp).save(tmp_path / "a.png")
    view = View(Item(tmp_path / "a.png"), Placement((16, 32), (32, 32)), left=4, top=0)
    pixels = (load_view(view, WHITE) + 1) / 2 * 255
    assert torch.allclose(pixels[0, 0], torch.arange(4.0, 20.0) * 8)
    mirrored = (load_view(View(view.item, view.placement, 4, 0, mirrored=True), WHITE) + 1) / 2 * 255
    assert torch.allclose(mirrored, pixels.flip(2))


def test_a_mask_is_cut_as_its_picture_is(tmp_path):
    Image.new("RGB", (32, 32)).save(tmp_path / "a.png")
    mask = Image.new("L", (64, 64))
    mask.paste(255, (0, 0, 32, 64))
    mask.save(tmp_path / "a.mask.png")
    item = Item(tmp_path / "a.png", mask=tmp_path / "a.mask.png")
    found = load_mask(centred(item, Placement((16, 16), (16, 16))))
    assert found.shape == (1, 16, 16)
    assert found[..., :7].min() > 0.98
    assert found[..., 9:].max() < 0.02


def test_what_is_transparent_in_a_mask_does_not_count(tmp_path):
    Image.new("RGB", (16, 16)).save(tmp_path / "a.png")
    mask = Image.new("RGBA", (16, 16), (255, 255, 255, 0))
    mask.paste((255, 255, 255, 255), (0, 0, 8, 16))
    mask.save(tmp_path / "a.mask.png")
    found = load_mask(
        centred(Item(tmp_path / "a.png", mask=tmp_path / "a.mask.png"), Placement((16, 16), (16, 16)))
    )
    assert torch.equal(found[0, 0], torch.cat([torch.ones(8), torch.zeros(8)]))


def test_a_control_map_is_seen_as_when_pictures_are_made(tmp_path):
    layers = Image.new("RGBA", (16, 16), (0, 0, 0, 0))
    layers.paste((200, 100, 0, 255), (0, 0, 8, 16))
    layers.save(tmp_path / "map.png")
    item = Item(tmp_path / "a.png", conditioning=tmp_path / "map.png")
    found = load_conditioning(centred(item, Placement((16, 16), (16, 16))))
    opened = np.asarray(open_picture(tmp_path / "map.png"), dtype=np.float32) / 255
    assert torch.equal(found, torch.from_numpy(opened).permute(2, 0, 1))


def test_a_picture_with_holes_is_named(tmp_path):
    Image.fromarray(np.full((16, 16), np.nan, np.float32)).save(tmp_path / "a.tif")
    with pytest.raises(DataError, match=r"a\.tif has pixels that are not finite numbers"):
        seen(tmp_path / "a.tif")


def test_transparency_is_a_mask_where_it_is_asked_for(tmp_path):
    layers = Image.new("RGBA", (16, 16), (0, 0, 0, 255))
    layers.paste((0, 0, 0, 0), (0, 0, 8, 16))
    layers.save(tmp_path / "a.png")
    place = Buckets((16, 16), enabled=False).place((16, 16))
    assert load_mask(centred(Item(tmp_path / "a.png"), place)) is None
    found = load_mask(centred(Item(tmp_path / "a.png", alpha_mask=True), place))
    assert torch.equal(found[0, 0], torch.cat([torch.zeros(8), torch.ones(8)]))
