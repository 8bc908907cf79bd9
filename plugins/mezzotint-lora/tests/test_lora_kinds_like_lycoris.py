"""LoCon, LoHa, LoKr, DoRA, full differences and norms: modules of the lycoris-lora package, saved as it saves them."""

import copy
from contextlib import redirect_stdout
from io import StringIO

import pytest
import torch
from lora_oracle import CONV3, LINEAR, POINTWISE, predict, unchanged
from mezzotint_lora import LoRA
from safetensors.torch import save_file

with redirect_stdout(StringIO()):
    from lycoris.modules.full import FullModule
    from lycoris.modules.locon import LoConModule
    from lycoris.modules.loha import LohaModule
    from lycoris.modules.lokr import LokrModule
    from lycoris.modules.norms import NormModule

NORM, LAYER_NORM = "down_blocks.0.resnets.0.norm1", "mid_block.attentions.0.transformer_blocks.0.norm2"
CASES = {
    "locon": (LoConModule, {}, [LINEAR, POINTWISE, CONV3]),
    "locon tucker": (LoConModule, {"use_tucker": True}, [CONV3, "conv_in"]),
    "loha": (LohaModule, {}, [LINEAR, POINTWISE, CONV3]),
    "loha tucker": (LohaModule, {"use_tucker": True}, [CONV3]),
    "lokr": (LokrModule, {"lora_dim": 1}, [LINEAR, POINTWISE, CONV3]),
    "lokr both low": (LokrModule, {"lora_dim": 1, "decompose_both": True}, [LINEAR, CONV3]),
    "lokr tucker": (LokrModule, {"lora_dim": 1, "use_tucker": True}, [CONV3]),
    "lokr whole": (LokrModule, {"full_matrix": True}, [LINEAR, POINTWISE, CONV3]),
    "lokr rs": (LokrModule, {"lora_dim": 2, "rs_lora": True}, [LINEAR]),
    "dora": (LoConModule, {"weight_decompose": True}, [LINEAR, POINTWISE, CONV3]),
    "dora of columns": (
        LoConModule,
        {"weight_decompose": True, "wd_on_out": False},
        [LINEAR, POINTWISE, CONV3],
    ),
    "dora loha": (LohaModule, {"weight_decompose": True}, [LINEAR, CONV3]),
    "dora lokr": (LokrModule, {"weight_decompose": True, "lora_dim": 1}, [LINEAR, CONV3]),
    "full": (FullModule, {}, [LINEAR, POINTWISE, CONV3]),
    "norm": (NormModule, {}, [NORM, LAYER_NORM]),
}


@pytest.mark.parametrize("fuse", [False, True], ids=["beside", "fused"])
@pytest.mark.parametrize("case", CASES)
def test_a_file_of_lycoris_does_what_lycoris_does(pipe, tmp_path, case, fuse):
    cls, options, paths = CASES[case]
    unet = copy.deepcopy(pipe.unet)
    modules, tensors = [], {}
    torch.manual_seed(3)
    for alpha, path in enumerate(paths, start=1):
        layer = unet.get_submodule(path)
        module = cls(path, layer, **{"lora_dim": 3, "alpha": alpha, **options})
        with torch.no_grad():
            for parameter in module.parameters():
                parameter.copy_(torch.rand(parameter.shape) - 0.3)
        # Its own state_dict expects a full difference to be added to the layer already.
        saved = {"diff": module.weight, "diff_b": module.bias} if cls is FullModule else module.state_dict()
        for name, tensor in saved.items():
            if tensor is not None:
                tensors[f"lora_unet_{path.replace('.', '_')}.{name}"] = tensor.detach().clone()
        modules.append((layer, module))
    save_file(tensors, tmp_path / "lycoris.safetensors")
    # The forward of its modules is the oracle: its merge scales LoHa and LoKr by α / r twice.
    for layer, module in modules:
        module.org_forward = layer.forward
        layer.forward = module.forward
    expected = predict(unet)
    with unchanged(pipe), pipe.using(LoRA(tmp_path / "lycoris.safetensors", fuse=fuse)):
        result = predict(pipe.unet)
    assert not torch.allclose(predict(pipe.unet), expected, atol=1e-4)
    assert (result - expected).abs().max() < 1e-5 * max(1, expected.abs().max())


def test_a_dora_at_weight_zero_is_the_base_and_at_a_half_lies_between(pipe, tmp_path):
    """LyCORIS leaves W + ΔW at 0; we, ComfyUI and A1111 go along the straight line from W."""
    layer = copy.deepcopy(pipe.unet.get_submodule(LINEAR))
    base = layer.weight.detach().clone()
    module = LoConModule(LINEAR, layer, lora_dim=3, weight_decompose=True)
    with torch.no_grad():
        module.lora_up.weight.normal_()
        module.dora_scale.mul_(1.5)
    stem = f"lora_unet_{LINEAR.replace('.', '_')}"
    save_file(
        {f"{stem}.{k}": v.detach().clone() for k, v in module.state_dict().items()},
        tmp_path / "d.safetensors",
    )
    whole = module.get_merged_weight(1)[0].detach()
    with pipe.using(LoRA(tmp_path / "d.safetensors", 0.5)):
        half = pipe.unet.get_submodule(LINEAR).weight.detach().clone()
    assert torch.allclose(half, base + (whole - base) / 2, atol=1e-6)
    with pipe.using(LoRA(tmp_path / "d.safetensors", 0.0)):
        assert torch.equal(pipe.unet.get_submodule(LINEAR).weight, base)
