"""Where first weights come from: every layout is read in full or refused with a list."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

import mousetal.mvd
from mousetal.errors import ModelError
from mousetal.mvd import VisionTransformer, VitConfig
from tests.fixtures.classifiers import CLASSES, tiny_config, tiny_network
from training.start import load_start, remap

STUDENT = ("norm.weight", "pos_embed", "pos_embed_img", "mask_token_img", "mask_token_vid", "down_img.weight",
           "decoder_img.blocks.0.norm1.weight", "decoder_vid.head.bias")  # fmt: skip


def encoder_of(network: VisionTransformer) -> dict[str, Tensor]:
    """The part of the weights that pre-training has too."""
    return {n: t.clone() for n, t in network.state_dict().items() if n.startswith(("patch_embed", "blocks"))}


def saved(path: Path, state: dict[str, Tensor], under: str | None) -> Path:
    torch.save(state if under is None else {under: state, "epoch": 3}, path)
    return path


def start(path: Path, seed: int = 1, classes: tuple[str, ...] = CLASSES, stated: tuple[str, ...] = (),
          reset_head: bool = False) -> tuple[VisionTransformer, object]:  # fmt: skip
    network = tiny_network(seed, num_classes=len(classes))
    return network, load_start(network, path, classes, stated, reset_head)


def assert_encoder_is(network: VisionTransformer, other: VisionTransformer) -> None:
    for name, tensor in encoder_of(other).items():
        assert torch.equal(network.state_dict()[name], tensor), name


@pytest.mark.parametrize("under", ["model", "module", None])
@pytest.mark.parametrize("prefix", ["", "backbone.", "encoder."])
def test_a_pretrained_encoder_is_taken_and_the_rest_named(tmp_path: Path, under: str | None, prefix: str) -> None:
    theirs = tiny_network(7)
    state = {prefix + name: tensor for name, tensor in encoder_of(theirs).items()}
    state |= {name: torch.ones(2, 2) for name in STUDENT} | {prefix + "norm.bias": torch.ones(2)}
    ours = tiny_network(1)
    head = ours.head.weight.clone()
    came = load_start(ours, saved(tmp_path / "student.pth", state, under), CLASSES, (), reset_head=False)
    assert_encoder_is(ours, theirs)
    assert torch.equal(ours.head.weight, head)
    assert came.fresh == ("fc_norm.weight", "fc_norm.bias", "head.weight", "head.bias")
    assert set(came.ignored) == {*STUDENT, "norm.bias"}
    assert "not needed (pre-training)" in str(came)


@pytest.mark.parametrize(("mark", "positions"), [("mask_token_img", "mvd"), ("encoder_to_decoder.weight", "videomae")])
def test_a_pretrained_checkpoint_starts_a_network_of_its_positions_only(
    tmp_path: Path, mark: str, positions: str
) -> None:
    path = saved(tmp_path / "a.pth", encoder_of(tiny_network(7)) | {mark: torch.ones(2, 2)}, "model")
    for wanted in ("mvd", "videomae"):
        network = tiny_network(1, positions=wanted)
        if wanted == positions:
            assert load_start(network, path, CLASSES, (), reset_head=False).ignored == (mark,)
        else:
            with pytest.raises(ModelError, match=f"Set positions = '{positions}'"):
                load_start(network, path, CLASSES, (), reset_head=False)


def test_what_is_missing_or_foreign_is_listed(tmp_path: Path) -> None:
    state = encoder_of(tiny_network(7))
    del state["blocks.1.mlp.fc1.bias"]
    state["adapter.weight"] = torch.ones(3)
    with pytest.raises(ModelError) as refused:
        start(saved(tmp_path / "a.pth", state, "model"))
    assert "1 missing: blocks.1.mlp.fc1.bias" in str(refused.value)
    assert "1 unexpected: adapter.weight" in str(refused.value)


def test_weights_of_another_size_are_refused(tmp_path: Path) -> None:
    """As where a large network's weights are given to a small one, which the reference takes without a word."""
    larger = VisionTransformer(VitConfig(num_classes=3, img_size=32, num_frames=4, dim=128, depth=3, heads=2))
    with pytest.raises(ModelError, match=r"misshapen.*dim|Do model, dim") as refused:
        start(saved(tmp_path / "a.pth", encoder_of(larger), "model"))
    assert "blocks.2" in str(refused.value)


