"""Model folders: a strict config, a verified read, a whole write, and what a path turns out to hold."""

from __future__ import annotations

import json
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mousetal import modelfolder
from mousetal.errors import ModelError, OutputError, SettingsError
from mousetal.modelconfig import (
    ClipInput,
    ImageInput,
    ModelConfig,
    MvdConfig,
    RtdetrConfig,
    parse,
    plain_name,
    to_json,
    with_classes,
)
from mousetal.modelfolder import Layout
from mousetal.types import BoutRule

MVD = MvdConfig(
    classes=("idle", "Self-Grooming", "Head/Body TWITCH"),
    background=0,
    network={"dim": 64},
    input=ClipInput(16, 2, 224, 8, 0.05, 30.0),
    bouts=(BoutRule(), BoutRule(0.6, 0.4, 0.5, 0.3), BoutRule(0.7, 0.7, 0.1, 0.0)),
    provenance={"licence": "Apache-2.0"},
)
RTDETR = RtdetrConfig(classes=("mouse",), network={"depths": [2, 2]}, input=ImageInput(640, 0.4))
TENSORS = {"a.weight": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.ones(2, np.float16)}


def _document(config: ModelConfig = MVD) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(json.dumps(to_json(config)))
    return document


def _keys(document: dict[str, Any], at: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """Paths of all keys, `network` and `provenance` taken whole."""
    found = []
    for key, value in document.items():
        found.append((*at, key))
        if isinstance(value, dict) and key not in ("network", "provenance"):
            found += _keys(value, (*at, key))
    return found


def _holder(document: dict[str, Any], path: tuple[str, ...]) -> dict[str, Any]:
    for key in path[:-1]:
        document = document[key]
    return document


# --- the config ---


@pytest.mark.parametrize(
    "config",
    [
        MVD,
        RTDETR,
        replace(MVD, background=None, multi_label=True),
        replace(MVD, temperature=1.7),
        replace(MVD, name="cohort 3"),
        replace(RTDETR, name="my-detector"),
    ],
)
def test_a_config_survives_json(config: ModelConfig) -> None:
    assert parse(_document(config), "here") == config


names = st.lists(st.text(min_size=1, max_size=8), min_size=1, max_size=5, unique=True)


@settings(max_examples=30)
@given(names=names, data=st.data())
def test_any_classes_and_rules_survive_json(names: list[str], data: st.DataObject) -> None:
    background = data.draw(st.none() | st.integers(0, len(names) - 1))
    low = data.draw(st.floats(0, 1))
    rule = BoutRule(data.draw(st.floats(low, 1)), low, data.draw(st.floats(0, 10)), data.draw(st.floats(0, 10)))
    rules = tuple(BoutRule() if i == background else rule for i in range(len(names)))
    config = replace(MVD, classes=tuple(names), background=background, bouts=rules)
    assert parse(_document(config), "here") == config


@pytest.mark.parametrize(
    ("config", "path"), [(config, path) for config in (MVD, RTDETR) for path in _keys(_document(config))]
)
def test_a_missing_key_is_named(config: ModelConfig, path: tuple[str, ...]) -> None:
    document = _document(config)
    del _holder(document, path)[path[-1]]
    with pytest.raises(ModelError, match=r"^here: .*") as caught:
        parse(document, "here")
    assert repr(path[-1]) in str(caught.value)


@pytest.mark.parametrize("at", [(), ("input",), ("bouts",), ("bouts", "Self-Grooming")])
def test_an_unknown_key_is_named(at: tuple[str, ...]) -> None:
    document = _document()
    _holder(document, (*at, "colour"))["colour"] = "red"
    with pytest.raises(ModelError, match="unknown keys 'colour'"):
        parse(document, "here")


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("format_version",), 2, "format_version 1 expected, got 2"),
        (("kind",), "yolo", "'mvd' or 'rtdetrv2' expected, got 'yolo'"),
        (("classes",), [], "different, non-empty names"),
        (("classes",), ["idle", "a", "a"], "different, non-empty names"),
        (("classes",), ["idle", 1, "b"], "should be a str, got 1"),
        (("classes",), "idle", "should be a list, got 'idle'"),
        (("background",), 3, "index of a class, got 3"),
        (("background",), -1, "index of a class, got -1"),
        (("multi_label",), 1, "should be a bool, got 1"),
        (("network",), [], "should be a dict"),
        (("input", "num_frames"), True, "should be a int, got True"),
        (("input", "num_frames"), 0, "at least 1, got 0"),
        (("input", "num_frames"), 16.0, "should be a int, got 16.0"),
        (("input", "crop_padding"), "5%", "should be a float, got '5%'"),
        (("input", "crop_padding"), -0.1, "crop_padding >= 0"),
        (("input", "trained_fps"), 0, "trained_fps > 0"),
        (("input", "trained_fps"), float("nan"), "should be a float, got nan"),
        (("input", "std"), [0.2, 0.2, 0.0], "std > 0"),
        (("input", "mean"), [0.5, 0.5], "three numbers"),
        (("bouts", "Self-Grooming", "threshold"), 1.5, "between 0 and 1, got 1.5"),
        (("bouts", "Self-Grooming", "low_threshold"), 0.9, "low_threshold <= threshold"),
        (("bouts", "Self-Grooming", "min_duration_s"), -1, "seconds >= 0"),
    ],
)
def test_a_value_that_makes_no_sense_is_named(path: tuple[str, ...], value: object, message: str) -> None:
    document = _document()
    _holder(document, path)[path[-1]] = value
    with pytest.raises(ModelError, match=message):
        parse(document, "here")


