"""`mezzotint lora inspect`, `convert`, `merge`, `resize`, `extract`."""

import copy
import json
import re
from types import SimpleNamespace

import pytest
import torch
from click.testing import CliRunner
from lora_oracle import CONV3, LINEAR, POINTWISE, changed, predict, random_lows, write_kohya
from mezzotint import MezzotintError
from mezzotint_lora import Adapter, Delta, LoRA, Target, commands, read_adapter, write_adapter
from mezzotint_lora.combining import extract, merge, resize
from mezzotint_lora.decomposing import Keep
from mezzotint_lora.names import Names
from safetensors.torch import load_file, save_file

SPECS = {spec.name: spec for spec in commands()}
WORDS = {
    "ss_output_name": "ghosts",
    "ss_base_model_version": "sd_v1",
    "ss_tag_frequency": json.dumps({"10_ghost": {"ghost": 12, "white": 3}, "b": {"ghost": 1}}),
    "modelspec.author": "someone\x1b[31m",
}


def call(name, *args, ok=0):
    result = CliRunner().invoke(SPECS[f"lora {name}"].load(), [str(arg) for arg in args])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == ok, result.output
    return result.stdout


@pytest.fixture
def lows(pipe):
    return random_lows(pipe.unet, [LINEAR, POINTWISE, CONV3], [1.0, 4.0, None])


@pytest.fixture
def file(lows, tmp_path):
    return write_kohya(tmp_path / "a.safetensors", lows, metadata=WORDS)


@pytest.fixture
def names(pipe):
    return {"unet": Names.of(pipe.unet), "text_encoder": Names.of(pipe.text_encoder)}


@pytest.fixture
def model(folder, shared_pipe):
    """The tiny model's folder."""
    return folder


@pytest.mark.parametrize("name", SPECS)
def test_a_command_has_help(name):
    if "train" in name:
        return  # its own tests
    assert "Usage" in call(name.removeprefix("lora "), "--help")


def test_inspect_says_what_is_in_a_file_without_a_model(file):
    text = call("inspect", file)
    for line in (
        r"format +kohya",
        r"for +Stable Diffusion 1\.x \(its header says sd_v1\)",
        r"title +ghosts",
        r"kinds +LoRA \(2\), LoCon \(1\)",
        r"rank +4 \(3\)",
        r"alpha +1 \(1\), 4 \(1\), missing \(= rank\) \(1\)",
        r"modules +unet \(3\)",
        r"blocks +down\.0 \(2\), mid \(1\)",
        r"words +ghost \(13\), white \(3\)",
    ):
        assert re.search(line, text), (line, text)
    assert "\x1b" not in text


def test_inspect_prints_nothing_raw_that_a_stranger_wrote(file, model):
    words = {
        "ss_tag_frequency": json.dumps({"x": {"\x1b[31mred\n": 3}}),
        "ss_base_model_version": "flux\x1b[2J",
        "modelspec.trigger_phrase": "a\x1b]0;title\x07\x9b1m",
    }
    save_file(load_file(file) | {"\x1b[2Jodd": torch.ones(1)}, file, metadata=words)
    for text in (
        call("inspect", file),
        call("inspect", file, "-m", model, ok=1),
        call("inspect", file, "-m", model, "--keys", ok=1),
        call("inspect", file, "--json"),
    ):
        assert all(line.isprintable() for line in text.split("\n")), text
    found = json.loads(call("inspect", file, "--json"))
    assert found["words"] == {words["modelspec.trigger_phrase"]: 0, "\x1b[31mred": 3}
    assert list(found["unread"]) == ["\x1b[2Jodd"]


def test_inspect_as_json_has_the_same(file):
    found = json.loads(call("inspect", file, "--json"))
    assert found["format"] == "kohya"
    assert found["ranks"] == {"4": 3}
    assert found["words"] == {"ghost": 13, "white": 3}
    assert found["unread"] == {}


