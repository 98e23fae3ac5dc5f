"""Weights of weaver-core: the same logits, every tensor used or named, clear errors."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
import torch

from transferline.cli import run
from transferline.data.batch import cartesian
from transferline.deploy.import_weaver import as_computed_formerly, import_weaver
from transferline.errors import ConfigError, DataError
from transferline.models.checkpoint import Checkpoint

from .models.jets import random_jets

SMALL = {
    "embed_dims": [16, 32, 16],
    "pair_embed_dims": [8, 8],
    "num_heads": 4,
    "num_layers": 2,
    "num_cls_layers": 1,
}


def weaver_model(**changes):
    """The network of `example_ParticleTransformer.py`, every tensor drawn at random."""
    module = pytest.importorskip("weaver.nn.model.ParticleTransformer")
    torch.manual_seed(0)
    given = {
        "input_dim": 17,
        "num_classes": 10,
        "pair_input_dim": 4,
        "use_pre_activation_pair": False,
        "fc_params": [],
        **changes,
    }
    model = module.ParticleTransformer(**given).eval()
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            if name.endswith(("running_var", "c_attn", "w_resid")):
                tensor.uniform_(0.5, 1.5)
            elif name.endswith(("running_mean", "bias", "cls_token")):
                tensor.normal_(0, 0.2)
    return model


def saved(model, path):
    torch.save(model.state_dict(), path)
    return path


@torch.no_grad()
def theirs(model, inputs):
    energy, px, py, pz = cartesian(inputs.p4).unbind(-1)
    vectors = torch.stack((px, py, pz, energy), dim=1)
    return model(inputs.x.transpose(1, 2), v=vectors, mask=inputs.is_real.unsqueeze(1))


@pytest.mark.parametrize("packed", [True, False])
def test_the_published_network_gives_the_same_logits(tmp_path, packed):
    """Jets of every number of particles from 1 to 128, in float32."""
    reference = weaver_model()
    place = saved(reference, tmp_path / "net_state.pt")
    found = import_weaver(place, tmp_path / "out")
    assert found["parameters"] == 2_143_486
    model = Checkpoint.load(tmp_path / "out").model().eval()
    model.backbone.packed = packed
    worst = 0.0
    for low in range(1, 129, 32):
        batch = random_jets(list(range(low, low + 32)), seed=low)
        with torch.no_grad():
            gap = model(batch) - theirs(reference, model.features(batch))
        worst = max(worst, gap.abs().max().item())
    assert worst < 1e-5
    spread = model(random_jets([10, 30, 60, 90])).std(0)
    assert spread.min() > 1e-3  # the logits depend on the jet


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"use_pre_activation_pair": True},
        {"input_dim": 7},
        {"input_dim": 13, "num_classes": 3},
        {"block_params": {"ffn_ratio": 2}, "cls_block_params": {"ffn_ratio": 2}},
    ],
)
def test_other_sizes_give_the_same_logits(tmp_path, changes):
    reference = weaver_model(**SMALL, **changes)
    activation = not changes.get("use_pre_activation_pair", False)
    place = saved(reference, tmp_path / "net_state.pt")
    import_weaver(place, tmp_path / "out", pair_activation=activation)
    model = Checkpoint.load(tmp_path / "out").model().eval()
    batch = random_jets([1, 2, 17, 50, 128])
    expected = theirs(reference, model.features(batch))
    torch.testing.assert_close(model(batch), expected, rtol=0, atol=1e-5)


def old_names(state):
    """As weaver-core named them when the published models were trained, in their wrapper."""
    return {f"module.mod.{name.replace('in_proj.', 'in_proj_')}": t for name, t in state.items()}


def test_wrappers_and_former_names_are_understood(tmp_path):
    reference = weaver_model(**SMALL)
    torch.save(old_names(reference.state_dict()), tmp_path / "old.pt")
    import_weaver(tmp_path / "old.pt", tmp_path / "a")
    import_weaver(saved(reference, tmp_path / "new.pt"), tmp_path / "b")
    a, b = (Checkpoint.load(tmp_path / name) for name in "ab")
    assert a.recipe == b.recipe
    # What the former names belong to was computed otherwise.
    assert a.tensors.keys() == b.tensors.keys()
    former = as_computed_formerly(b.tensors, SMALL["num_heads"])
    assert all(torch.equal(tensor, former[name]) for name, tensor in a.tensors.items())


def test_former_networks_transposed_the_channels_of_heads():
    """As weaver-core 0.4 has it: einsum tbhd,h->tbdh, then all channels in a row."""
    torch.manual_seed(0)
    heads, width = 4, 12
    block = "backbone.blocks.0."
    tensors = {
        f"{block}out_proj.weight": torch.randn(width, width),
        f"{block}out_proj.bias": torch.randn(width),
        f"{block}head_scale": torch.rand(heads) + 0.5,
        f"{block}fc1.weight": torch.randn(3, width),
    }
    x = torch.randn(5, 2, width)

    def project(given):
        return x @ given[f"{block}out_proj.weight"].T + given[f"{block}out_proj.bias"]

    mixed = project(tensors).view(5, 2, heads, -1)
    wanted = torch.einsum("tbhd,h->tbdh", mixed, tensors[f"{block}head_scale"]).reshape(5, 2, -1)
    found = as_computed_formerly(tensors, heads)
    assert (found[f"{block}head_scale"] == 1).all()
    assert torch.equal(found[f"{block}fc1.weight"], tensors[f"{block}fc1.weight"])
    torch.testing.assert_close(project(found), wanted)


def test_without_a_head_the_classifier_is_left_out_by_name(tmp_path):
    reference = weaver_model(**SMALL, fc_params=[(64, 0.1)])
    place = saved(reference, tmp_path / "net_state.pt")
    with pytest.raises(DataError, match=r"hidden layers \(fc.0.0.bias.*--no-head"):
        import_weaver(place, tmp_path / "out")
    found = import_weaver(place, tmp_path / "out", head=False)
    names = ["fc.0.0.bias", "fc.0.0.weight", "fc.1.bias", "fc.1.weight"]
    assert found["left_out"] == names
    assert found["outputs"] is None
    assert found["used"] + len(names) == len(reference.state_dict())
    checkpoint = Checkpoint.load(tmp_path / "out")
    assert checkpoint.recipe.head is None
    assert checkpoint.provenance["imported"]["left_out"] == names
    assert "fc.1.weight" in checkpoint.card


def changed(state, **changes):
    return {**state, **{name.replace("__", "."): value for name, value in changes.items()}}


def without(state, name):
    return {key: value for key, value in state.items() if key != name}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: changed(s, surprise=torch.ones(1)), "no place for surprise"),
        (lambda s: without(s, "blocks.1.fc2.bias"), r"missing: backbone.blocks.1.fc2.bias"),
        (lambda s: without(s, "cls_token"), "missing: backbone.class_token"),
        (lambda s: without(s, "embed.input_bn.weight"), "reads 0 features"),
        (lambda s: changed(s, norm__weight=torch.ones(3)), r"backbone.norm.weight: shape \(3,\)"),
        (lambda s: changed(s, norm__weight=torch.full((16,), torch.nan)), "not finite: norm.weig"),
        (lambda s: changed(s, mod__norm__weight=torch.ones(16)), "two tensors have one name"),
        (lambda _: {"linear.weight": torch.ones(2, 2)}, "no place for linear.weight"),
        (lambda _: {"norm.weight": torch.ones(2)}, "is not the state of a ParticleTransformer"),
        (lambda _: {"state": {"a": 1}, "param_groups": []}, "no mapping of names to tensors"),
        (lambda _: {}, "no mapping of names to tensors"),
        (lambda _: torch.ones(3), "no mapping of names to tensors"),
        (lambda s: changed(s, norm__weight=torch.ones(16).double()), "float64"),
    ],
)
def test_other_states_are_refused_and_say_why(tmp_path, change, message):
    torch.save(change(weaver_model(**SMALL).state_dict()), tmp_path / "net.pt")
    with pytest.raises(DataError, match=message):
        import_weaver(tmp_path / "net.pt", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"version": 2}, "no place for .*fc1_g"),
        ({"version": 3}, "no place for|missing"),
        ({"pair_input_type": "ee", "pair_input_dim": 6}, r"shape \(6,\)"),
        ({"pair_extra_dim": 2}, "no place for pair_embed.fts_embed"),
        ({"pair_embed_dims": None}, "with embedding, pairs, blocks"),
        ({"num_cls_layers": 0}, "with embedding, pairs, blocks"),
        ({"input_dim": 5}, r"reads 5 features per particle; .* 7 \(kin\), 13 \(kinpid\), 17"),
        ({"use_conv_embed": True}, "no place for embed.conv_embed"),
    ],
)
def test_other_networks_of_weaver_are_refused(tmp_path, changes, message):
    place = saved(weaver_model(**{**SMALL, **changes}), tmp_path / "net.pt")
    with pytest.raises(DataError, match=message):
        import_weaver(place, tmp_path / "out")


class Harmful:
    def __reduce__(self):
        return print, ("code of the file ran",)


def test_a_pickle_runs_no_code(tmp_path, capsys):
    torch.save({"norm.weight": Harmful()}, tmp_path / "net.pt")
    with pytest.raises(DataError, match=r"not a file of plain tensors.*torch.save\(model.state_d"):
        import_weaver(tmp_path / "net.pt", tmp_path / "out")
    assert "code of the file ran" not in capsys.readouterr().out


@pytest.mark.parametrize("content", [b"", b"no weights", b"PK\x03\x04 cut", b"\x80\x02}q\x00."])
def test_other_files_are_refused(tmp_path, content):
    (tmp_path / "net.pt").write_bytes(content)
    with pytest.raises(DataError, match=r"net\.pt: "):
        import_weaver(tmp_path / "net.pt", tmp_path / "out")


def test_a_truncated_file_is_refused(tmp_path):
    place = tmp_path / "net.pt"
    torch.save({"norm.weight": torch.ones(1000)}, place)
    place.write_bytes(place.read_bytes()[:2000])
    with pytest.raises(DataError, match="not a file of plain tensors"):
        import_weaver(place, tmp_path / "out")


@pytest.mark.parametrize("head", [b"root\x00\x00\xf6\x08q\x01", b"\x80\x02", b"PK\x03\x04", b""])
def test_any_other_file_is_one_clear_error(tmp_path, head):
    """Whatever the unpickler makes of it: on arbitrary bytes it raises any kind."""
    for seed in range(20):
        noise = np.random.default_rng(seed).integers(0, 256, 300, np.uint8).tobytes()
        (tmp_path / "x.pt").write_bytes(head + noise)
        with pytest.raises(DataError, match=r"x\.pt: "):
            import_weaver(tmp_path / "x.pt", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_missing_file_and_an_occupied_place(tmp_path):
    with pytest.raises(DataError, match="there is no such file"):
        import_weaver(tmp_path / "net.pt", tmp_path / "out")
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ConfigError, match="holds a checkpoint already"):
        import_weaver(tmp_path / "net.pt", tmp_path)


def test_the_command(tmp_path, capsys):
    place = saved(weaver_model(**SMALL), tmp_path / "net_state.pt")
    assert run(["import", "weaver", str(place), "--out", str(tmp_path / "out")]) == 0
    shown = capsys.readouterr().out
    assert f"wrote checkpoint: {tmp_path / 'out'}" in shown
    assert re.search(r"head +linear, 10 outputs", shown)
    assert re.search(r"left out +nothing", shown)
    assert "next:  transferline transfer" in shown
    words = ["import", "weaver", str(place), "--no-head", "--json", "-o", str(tmp_path / "b")]
    assert run(words) == 0
    assert json.loads(capsys.readouterr().out)["left_out"] == ["fc.0.bias", "fc.0.weight"]
    assert run(["import", "weaver", str(tmp_path), "--out", str(tmp_path / "c")]) == 3