def test_whole_numbers_pass_for_floats_and_null_for_an_unknown_frame_rate() -> None:
    document = _document()
    document["input"].update(crop_padding=0, trained_fps=None)
    config = parse(document, "here")
    assert isinstance(config, MvdConfig)
    assert config.input.crop_padding == 0.0
    assert config.input.trained_fps is None


def test_a_temperature_may_be_left_out_and_then_is_one() -> None:
    assert "temperature" not in _document()
    config = parse(_document() | {"temperature": 2}, "config.json")
    assert isinstance(config, MvdConfig)
    assert config.temperature == 2.0
    for wrong in (0, -1, "hot", None):
        with pytest.raises(ModelError, match="temperature"):
            parse(_document() | {"temperature": wrong}, "config.json")


def test_a_config_is_replaced_without_touching_the_weights(tmp_path: Path) -> None:
    modelfolder.write(tmp_path, MVD, TENSORS, "# A card\n")
    weights = (tmp_path / modelfolder.WEIGHTS_NAME).stat().st_mtime_ns
    modelfolder.write_config(tmp_path, replace(MVD, temperature=0.5))
    assert modelfolder.read_config(tmp_path) == replace(MVD, temperature=0.5)
    assert (tmp_path / modelfolder.WEIGHTS_NAME).stat().st_mtime_ns == weights


def test_class_names_are_replaced_in_order_and_only_by_as_many() -> None:
    assert with_classes(MVD, None, "here") is MVD
    assert with_classes(MVD, ("rest", "groom", "twitch"), "here").classes == ("rest", "groom", "twitch")
    with pytest.raises(SettingsError, match=r"CLASS_NAMES has 2 names \(rest, groom\), but the model has 3 classes"):
        with_classes(MVD, ("rest", "groom"), "here")


# --- reading and writing ---


def test_a_written_folder_reads_back_equal(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "model"
    modelfolder.write(folder, MVD, {**TENSORS, "turned": TENSORS["a.weight"].T}, "# A card\n")
    config, tensors = modelfolder.read(modelfolder.locate(folder), MvdConfig)
    assert config == MVD
    assert (folder / "README.md").read_text() == "# A card\n"
    assert tensors.keys() == {"a.weight", "b", "turned"}
    np.testing.assert_array_equal(tensors["turned"], TENSORS["a.weight"].T)
    assert tensors["b"].dtype == np.float16


def test_writing_again_replaces_the_model_and_leaves_other_files(tmp_path: Path) -> None:
    modelfolder.write(tmp_path, MVD, TENSORS, "old")
    (tmp_path / "notes.txt").write_text("mine")
    modelfolder.write(tmp_path, RTDETR, {"c": np.zeros(1, np.float32)}, "new")
    config, tensors = modelfolder.read(modelfolder.locate(tmp_path), RtdetrConfig)
    assert config == RTDETR
    assert tensors.keys() == {"c"}
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "README.md",
        "config.json",
        "model.safetensors",
        "notes.txt",
    ]


def test_writing_where_nothing_can_be_written_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError, match="file"):
        modelfolder.write(tmp_path / "file", MVD, TENSORS, "card")


def test_a_model_of_the_other_kind_is_refused(tmp_path: Path) -> None:
    modelfolder.write(tmp_path, RTDETR, TENSORS, "card")
    with pytest.raises(ModelError, match=r"kind 'mvd' expected, this one is 'rtdetrv2'.*swapped"):
        modelfolder.read(modelfolder.locate(tmp_path), MvdConfig)


def test_a_truncated_weights_file_is_refused(tmp_path: Path) -> None:
    modelfolder.write(tmp_path, MVD, TENSORS, "card")
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-4])
    with pytest.raises(ModelError, match=r"model\.safetensors: unreadable"):
        modelfolder.read(modelfolder.locate(tmp_path), MvdConfig)