def test_inspect_says_whether_it_will_load_into_a_model(file, model, tmp_path):
    assert "yes, 8 keys on 3 modules" in call("inspect", file, "-m", model)
    assert json.loads(call("inspect", file, "-m", model, "--json"))["model"]["fits"] is True
    tensors = load_file(file)
    stem = f"lora_unet_{LINEAR.replace('.', '_')}"
    tensors[f"{stem}.lora_up.weight"] = torch.ones(3, 4)
    save_file(tensors, tmp_path / "b.safetensors")
    text = call("inspect", tmp_path / "b.safetensors", "-m", model, ok=1)
    assert "no. It has 3 keys that do not fit" in text
    assert f"{stem}.alpha (and 2 more like it) does not fit unet.{LINEAR}" in text


def test_inspect_reads_a_file_that_can_only_be_read_in_part(tmp_path):
    tensors = {"lora_unet_a.oft_blocks": torch.ones(1), "lora_unet_b.diff": torch.ones(1)}
    save_file(tensors, tmp_path / "b.safetensors")
    assert "lora_unet_a.oft_blocks is OFT, which is not supported" in call(
        "inspect", tmp_path / "b.safetensors"
    )


def test_inspect_says_a_reason_once(tmp_path):
    tensors = {f"lora_unet_{name}.oft_blocks": torch.ones(1) for name in "abc"}
    save_file(tensors | {"lora_unet_d.diff": torch.ones(1)}, tmp_path / "b.safetensors")
    lines = call("inspect", tmp_path / "b.safetensors").splitlines()
    assert [line.split(None, 1)[1] for line in lines if line.startswith("unread")] == [
        "lora_unet_a.oft_blocks (and 2 more like it) is OFT, which is not supported"
    ]


def test_a_model_is_not_merged_into_itself(file, model):
    before = sorted(model.rglob("*"))
    with pytest.raises(MezzotintError, match="lies within the model's own folder"):
        call("merge", file, "--into", model, "-o", model / "merged")
    assert sorted(model.rglob("*")) == before


def test_extract_keeps_a_bias_whose_weight_is_the_same_and_refuses_what_is_no_number(pipe):
    tuned = copy.deepcopy(pipe.unet)
    with torch.no_grad():
        tuned.conv_in.bias += 1
        tuned.conv_out.weight += 1
    adapter, _ = extract({"unet": pipe.unet}, {"unet": tuned}, Keep(4), norms=True)
    assert torch.allclose(adapter.deltas[Target("unet", "conv_in")].tensors["bias"], torch.ones(1), atol=1e-6)
    with torch.no_grad():
        tuned.conv_in.weight[0, 0, 0, 0] = float("nan")
    with pytest.raises(MezzotintError, match="conv_in has weights that are no finite numbers"):
        extract({"unet": pipe.unet}, {"unet": tuned}, Keep(4))


def test_what_has_no_rank_is_not_resized(tmp_path):
    save_file({"lora_unet_b.diff": torch.ones(2, 2)}, tmp_path / "b.safetensors")
    with pytest.raises(MezzotintError, match="nothing in it has a rank"):
        call("resize", tmp_path / "b.safetensors", tmp_path / "c.safetensors", "--rank", 2)
    assert not (tmp_path / "c.safetensors").exists()


@pytest.mark.parametrize("format", ["diffusers", "peft"])
def test_convert_there_and_back(pipe, file, lows, model, tmp_path, format):
    out = tmp_path / ("x" if format == "peft" else "x.safetensors")
    call("convert", file, out, "--to", format, "--model", model)
    with pipe.using(LoRA(out)):
        result = predict(pipe.unet)
    assert (result - changed(pipe.unet, {m: low.change for m, low in lows.items()})).abs().max() < 1e-5
    call("convert", out, tmp_path / "back.safetensors")
    call("convert", file, tmp_path / "same.safetensors")
    assert (tmp_path / "back.safetensors").read_bytes() == (tmp_path / "same.safetensors").read_bytes()


def test_nothing_is_written_over_unless_asked(file, tmp_path):
    out = tmp_path / "out.safetensors"
    out.write_bytes(b"mine")
    for name, args in (
        ("convert", [file, out]),
        ("merge", [file, "-o", out]),
        ("resize", [file, out, "--rank", 2]),
    ):
        with pytest.raises(MezzotintError, match="exists; choose another name, or --force"):
            call(name, *args)
    assert out.read_bytes() == b"mine"
    call("convert", file, out, "--force")
    assert len(read_adapter(out).deltas) == 3


