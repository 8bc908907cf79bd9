"""Regional prompts against attention with masks written out on the U-Net's own layers."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from embeddings_told import plain
from mezzotint import Extension, hookimpl
from mezzotint.errors import RequestError
from mezzotint_conditioning import Region
from mezzotint_conditioning.masks import layer_size
from PIL import Image

OPTIONS = {"steps": 2, "seed": 1, "guidance": 3.0, "negative": "ugly"}


def mask(box, size=(32, 32), value=255):
    picture = Image.new("L", size)
    picture.paste(value, box)
    return picture


WHOLE, LEFT, RIGHT = mask((0, 0, 32, 32)), mask((0, 0, 16, 32)), mask((16, 0, 32, 32))


def test_a_region_that_is_the_whole_picture_is_the_prompt_itself(pipe, unchanged):
    expected = pipe("b", **OPTIONS).latents
    torch.testing.assert_close(
        pipe("a", use=[Region("b", WHOLE)], **OPTIONS).latents, expected, atol=1e-5, rtol=1e-5
    )


def test_regions_that_are_nowhere_or_weigh_nothing_change_no_bit(pipe, unchanged):
    expected = pipe("a", **OPTIONS).latents
    for region in (Region("b", Image.new("L", (8, 8))), Region("b", WHOLE, weight=0)):
        assert torch.equal(pipe("a", use=[region], **OPTIONS).latents, expected)


def test_the_halves_of_the_picture_with_the_same_prompt_are_the_prompt(pipe):
    expected = pipe("b", **OPTIONS).latents
    halves = [Region("b", LEFT), Region("b", RIGHT)]
    found = pipe("a", use=halves, **OPTIONS).latents
    # Bicubic masks overlap by a little at the edge, where they are scaled to add up to 1.
    torch.testing.assert_close(found, expected, atol=1e-3, rtol=1e-3)


class Attention:
    """A processor that computes (1 − Σ m) text + Σ m textᵣ, from scratch."""

    def __init__(self, size, texts, masks, rows):
        self.size, self.texts, self.masks, self.rows = size, texts, masks, rows

    def __call__(self, attn, hidden_states, encoder_hidden_states=None, attention_mask=None, temb=None):
        def attend(context):
            q, k, v = attn.to_q(hidden_states), attn.to_k(context), attn.to_v(context)
            q, k, v = (x.unflatten(-1, (attn.heads, -1)).transpose(1, 2) for x in (q, k, v))
            scores = (q @ k.transpose(-1, -2)) * q.shape[-1] ** -0.5
            return (scores.softmax(-1) @ v).transpose(1, 2).flatten(2)

        out = attend(encoder_hidden_states)
        parts = []
        for picture in self.masks:
            small = torch.nn.functional.interpolate(picture, size=self.size, mode="bicubic").clamp(0, 1)
            parts.append(small.reshape(1, -1, 1) * self.rows)
        result = (1 - sum(parts)) * out
        for text, part in zip(self.texts, parts, strict=True):
            result = result + part * attend(text.expand(len(hidden_states), -1, -1))
        return attn.to_out[0](result)


class ByHand(Extension, name="by-hand"):
    texts: tuple = ()
    masks: tuple = ()

    @hookimpl(at="**.attn2")
    def attention_processor(self, layer, run):
        size = layer_size(run.pipe.unet, layer, (16, 16))
        rows = torch.tensor([0.0] * run.n + [1.0] * run.n).view(-1, 1, 1)
        return Attention(size, self.texts, self.masks, rows)


@pytest.mark.parametrize("n", [1, 2])
def test_two_regions_are_masked_attention_written_out(pipe, unchanged, n):
    boxes, greys = [(0, 0, 12, 32), (12, 0, 28, 20)], [255, 102]
    pictures = [mask(box, value=grey) for box, grey in zip(boxes, greys, strict=True)]
    tensors = []
    for (x0, y0, x1, y1), grey in zip(boxes, greys, strict=True):
        tensor = torch.zeros(1, 1, 32, 32)
        tensor[..., y0:y1, x0:x1] = grey / 255
        tensors.append(tensor)
    by_hand = ByHand(texts=(plain(pipe, "b"), plain(pipe, "c")), masks=tuple(tensors))
    expected = pipe("a", n=n, use=[by_hand], **OPTIONS).latents
    found = pipe("a", n=n, use=[Region("b", pictures[0]), Region("c", pictures[1])], **OPTIONS).latents
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)
    assert not torch.allclose(found, pipe("a", n=n, **OPTIONS).latents, atol=1e-2)


def test_overlapping_regions_share(pipe):
    twice = pipe("a", use=[Region("b", WHOLE), Region("b", WHOLE)], **OPTIONS).latents
    torch.testing.assert_close(twice, pipe("b", **OPTIONS).latents, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("size", [(32, 32), (48, 24), (24, 20)])
def test_masks_fit_every_size(pipe, size):
    assert pipe("a", size=size, use=[Region("b", LEFT)], **OPTIONS).images[0].size == size


def test_a_mask_over_the_tokens_is_refused(tmp_path, pipe):
    class Masked(Extension, name="masked"):
        @hookimpl
        def conditioning(self, conditioning):
            return conditioning.replace(attention_mask=torch.ones(conditioning.embeddings.shape[:2]))

    with pytest.raises(RequestError, match="region does not go with a mask over the text's tokens"):
        pipe("a", use=[Masked(), Region("b", LEFT)], **OPTIONS)


@pytest.mark.parametrize(
    "grey",
    [np.full((8, 8), 102 * 257, np.uint16), np.full((8, 8), 0.4, np.float32), np.full((8, 8), 102, np.int32)],
    ids=["16 bits", "floats", "integers"],
)
def test_greys_of_other_kinds_count_as_much_as_those_of_8_bits(pipe, grey):
    expected = pipe("a", use=[Region("b", Image.new("L", (8, 8), 102))], **OPTIONS).latents
    assert torch.equal(pipe("a", use=[Region("b", Image.fromarray(grey))], **OPTIONS).latents, expected)


def test_an_empty_mask_in_memory_is_one_sentence(pipe):
    with pytest.raises(RequestError, match="mask is empty: 0x4 pixels"):
        pipe("a", use=[Region("b", Image.new("L", (0, 4)))], **OPTIONS)


def test_missing_masks_are_named(pipe, tmp_path):
    with pytest.raises(RequestError, match="mask .*absent.png is missing; give a picture file"):
        pipe("a", use=[Region("b", tmp_path / "absent.png")], **OPTIONS)


def test_a_mask_is_opened_before_step_0(pipe, tmp_path):
    (tmp_path / "text.png").write_text("no picture")
    done = []
    with pytest.raises(RequestError, match="mask .*text.png is not a picture that Pillow knows"):
        pipe("a", use=[Region("b", tmp_path / "text.png")], on_step=done.append, **OPTIONS)
    with pytest.raises(RequestError, match="is missing"), pipe.using(Region("b", tmp_path / "none.png")):
        done.append("attached")
    assert not done


def test_what_is_transparent_in_a_mask_is_outside_whatever_its_colour(pipe):
    drawn = Image.new("RGBA", LEFT.size, (255, 255, 255, 0))
    drawn.paste((255, 255, 255, 255), (0, 0), LEFT.convert("L"))
    expected = pipe("a", use=[Region("b", LEFT)], **OPTIONS).latents
    assert torch.equal(pipe("a", use=[Region("b", drawn)], **OPTIONS).latents, expected)