def test_a_config_that_is_no_json_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(ModelError, match=r"config\.json: no valid JSON"):
        modelfolder.locate(tmp_path)


def test_the_digest_tells_models_apart_and_not_their_places(tmp_path: Path) -> None:
    digests = {}
    models = {
        "model": (MVD, TENSORS),
        "moved": (MVD, TENSORS),
        "other_rule": (replace(MVD, multi_label=True), TENSORS),
        "other_weights": (MVD, {**TENSORS, "b": np.zeros(2, np.float16)}),
    }
    for name, (config, tensors) in models.items():
        modelfolder.write(tmp_path / name, config, tensors, f"card of {name}")
        digests[name] = modelfolder.locate(tmp_path / name).sha256()
    assert digests["model"] == digests["moved"]
    assert len(set(digests.values())) == 3


@pytest.mark.parametrize("config", [MVD, RTDETR])
def test_a_model_is_called_what_its_config_says_wherever_it_lies(config: ModelConfig, tmp_path: Path) -> None:
    """In a container every model's folder has the same name."""
    modelfolder.write(tmp_path / "mvd", config, TENSORS, "")
    nameless = (tmp_path / "mvd" / "config.json").read_bytes()
    located = modelfolder.locate(tmp_path / "mvd")
    assert located.name == "mvd"
    assert "name" not in _document(config), "older versions read it, and its digest is what it was"
    modelfolder.write_config(tmp_path / "mvd", replace(config, name="first"))
    assert modelfolder.locate(tmp_path / "mvd").name == "first"
    assert modelfolder.read_config(tmp_path / "mvd") == replace(config, name="first")
    modelfolder.write_config(tmp_path / "mvd", config)
    assert (tmp_path / "mvd" / "config.json").read_bytes() == nameless
    assert modelfolder.locate(tmp_path / "mvd").sha256() == located.sha256()
    (tmp_path / "mvd" / "config.json").write_text(json.dumps(_document(config) | {"name": ""}))
    assert modelfolder.locate(tmp_path / "mvd").name == "mvd"


@pytest.mark.parametrize("name", ["a\nb", "a" * 61, " a", "a@b", "models/a", "a\\b", 3, None])
def test_a_name_that_is_no_plain_short_text_is_refused(name: object, tmp_path: Path) -> None:
    for config in (MVD, RTDETR):
        with pytest.raises(ModelError, match=r"^here: 'name' should be"):
            parse(_document(config) | {"name": name}, "here")
    modelfolder.write(tmp_path, MVD, TENSORS, "")
    (tmp_path / "config.json").write_text(json.dumps(_document() | {"name": name}))
    with pytest.raises(ModelError, match=r"config\.json: 'name' should be"):
        modelfolder.locate(tmp_path)


@given(text=st.text(max_size=80))
def test_every_folder_s_name_gives_a_name(text: str) -> None:
    """So that no training fails at its end because of what its folder is called."""
    assert replace(MVD, name=plain_name(text)).name == plain_name(text)


def test_a_plain_name_is_left_as_it_is() -> None:
    assert plain_name("cohort 3, mäuse") == "cohort 3, mäuse"
    assert plain_name(" a@b/c\n ") == "a-b-c-"


# --- what a path holds ---


def _touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("{}")


@pytest.mark.parametrize(
    ("files", "given", "weights"),
    [
        (["run/config.txt", "run/checkpoint-best/mp_rank_00_model_states.pt"], "run", 1),
        (["run/config.txt", "run/checkpoint-best/mp_rank_00_model_states.pt"], "run/checkpoint-best", 1),
        (["run/config.txt", "run/checkpoint-best/mp_rank_00_model_states.pt"], None, 1),
        (["run/config.txt", "run/checkpoints/best.pth", "run/checkpoints/checkpoint-9.pth"], "run", 1),
        (["run/config.txt", "run/checkpoints/best.pth", "run/checkpoints/checkpoint-9.pth"], "run/checkpoints", 1),
        (["run/config.txt", "run/checkpoint-best.pth", "run/checkpoint-9.pth"], "run", 1),
        (["run/config.txt", "run/checkpoint-best.pth"], None, 1),
        (["run/config.txt", "run/checkpoint-10.pth", "run/checkpoint-9.pth"], "run", 1),
        (["run/config.txt", "run/checkpoints/checkpoint-10.pth", "run/checkpoints/checkpoint-9.pth"], "run", 1),
        (["run/config.txt", "run/checkpoint-7/mp_rank_00_model_states.pt"], "run", 1),
        (["run/config.txt", "run/mine.pth"], "run", 1),
    ],
)
def test_the_weights_of_a_training_run_are_found(
    tmp_path: Path, files: list[str], given: str | None, weights: int
) -> None:
    _touch(tmp_path, *files)
    located = modelfolder.locate(tmp_path / (given or files[weights]))
    assert located.layout is Layout.PICKLE
    assert located.weights == tmp_path / files[weights]
    assert located.root == tmp_path / "run"
    assert located.name == "run"
    assert [path.name for path in located.extras] == ["config.txt"]


