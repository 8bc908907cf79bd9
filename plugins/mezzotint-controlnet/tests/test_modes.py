"""Control modes, resize modes, layer weights and regions against formulas written out here."""

import cv2
import numpy as np
import pytest
import torch
from diffusers import ControlNetModel
from diffusers import T2IAdapter as T2IAdapterModel
from mezzotint.errors import ModelError, RequestError
from mezzotint_controlnet import ControlNet, T2IAdapter
from mezzotint_controlnet.modes import adapter_soft_weights, soft_weights
from PIL import Image
from tiny_networks import noise_picture, see

WIDE = noise_picture(4, size=(48, 20))


def stretched(pixels):
    return cv2.resize(pixels, (32, 32), interpolation=cv2.INTER_CUBIC)


def cropped(pixels):
    # 20 high becomes 32, 48 wide becomes 76.8, so 77; the middle 32 of them start at 22.
    return cv2.resize(pixels, (77, 32), interpolation=cv2.INTER_CUBIC)[:, 22:54]


def filled(pixels):
    # 48 wide becomes 32, 20 high becomes 13.3, so 13; 9 rows above.
    border = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    whole = np.empty((32, 32, 3), np.uint8)
    whole[:] = np.median(border, axis=0)
    whole[9:22] = cv2.resize(pixels, (32, 13), interpolation=cv2.INTER_AREA)
    return whole


@pytest.mark.parametrize("layer_weights", [None, [0.1, 0.2, 0.3, 0.4, 0.9]])
@pytest.mark.parametrize(("resize", "resized"), [("just", stretched), ("crop", cropped), ("fill", filled)])
@pytest.mark.parametrize("mode", ["balanced", "prompt", "control"])
def test_residuals_follow_the_formula(mode, resize, resized, layer_weights, pipe, edges):
    control = ControlNet(edges, WIDE, 0.7, mode=mode, resize=resize, layer_weights=layer_weights)
    seen = see(pipe, control)
    network = ControlNetModel.from_pretrained(edges)
    pixels = torch.from_numpy(resized(np.asarray(WIDE))).permute(2, 0, 1)[None] / 255
    with torch.no_grad():
        down, mid = network(
            seen["sample"],
            seen["timestep"],
            seen["conditioning"].embeddings,
            pixels.repeat(2, 1, 1, 1),
            return_dict=False,
        )
    soft = [0.825**4, 0.825**3, 0.825**2, 0.825, 1.0]
    weights = layer_weights or ([1.0] * 5 if mode == "balanced" else soft)
    residuals = [*seen["residuals"].down, seen["residuals"].mid]
    for residual, raw, weight in zip(residuals, [*down, mid], weights, strict=True):
        expected = raw * (0.7 * weight)
        if mode == "control":
            expected[0] = 0  # the negative pass
        torch.testing.assert_close(residual, expected, atol=1e-6, rtol=1e-5)


def test_soft_weights_are_the_web_uis_for_sd_and_sdxl():
    webui = [0.825 ** float(12 - i) for i in range(13)]
    assert list(soft_weights(13)) == webui
    assert list(soft_weights(10)) == webui[:10]
    assert soft_weights(5)[-1] == 1
    assert adapter_soft_weights(4) == (0.25, 0.62, 0.825, 1.0)
    assert adapter_soft_weights(2) == (0.25, 0.62)


@pytest.mark.parametrize("mode", ["balanced", "prompt", "control", "guess"])
def test_a_region_mask_is_zero_outside_and_changes_nothing_inside(mode, pipe, edges, picture):
    mask = Image.new("L", (32, 32))
    mask.paste(255, (0, 0, 16, 32))
    inside = see(pipe, ControlNet(edges, picture, mode=mode, mask=mask))["residuals"]
    everywhere = see(pipe, ControlNet(edges, picture, mode=mode))["residuals"]
    for part, whole in zip([*inside.down, inside.mid], [*everywhere.down, everywhere.mid], strict=True):
        half = part.shape[-1] // 2
        assert not part[..., half:].any()
        assert torch.equal(part[..., :half], whole[..., :half])


def test_a_mask_may_have_any_size(pipe, edges, picture):
    mask = Image.new("L", (200, 90), 255)
    whole = see(pipe, ControlNet(edges, picture))["residuals"]
    masked = see(pipe, ControlNet(edges, picture, mask=mask))["residuals"]
    assert torch.equal(masked.mid, whole.mid)


