"""Where settings come from, which one wins, and what a wrong one says."""

from __future__ import annotations

import argparse
import re
from pathlib import Path

import pytest
from dotenv import dotenv_values

from mousetal import settings
from mousetal.errors import SettingsError
from mousetal.plan import AUTO
from mousetal.settingkeys import FORMATS, KEYS, Program, keys_of
from mousetal.settings import DriverSettings, ServiceSettings


def parsed(program: Program, *flags: str) -> argparse.Namespace:
    return settings.add_flags(argparse.ArgumentParser(), program).parse_args(flags)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current directory, with models to name and no `.env`."""
    folder = tmp_path / "here"
    for name in ("mvd", "detector", "videos"):
        (folder / name).mkdir(parents=True)
    monkeypatch.chdir(folder)
    return folder


MODELS = {"INPUT": "videos", "MODEL_DIR": "mvd", "DETECTOR_DIR": "detector"}


def driver(*flags: str, **environ: str) -> DriverSettings:
    return settings.read_driver(parsed("driver", *flags), {**MODELS, **environ})


def service(kind: str, *flags: str, **environ: str) -> ServiceSettings:
    assert kind in ("detector", "mvd")
    return settings.read_service(kind, parsed(kind, *flags), {**MODELS, **environ})


def test_a_flag_beats_the_environment_which_beats_the_file(here: Path) -> None:
    (here / ".env").write_text("DEVICE=cuda:1\nPRECISION=bf16\nMAX_GAP_S=2\n")
    found = driver("--device", "cpu", PRECISION="fp16")
    assert (found.device, found.precision, found.max_gap_s) == ("cpu", "fp16", 2.0)


def test_without_any_file_defaults_apply_and_paths_start_here(here: Path) -> None:
    found = driver()
    assert found.input == here / "videos"
    assert found.output == here / "output"
    assert found.is_embedded
    assert found.formats == ("csv", "json")
    assert found.detection_threshold is None
    assert found.class_names is None


def test_paths_in_a_file_are_relative_to_the_file(here: Path) -> None:
    elsewhere = here.parent / "else" / "where"
    (elsewhere / "m").mkdir(parents=True)
    (elsewhere / "my.env").write_text("INPUT=./v\nOUTPUT=../out\nMODEL_DIR=m\nDETECTOR_DIR=m\n")
    found = settings.read_driver(parsed("driver", "--env", str(elsewhere / "my.env")), {})
    assert found.input == elsewhere / "v"
    assert found.output == here.parent / "else" / "out"
    found = settings.read_driver(parsed("driver", "--env", str(elsewhere / "my.env"), "--input", "v2"), {})
    assert found.input == here / "v2", "a flag is relative to the current directory"


def test_a_blank_value_means_the_default(here: Path) -> None:
    (here / ".env").write_text("DEVICE=\nFORMATS=\nOUTPUT=\nDETECTION_THRESHOLD=\n")
    found = driver(THREADS="")
    assert (found.device, found.threads, found.output) == ("auto", 0, here / "output")


def test_csv_and_json_are_always_written(here: Path) -> None:
    assert driver("--formats", "supervisely, reference").formats == ("csv", "json", "supervisely", "reference")


def test_class_names_may_hold_blanks_and_slashes(here: Path) -> None:
    found = driver(CLASS_NAMES="idle, Self-Grooming ,Head/Body TWITCH")
    assert found.class_names == ("idle", "Self-Grooming", "Head/Body TWITCH")


def test_the_name_of_a_mounted_input_can_be_given(here: Path) -> None:
    assert driver().input_name == "videos"
    assert driver(INPUT_NAME="./some videos/Maus ä 1.mp4").input_name == "Maus ä 1.mp4"


def test_how_often_to_look_may_be_left_to_the_program(here: Path) -> None:
    assert driver().detect_every == AUTO
    assert driver(DETECT_EVERY="Auto").detect_every == AUTO
    assert driver(DETECT_EVERY="1").detect_every == 1
    assert driver("--detect-every", "4").detect_every == 4


@pytest.mark.parametrize("value", ["1", "true", "YES", "on"])
def test_a_switch_is_turned_on_by_words_or_its_bare_flag(here: Path, value: str) -> None:
    assert driver(REFERENCE_COMPAT=value).reference_compat
    assert driver("--reference-compat").reference_compat
    assert not driver("--reference-compat", "0").reference_compat


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("DEVICE", "gpu", "auto, cpu, cuda or cuda:N"),
        ("DEVICE", "cuda:x", "auto, cpu, cuda or cuda:N"),
        ("PRECISION", "int4", "one of fp32, bf16, fp16, int8"),
        ("FORMATS", "csv,excel", "unknown: excel"),
        ("CLASS_NAMES", "a,b,a", "different names"),
        ("DETECTION_THRESHOLD", "40", "a number from 0 to 1"),
        ("DETECTION_THRESHOLD", "nan", "a number from 0 to 1"),
        ("MAX_GAP_S", "half", "a number from 0 to 3600"),
        ("DETECT_EVERY", "often", "auto or a whole number from 1 to 1000"),
        ("DETECT_EVERY", "0", "auto or a whole number from 1 to 1000"),
        ("THREADS", "1.5", "a whole number"),
        ("REFERENCE_COMPAT", "maybe", "0 or 1"),
        ("LOG_LEVEL", "loud", "one of DEBUG, INFO, WARNING, ERROR"),
    ],
)
def test_a_wrong_value_is_named_with_what_was_expected_and_where_it_came_from(
    here: Path, key: str, value: str, expected: str
) -> None:
    with pytest.raises(SettingsError, match=re.escape(expected)) as raised:
        driver(**{key: value})
    message = str(raised.value)
    assert message.startswith(key)
    assert repr(value) in message
    assert "from the environment" in message


@pytest.mark.parametrize("address", ["detector", "detector:", ":50051", "detector:99999", "unix:"])
def test_an_address_needs_a_host_and_a_port_or_a_socket(here: Path, address: str) -> None:
    with pytest.raises(SettingsError, match="host:port or unix:PATH"):
        driver(DETECTOR_ADDRESS=address, MVD_ADDRESS="mvd:1")


def test_services_elsewhere_need_no_models_here_but_both_addresses(here: Path) -> None:
    found = driver(DETECTOR_ADDRESS="detector:50051", MVD_ADDRESS="unix:/tmp/mvd", MODEL_DIR="no/such", DETECTOR_DIR="")
    assert not found.is_embedded
    with pytest.raises(SettingsError, match="belong together"):
        driver(MVD_ADDRESS="mvd:50052")


@pytest.mark.parametrize("key", ["INPUT", "MODEL_DIR", "DETECTOR_DIR"])
def test_what_must_be_set_is_asked_for_by_name_and_flag(here: Path, key: str) -> None:
    with pytest.raises(SettingsError, match=f"^{key} is not set"):
        driver(**{key: ""})


def test_a_model_folder_that_is_not_there_is_named(here: Path) -> None:
    with pytest.raises(SettingsError, match=rf"MODEL_DIR: .*{re.escape(str(here / 'lost'))}"):
        driver(MODEL_DIR="lost")


def test_tls_needs_certificate_and_key_and_files_that_exist(here: Path) -> None:
    for name in ("cert.pem", "key.pem", "ca.pem"):
        (here / name).write_text("")
    found = driver(TLS_CERT="cert.pem", TLS_KEY="key.pem", TLS_CA="ca.pem").tls
    assert found.is_enabled
    assert found.ca == here / "ca.pem"
    assert not driver().tls.is_enabled
    with pytest.raises(SettingsError, match="set both"):
        driver(TLS_CERT="cert.pem")
    with pytest.raises(SettingsError, match=r"TLS_CA: .*lost\.pem"):
        driver(TLS_CA="lost.pem")


def test_a_settings_file_that_is_not_there_is_named(here: Path) -> None:
    with pytest.raises(SettingsError, match=r"--env: .*lost\.env"):
        driver("--env", "lost.env")


def test_a_misspelt_key_is_pointed_out_and_foreign_keys_are_left_alone(here: Path) -> None:
    (here / ".env").write_text("MODELDIR=x\nAPI_TOKEN=secret\nCOMPOSE_FILE=docker-compose.yml\n")
    (note,) = driver().notes
    assert "MODELDIR is not a setting; did you mean MODEL_DIR?" in note


def test_each_service_reads_its_own_model_and_listens_at_its_own_place(here: Path) -> None:
    found = service("detector", CLASS_NAMES="a,b", COMPILE="1")
    assert (found.model_dir, found.listen) == (here / "detector", "127.0.0.1:50051")
    assert found.class_names is None, "the names are the classifier's"
    assert found.compile
    found = service("mvd", "--listen", "unix:/tmp/x", CLASS_NAMES="a,b")
    assert (found.model_dir, found.listen, found.class_names) == (here / "mvd", "unix:/tmp/x", ("a", "b"))


def test_the_shipped_file_has_every_key_once_with_a_comment_and_works(root: Path) -> None:
    text = (root / ".env").read_text()
    names = re.findall(r"^([A-Z_]+)=", text, re.MULTILINE)
    assert sorted(names) == sorted(key.name for key in KEYS)
    shipped = dotenv_values(root / ".env")
    for key in KEYS:
        is_set_for_the_demo = key.name in ("INPUT", "OUTPUT", "MODEL_DIR", "DETECTOR_DIR", "COMPOSE_FILE")
        assert is_set_for_the_demo or shipped[key.name] in ("", key.default), key.name
    assert ", ".join(name for name in FORMATS if name not in ("csv", "json")) in text


def test_help_shows_every_key_of_a_program_with_its_default() -> None:
    shown = " ".join(settings.add_flags(argparse.ArgumentParser(), "driver").format_help().split())
    for key in keys_of("driver"):
        assert key.flag in shown
        assert f"[{key.name}; default: {key.default or 'none'}]" in shown.replace("- ", "-")


def test_the_readme_explains_every_key(root: Path) -> None:
    readme = (root / "README.md").read_text()
    missing = [key.name for key in KEYS if f"`{key.name}`" not in readme]
    assert not missing