def test_a_lone_weights_file_names_itself(tmp_path: Path) -> None:
    _touch(tmp_path, "mine.pth")
    located = modelfolder.locate(tmp_path / "mine.pth")
    assert (located.name, located.root, located.extras) == ("mine", tmp_path, ())


@pytest.mark.parametrize("beginning", [b"PK\x03\x04", b"\x80\x02\x8a\x0al", b"\x80\x05"])
def test_weights_mounted_under_a_name_without_suffix_are_known_by_how_they_begin(
    tmp_path: Path, beginning: bytes
) -> None:
    (tmp_path / "mvd").write_bytes(beginning + bytes(16))
    located = modelfolder.locate(tmp_path / "mvd")
    assert (located.layout, located.name, located.weights) == (Layout.PICKLE, "mvd", tmp_path / "mvd")
    (tmp_path / "mvd.zip").write_bytes(beginning)
    with pytest.raises(ModelError, match="this is another file"):
        modelfolder.locate(tmp_path / "mvd.zip")


def test_what_torch_saves_is_found_without_its_suffix_in_both_of_its_formats(tmp_path: Path) -> None:
    for name, is_zip in (("new", True), ("old", False)):
        torch.save({"a": torch.zeros(1)}, tmp_path / name, _use_new_zipfile_serialization=is_zip)
        assert modelfolder.locate(tmp_path / name).layout is Layout.PICKLE


def test_several_unnamed_weight_files_are_listed_rather_than_guessed(tmp_path: Path) -> None:
    _touch(tmp_path, "one.pth", "two.pth")
    with pytest.raises(ModelError, match=r"weight files there: one\.pth, two\.pth\. Give the path"):
        modelfolder.locate(tmp_path)


def test_a_transformers_directory_is_told_from_ours(tmp_path: Path) -> None:
    _touch(tmp_path, "model.safetensors")
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "rt_detr_v2"}))
    assert modelfolder.locate(tmp_path).layout is Layout.TRANSFORMERS
    (tmp_path / "config.json").write_text(json.dumps(_document()))
    assert modelfolder.locate(tmp_path).layout is Layout.MOUSETAL
    assert modelfolder.locate(tmp_path / "model.safetensors").root == tmp_path
    (tmp_path / "config.json").write_text(json.dumps({"anything": 1}))
    with pytest.raises(ModelError, match="neither a model of mousetal"):
        modelfolder.locate(tmp_path)


@pytest.mark.parametrize(
    ("files", "given", "message"),
    [
        ([], "absent", "there is nothing"),
        ([], ".", "no model found.*weight files there: none"),
        (["notes.txt"], "notes.txt", "a model folder or a .pt/.pth file expected, this is another file"),
        (["notes"], "notes", "a model folder or a .pt/.pth file expected, this is another file"),
        (["config.json"], ".", "neither a model"),
    ],
)
def test_a_path_without_a_model_is_refused(tmp_path: Path, files: list[str], given: str, message: str) -> None:
    _touch(tmp_path, *files)
    with pytest.raises(ModelError, match=message):
        modelfolder.locate(tmp_path / given)


def test_a_half_copied_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(_document()))
    with pytest.raises(ModelError, match=r"model\.safetensors is missing beside config\.json"):
        modelfolder.locate(tmp_path)


# --- tensors against a network ---


def test_tensors_that_do_not_fit_are_all_listed() -> None:
    expected = {"a": (2, 3), "b": (1,), "c": (4,)}
    modelfolder.require_match(expected, deepcopy(expected), "here")
    with pytest.raises(ModelError) as caught:
        modelfolder.require_match(expected, {"a": (3, 2), "c": (4,), "d": ()}, "here", "Retrain.")
    assert str(caught.value).splitlines() == [
        "here: the weights do not fit the network. Retrain.",
        "  1 missing: b (1,)",
        "  1 unexpected: d ()",
        "  1 misshapen: a (3, 2) instead of (2, 3)",
    ]


def test_a_very_long_list_is_abridged_but_counted() -> None:
    with pytest.raises(ModelError, match=r"30 unexpected: t0 \(\), .*, t19 \(\), and 10 more"):
        modelfolder.require_match({}, {f"t{i}": () for i in range(30)}, "here")