def test_a_model_folder_of_the_same_classes_is_taken_whole(tmp_path: Path) -> None:
    theirs = tiny_network(7)
    mousetal.mvd.save(tmp_path, theirs, tiny_config(), "")
    ours, came = start(tmp_path)
    for name, tensor in theirs.state_dict().items():
        assert torch.equal(ours.state_dict()[name], tensor), name
    assert came.fresh == ()


@pytest.mark.parametrize("classes", [(CLASSES[0], CLASSES[2], CLASSES[1]), ("idle", "rearing"), (*CLASSES, "rearing")])
def test_a_model_of_another_class_list_is_refused_unless_its_head_is_dropped(
    tmp_path: Path, classes: tuple[str, ...]
) -> None:
    theirs = tiny_network(7)
    mousetal.mvd.save(tmp_path, theirs, tiny_config(), "")
    with pytest.raises(ModelError, match="made for the classes idle, Self-Grooming, Head/Body TWITCH") as refused:
        start(tmp_path, classes=classes)
    assert "reset_head = true" in str(refused.value)
    ours, came = start(tmp_path, classes=classes, reset_head=True)
    assert_encoder_is(ours, theirs)
    assert torch.equal(ours.fc_norm.weight, theirs.fc_norm.weight)
    assert came.fresh == ("head.weight", "head.bias")


def test_a_checkpoint_that_does_not_name_its_classes_needs_them_named(tmp_path: Path) -> None:
    path = saved(tmp_path / "best.pth", tiny_network(7).state_dict(), "module")
    with pytest.raises(ModelError, match="init_classes"):
        start(path)
    ours, _ = start(path, stated=CLASSES)
    assert torch.equal(ours.head.weight, tiny_network(7).head.weight)
    start(path, reset_head=True)


def test_a_checkpoint_of_half_precision_is_taken_in_full(tmp_path: Path) -> None:
    halves = {name: tensor.half() for name, tensor in encoder_of(tiny_network(7)).items()}
    ours, _ = start(saved(tmp_path / "a.pt", halves, "module"))
    name = "blocks.0.attn.qkv.weight"
    assert torch.equal(ours.state_dict()[name], halves[name].float())


def test_a_detector_and_no_model_at_all_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="detector"):
        start(saved(tmp_path / "a.pth", {"ema": {}}, None))
    with pytest.raises(ModelError, match="nothing"):
        start(tmp_path / "nowhere.pth")


def test_the_students_names_of_the_reference_are_remapped_to_a_classifiers(golden: Path) -> None:
    listed = json.loads((golden / "mvd_state_dict_keys.json").read_text())
    students = {name: case for name, case in listed.items() if "pretrain" in name}
    assert students
    for name, case in students.items():
        state = {key: torch.empty(0) for key, *_ in case["state_dict"]}
        used, ignored = remap(state)
        assert set(used) | set(ignored) == set(state)
        assert all(key.startswith(("patch_embed.", "blocks.")) for key in used), name
        assert not [key for key in ignored if key.startswith(("patch_embed.", "blocks."))]


def test_every_layout_of_the_reference_is_a_start(golden: Path) -> None:
    network = VisionTransformer(VitConfig(num_classes=3, img_size=48, num_frames=16, dim=64, depth=2, heads=1))
    seen = []
    for path in sorted(golden.glob("ckpt_*/*")):
        came = load_start(network, path, CLASSES, CLASSES, reset_head=False)
        assert came.fresh == ()
        seen.append(network.state_dict()["head.weight"].clone())
    assert len(seen) == 4
    for one in seen[1:]:
        np.testing.assert_allclose(one, seen[0], atol=2e-3)