def test_pooled_residuals_stay_inside_the_mask(pipe, make_controlnet, picture):
    shuffle = make_controlnet(4, global_pool_conditions=True)
    mask = Image.new("L", (32, 32))
    mask.paste(255, (0, 0, 16, 32))
    residual = see(pipe, ControlNet(shuffle, picture, mask=mask))["residuals"].mid
    assert not residual[..., residual.shape[-1] // 2 :].any()
    assert residual[1].any()


def test_neither_network_changes_what_the_other_returned(pipe, edges, depth, picture):
    first, second = ControlNet(edges, picture), ControlNet(depth, picture, 0.5)
    alone = see(pipe, first)["residuals"]
    together = see(pipe, first, second)["residuals"]
    for one, other in zip([*alone.down, alone.mid], [*together.down, together.mid], strict=True):
        assert torch.equal(one, other)


def test_a_new_controlnet_equals_none_bit_for_bit(make_controlnet, picture, latents):
    zero = make_controlnet(0, zero=True)
    assert torch.equal(latents(ControlNet(zero, picture)), latents())
    assert torch.equal(latents(ControlNet(zero, picture, mode="guess")), latents())


def test_three_networks_sum_to_the_same_in_any_order(edges, depth, make_controlnet, latents):
    use = [
        ControlNet(folder, noise_picture(k)) for k, folder in enumerate([edges, depth, make_controlnet(9)])
    ]
    torch.testing.assert_close(latents(*use), latents(*reversed(use)), atol=1e-4, rtol=1e-4)


def test_layer_weights_must_be_as_many_as_residuals(edges, picture, latents):
    with pytest.raises(RequestError, match="layer_weights has 2 factors; this network has 5 residuals"):
        latents(ControlNet(edges, picture, layer_weights=[1, 1]))


@pytest.fixture
def adapter(tmp_path):
    torch.manual_seed(1)
    network = T2IAdapterModel(channels=[8, 16], num_res_blocks=1, downscale_factor=2)
    network.save_pretrained(tmp_path / "adapter")
    return tmp_path / "adapter"


@pytest.mark.parametrize("layer_weights", [None, [0.3, 0.9]])
@pytest.mark.parametrize("mode", ["balanced", "prompt", "control"])
def test_an_adapters_features_follow_the_web_uis_formula(mode, layer_weights, pipe, adapter, picture):
    control = T2IAdapter(adapter, picture, 0.7, mode=mode, layer_weights=layer_weights)
    seen = see(pipe, control)
    pixels = torch.from_numpy(np.asarray(picture)).permute(2, 0, 1)[None] / 255
    with torch.no_grad():
        features = T2IAdapterModel.from_pretrained(adapter)(pixels)
    weights = layer_weights or ([1.0, 1.0] if mode == "balanced" else [0.25, 0.62])
    for residual, raw, weight in zip(seen["residuals"].adapter, features, weights, strict=True):
        expected = (raw * (0.7 * weight)).repeat(2, 1, 1, 1)
        if mode == "control":
            expected[0] = 0  # the negative pass
        torch.testing.assert_close(residual.expand_as(expected), expected, atol=1e-6, rtol=1e-5)


def test_an_adapter_acts_in_its_window_and_region(pipe, adapter, picture):
    mask = Image.new("L", (32, 32))
    mask.paste(255, (0, 0, 16, 32))
    early = T2IAdapter(adapter, picture, end=0.5, mask=mask)
    assert see(pipe, early, steps=2)["residuals"] is None  # the last step
    feature = see(pipe, T2IAdapter(adapter, picture, mask=mask))["residuals"].adapter[0]
    assert not feature[..., 8:].any()
    assert feature[..., :8].any()


def test_an_adapter_of_another_u_net_is_refused_with_both_shapes(pipe, picture, tmp_path):
    T2IAdapterModel(channels=[4, 8, 8], num_res_blocks=1, downscale_factor=2).save_pretrained(tmp_path / "x")
    with pytest.raises(
        ModelError, match=r"features have \(4, 8, 8\) channels, this U-Net's blocks \(8, 16\)"
    ):
        pipe("a cat", steps=1, use=[T2IAdapter(tmp_path / "x", picture)])


def test_an_adapter_needs_sides_that_it_can_shuffle(pipe, picture, tmp_path):
    T2IAdapterModel(channels=[8, 16], num_res_blocks=1, downscale_factor=3).save_pretrained(tmp_path / "x")
    with pytest.raises(RequestError, match="sides are multiples of 3, and this run's are 32x32"):
        pipe("a cat", steps=1, use=[T2IAdapter(tmp_path / "x", picture)])