def test_merge_is_exact_when_ranks_may_add_up(pipe, file, lows, model, tmp_path):
    others = random_lows(pipe.unet, [LINEAR, CONV3], [2.0, 2.0], seed=1)
    other = write_kohya(tmp_path / "b.safetensors", others)
    out = tmp_path / "out.safetensors"
    call("merge", f"{file}:0.7", f"{other}:-0.5", "-o", out, "-m", model)
    total = {m: 0.7 * low.change for m, low in lows.items()}
    for module, low in others.items():
        total[module] = total[module] - 0.5 * low.change
    with pipe.using(LoRA(out)):
        result = predict(pipe.unet)
    assert (result - changed(pipe.unet, total)).abs().max() < 1e-5
    assert sorted(int(d.tensors["down"].shape[0]) for d in read_adapter(out).deltas.values()) == [4, 8, 8]


def test_merge_to_a_rank_keeps_the_nearest(pipe, names):
    weight = pipe.unet.get_submodule(LINEAR).weight
    low = random_lows(pipe.unet, [LINEAR], [4.0])[LINEAR]
    again = Adapter({Target("unet", LINEAR): Delta("lora", {"down": low.down, "up": low.up}, 4.0)})
    # The sum of a change of rank 4 and half of it again has rank 4.
    merged = merge([again, again], [1.0, 0.5], Keep(4), names).deltas[Target("unet", LINEAR)]
    assert merged.tensors["down"].shape == (4, weight.shape[1])
    assert torch.allclose(merged.tensors["up"] @ merged.tensors["down"], 1.5 * low.change, atol=1e-4)
    best = torch.linalg.svdvals(low.change)
    cut = resize(again, Keep(2)).deltas[Target("unet", LINEAR)]
    error = torch.linalg.matrix_norm(cut.tensors["up"] @ cut.tensors["down"] - low.change)
    assert error == pytest.approx(float((best[2:4] ** 2).sum().sqrt()), rel=1e-4)


@pytest.mark.parametrize(
    ("keep", "expected"),
    [
        (Keep(8), 4),
        (Keep(2), 2),
        (Keep(8, "ratio", 5), 3),
        (Keep(8, "fro", 0.9), 2),
        (Keep(8, "cumulative", 0.9), 3),
        (Keep(2, "cumulative", 0.9), 2),
        (Keep(8, "fro", 1.0), 4),
    ],
)
def test_rules_for_the_rank_are_kohyas(keep, expected):
    assert keep.count(torch.tensor([10.0, 6.0, 3.0, 1.0])) == expected


def test_a_loha_becomes_a_lora_when_it_is_resized(pipe):
    factors = {
        f"w{i}_{side}": torch.randn(16, 1) if side == "a" else torch.randn(1, 32)
        for i in "12"
        for side in "ab"
    }
    adapter = Adapter({Target("unet", LINEAR): Delta("loha", factors, 1.0)})
    (delta,) = resize(adapter, Keep(1)).deltas.values()
    expected = (factors["w1_a"] @ factors["w1_b"]) * (factors["w2_a"] @ factors["w2_b"])
    assert torch.allclose(delta.tensors["up"] @ delta.tensors["down"], expected, atol=1e-4)


def test_extract_finds_a_change_of_its_rank_again(pipe, lows):
    tuned = copy.deepcopy(pipe.unet)
    with torch.no_grad():
        for path, low in lows.items():
            tuned.get_submodule(path).weight += low.change
        tuned.get_submodule("conv_norm_out").weight += 1
        tuned.get_submodule("conv_in").bias += 1
    adapter, share = extract({"unet": pipe.unet}, {"unet": tuned}, Keep(4))
    assert share > 0.9999999
    for target, delta in adapter.deltas.items():
        change = (delta.tensors["up"].flatten(1) @ delta.tensors["down"].flatten(1)).view_as(
            lows[target.module].change
        )
        assert torch.allclose(change, lows[target.module].change, atol=1e-4)
    with_norms, _ = extract({"unet": pipe.unet}, {"unet": tuned}, Keep(4), norms=True)
    assert Target("unet", "conv_norm_out") in with_norms.deltas


def test_merge_into_a_model_then_extract_from_it(pipe, file, lows, model, tmp_path):
    import mezzotint

    merged = tmp_path / "merged"
    call("merge", f"{file}:0.5", "--into", model, "-o", merged)
    other = mezzotint.load(merged)
    expected = changed(pipe.unet, {m: low.change for m, low in lows.items()}, 0.5)
    assert (predict(other.unet) - expected).abs().max() < 1e-5
    assert not [path.name for path in tmp_path.iterdir() if path.name.startswith(".")]
    out = tmp_path / "again.safetensors"
    call("extract", model, merged, "-o", out, "--rank", 4)
    with pipe.using(LoRA(out)):
        assert (predict(pipe.unet) - expected).abs().max() < 1e-4


def test_extract_of_equal_models_says_so(pipe):
    with pytest.raises(MezzotintError, match="do not differ"):
        extract({"unet": pipe.unet}, {"unet": pipe.unet}, Keep(4))


def test_a_dora_cannot_be_merged_without_a_model(names):
    tensors = {"down": torch.ones(1, 32), "up": torch.ones(16, 1), "magnitude": torch.ones(16, 1)}
    adapter = Adapter({Target("unet", LINEAR): Delta("lora", tensors)})
    with pytest.raises(MezzotintError, match="is a DoRA, whose change depends on the model's weights"):
        merge([adapter, adapter], [1, 1], None, names)


@pytest.mark.parametrize(
    ("args", "sentence"),
    [
        (["--rank", 4, "--fro", 0.9, "--ratio", 5], "--ratio and --fro cannot be used together"),
        (["--rank", 4, "--fro", 1.5], "share to keep must be above 0 and at most 1"),
        (["--rank", 4, "--ratio", 0.5], "must be above 1"),
        (["--ratio", "nan"], "must be above 1 and finite, not nan"),
        (["--ratio", "inf"], "must be above 1 and finite, not inf"),
        ([], "say how far: --rank N, or --ratio, --fro or --cumulative X"),
    ],
)
def test_rules_out_of_range_are_a_sentence(file, tmp_path, args, sentence):
    with pytest.raises(MezzotintError, match=sentence):
        call("resize", file, tmp_path / "out.safetensors", *args)


def test_a_resized_file_keeps_its_words(file, model, tmp_path):
    call("resize", file, tmp_path / "small.safetensors", "--rank", 2, "-m", model)
    small = read_adapter(tmp_path / "small.safetensors")
    assert small.metadata["ss_output_name"] == "ghosts"
    assert {int(d.tensors["down"].shape[0]) for d in small.deltas.values()} == {2}


@pytest.mark.parametrize(("rule", "rank"), [(["--ratio", 5], 2), (["--fro", 1], 4), (["--ratio", 1e30], 4)])
def test_a_rule_decides_without_a_rank_within_that_of_the_file(rule, rank, tmp_path):
    down, up = torch.zeros(4, 32), torch.zeros(16, 4)
    for number, value in enumerate((10.0, 6.0, 1.0, 0.5)):
        down[number, number], up[number, number] = value, 1.0
    adapter = Adapter({Target("unet", LINEAR): Delta("lora", {"down": down, "up": up}, 4.0)})
    write_adapter(tmp_path / "a.safetensors", adapter)
    call("resize", tmp_path / "a.safetensors", tmp_path / "b.safetensors", *rule, "--to", "kohya")
    (delta,) = read_adapter(tmp_path / "b.safetensors").deltas.values()
    assert len(delta.tensors["down"]) == rank


def test_a_rule_for_singular_values_that_is_not_there_is_a_sentence():
    with pytest.raises(
        MezzotintError, match="there is no rule 'bogus' for singular values; there are rank, ratio"
    ):
        Keep(None, "bogus", 1.0)


@pytest.mark.parametrize("keep", [Keep(None, "ratio", 1e30), Keep(64)])
@pytest.mark.parametrize(
    ("kind", "shapes", "rank"),
    [
        ("loha", {"w1_a": (64, 2), "w1_b": (2, 96), "w2_a": (64, 3), "w2_b": (3, 96)}, 6),
        ("lokr", {"w1": (4, 6), "w2_a": (16, 2), "w2_b": (2, 16)}, 8),
        ("lokr", {"w1_a": (4, 1), "w1_b": (1, 6), "w2": (16, 4, 2, 2)}, 16),
        ("lora", {"down": (4, 96), "up": (64, 4)}, 4),
    ],
)
def test_no_rounding_is_kept_as_rank(kind, shapes, rank, keep):
    generator = torch.Generator().manual_seed(0)
    tensors = {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}
    (delta,) = resize(Adapter({Target("unet", LINEAR): Delta(kind, tensors)}), keep).deltas.values()
    assert len(delta.tensors["down"]) == rank


def test_a_rank_that_is_not_full_is_not_filled_with_rounding():
    down, up = torch.ones(4, 32), torch.ones(16, 4)
    adapter = Adapter({Target("unet", LINEAR): Delta("lora", {"down": down, "up": up})})
    (delta,) = resize(adapter, Keep(4)).deltas.values()
    assert len(delta.tensors["down"]) == 1
    assert torch.allclose(delta.tensors["up"] @ delta.tensors["down"], up @ down)


@pytest.mark.parametrize("name", ["convert", "resize"])
def test_the_output_may_be_an_option(name, file, tmp_path):
    more = ["--rank", 2] if name == "resize" else []
    call(name, file, "-o", tmp_path / "b.safetensors", *more)
    call(name, file, tmp_path / "c.safetensors", *more)
    assert (tmp_path / "b.safetensors").read_bytes() == (tmp_path / "c.safetensors").read_bytes()
    for output, sentence in (
        ([], "give OUTPUT, at the end or with -o"),
        (
            [tmp_path / "d.safetensors", "-o", tmp_path / "e.safetensors"],
            "OUTPUT is given twice; give it once",
        ),
    ):
        result = CliRunner().invoke(SPECS[f"lora {name}"].load(), list(map(str, [file, *output, *more])))
        assert (result.exit_code, sentence in result.stderr) == (2, True)


@pytest.mark.parametrize(
    ("said", "option"),
    [
        ("emoji", "--model emoji, as its header says, or --model FOLDER"),
        ("a b.safetensors", "--model 'a b.safetensors', as its header says, or --model FOLDER"),
        ("", "--model FOLDER"),
        ("\x1b" * 3, "--model FOLDER"),
    ],
)
def test_the_model_that_a_header_names_is_suggested(said, option, pipe, tmp_path):
    lows = random_lows(pipe.unet, [LINEAR], [1.0])
    file = write_kohya(tmp_path / "a.safetensors", lows, metadata={"ss_sd_model_name": said})
    tensors = {key.replace("lora_unet_", "lora_unet_odd_"): value for key, value in load_file(file).items()}
    save_file(tensors, file, metadata={"ss_sd_model_name": said})
    for command, args in (("merge", ["-o"]), ("convert", ["--to", "diffusers"])):
        with pytest.raises(MezzotintError, match=re.escape(f"name the model ({option})") + "$"):
            call(command, file, *args, tmp_path / "b.safetensors")


def test_nothing_is_written_that_could_not_be_read(file, model, tmp_path):
    with pytest.raises(
        MezzotintError, match=r"lora_up.weight would hold NaN or infinity, so nothing is written"
    ):
        call("merge", f"{file}:1e39", "-o", tmp_path / "out.safetensors", "-m", model)
    assert not (tmp_path / "out.safetensors").exists()


def network(adapter):
    found = {key.removeprefix("ss_network_"): value for key, value in adapter.metadata.items()}
    return found["dim"], found["alpha"], json.loads(found["args"]) if "args" in found else None


def test_the_header_of_a_resized_file_has_the_ranks_and_alphas_that_are_in_it(pipe, tmp_path):
    words = {
        "ss_network_dim": "4",
        "ss_network_alpha": "2.0",
        "ss_network_args": json.dumps({"algo": "loha", "conv_dim": "4", "conv_alpha": "2", "other": "x"}),
    }
    lows = random_lows(pipe.unet, [LINEAR, POINTWISE, CONV3], [2.0, 2.0, 2.0])
    adapter = read_adapter(write_kohya(tmp_path / "a.safetensors", lows, metadata=words))
    arguments = {"algo": "lora", "conv_dim": "2", "conv_alpha": "2.0", "other": "x"}
    assert network(resize(adapter, Keep(2))) == ("2", "2.0", arguments)
    one = next(target for target in adapter.deltas if "attn2" in target.module)
    factors = adapter.deltas[one].tensors
    thin = Delta("lora", {"down": factors["down"][:1], "up": factors["up"][:, :1]})
    mixed = Adapter({**adapter.deltas, one: thin}, words)
    assert network(resize(mixed, Keep(2)))[:2] == ("Dynamic", "Dynamic")
    assert "ss_network_dim" not in resize(Adapter(adapter.deltas), Keep(2)).metadata


def test_the_header_of_a_merged_file_has_the_ranks_and_alphas_that_are_in_it(pipe, names):
    def lora(rank, *paths):
        lows = random_lows(pipe.unet, paths, [1.0] * len(paths))
        deltas = {
            Target("unet", p): Delta("lora", {"down": w.down, "up": w.up}, 1.0) for p, w in lows.items()
        }
        return Adapter(deltas, {"ss_network_dim": rank, "ss_network_alpha": "1.0"})

    both = [lora("4", LINEAR, POINTWISE), lora("4", LINEAR, POINTWISE)]
    assert network(merge(both, [1, 1], names=names)) == ("8", "8.0", None)
    assert network(merge(both, [1, 1], Keep(3), names)) == ("3", "3.0", None)
    other = lora("5", LINEAR)
    assert network(merge([both[0], other], [1, 1], names=names)) == ("Dynamic", "Dynamic", None)


def test_writing_into_a_folder_that_is_not_there_makes_it(file, tmp_path):
    write_adapter(tmp_path / "new" / "x.safetensors", read_adapter(file))
    assert (tmp_path / "new" / "x.safetensors").is_file()


def test_a_weight_that_is_no_number_is_not_merged(file, model, tmp_path):
    with pytest.raises(MezzotintError, match="the weight must be a finite number"):
        call("merge", f"{file}:nan", "-o", tmp_path / "out.safetensors", "-m", model)
    assert not (tmp_path / "out.safetensors").exists()


def test_loras_of_different_models_are_not_merged(pipe, names):
    def lora(width):
        return Adapter(
            {Target("unet", LINEAR): Delta("lora", {"down": torch.ones(2, width), "up": torch.ones(16, 2)})}
        )

    with pytest.raises(MezzotintError, match=r"\(16, 8\) in one file and \(16, 32\) in another"):
        merge([lora(32), lora(8)], [1, 1], names=names)


def test_a_1x1_convolution_is_merged_however_its_file_shapes_it(pipe, names):
    def lora(*ones):
        factors = {"down": torch.ones(2, 8, *ones), "up": torch.ones(8, 2, *ones)}
        return Adapter({Target("unet", POINTWISE): Delta("lora", factors)})

    (merged,) = merge([lora(1, 1), lora()], [1, 2], names=names).deltas.values()
    assert merged.tensors["down"].shape == (4, 8, 1, 1)
    assert torch.equal(
        merged.tensors["up"].flatten(1) @ merged.tensors["down"].flatten(1), torch.full((8, 8), 6.0)
    )


def test_keys_that_cannot_be_read_are_not_lost_in_a_sum(file, model, tmp_path):
    tensors = load_file(file) | {"lora_unet_conv_in.oft_blocks": torch.ones(1)}
    save_file(tensors, tmp_path / "odd.safetensors")
    with pytest.raises(MezzotintError, match="oft_blocks is OFT"):
        call("merge", tmp_path / "odd.safetensors", "-o", tmp_path / "out.safetensors", "-m", model)


def test_a_model_that_is_a_single_file_is_not_merged_into(file, tmp_path, monkeypatch):
    model = tmp_path / "model.safetensors"
    model.write_bytes(b"weights")
    opened = SimpleNamespace(source=SimpleNamespace(path=model))
    monkeypatch.setattr("mezzotint.load", lambda name, **options: opened)
    with pytest.raises(
        MezzotintError, match=r"model\.safetensors is a single file, and LoRAs are merged into"
    ):
        call("merge", file, "--into", model, "-o", tmp_path / "out" / "merged")
    assert not (tmp_path / "out").exists()


def test_a_model_is_not_written_over_another(file, model, tmp_path):
    (tmp_path / "out").mkdir()
    with pytest.raises(MezzotintError, match="a model is never written over another"):
        call("merge", file, "--into", model, "-o", tmp_path / "out", "--force")
