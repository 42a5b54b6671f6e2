"""The README's promises that can be checked without running anything."""

from __future__ import annotations

import re
from pathlib import Path

from inference_script.report.words import FLAG_WORDS
from mousetal import atomic, records
from mousetal.formats.csv import BOX_COLUMNS, INTERVAL_COLUMNS, VIDEO_COLUMNS
from tests.fixtures.stored import stored_result

DOCUMENTS = (
    "README.md", "CONTRIBUTING.md", "CHANGELOG.md", "models/README.md", "videos/README.md", "training/README.md",
)  # fmt: skip


def file_map(root: Path) -> set[str]:
    """Every path named in the README's map of the files."""
    text = (root / "README.md").read_text(encoding="utf-8")
    tree = text.split("## The files")[1].split("```")[1]
    named: set[str] = set()
    folder = ""
    for line in tree.strip("\n").splitlines():
        paths = re.split(r"\s{3,}", line.strip())[0].split()
        indented = line.startswith("  ")
        named.update((folder if indented else "") + path for path in paths)
        if not indented:
            folder = paths[0]
    return named


def test_the_map_names_only_what_exists(root: Path) -> None:
    assert [path for path in sorted(file_map(root)) if not (root / path).exists()] == []


def test_the_map_names_every_module_of_the_library(root: Path) -> None:
    modules = {f"mousetal/{path.name}" for path in (root / "mousetal").glob("*.py") if path.name != "__init__.py"}
    assert sorted(modules - file_map(root)) == []


def test_every_link_in_the_documents_leads_somewhere(root: Path) -> None:
    for name in DOCUMENTS:
        text = (root / name).read_text(encoding="utf-8")
        targets = re.findall(r"\]\(([^)#:]+)\)", text)
        assert [t for t in targets if not ((root / name).parent / t).exists()] == [], name


def test_every_make_target_that_the_documents_name_exists(root: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (root / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    for name in DOCUMENTS:
        named = set(re.findall(r"\bmake ([a-z-]+)\b(?= |`|$)", (root / name).read_text(encoding="utf-8"), re.MULTILINE))
        assert named - targets <= {"install"}, name


def test_every_flag_column_and_array_of_the_results_is_explained(root: Path, tmp_path: Path) -> None:
    records.write_video(tmp_path, stored_result())
    arrays = atomic.read_arrays(records.windows_path(tmp_path, stored_result().video))
    text = (root / "README.md").read_text(encoding="utf-8").split("## What comes out")[1].split("## In Docker")[0]
    explained = set(re.findall(r"`([a-z0-9_]+)`", text)) | {"box_y1", "box_x2"}  # within `box_x1` … `box_y2`
    names = {*FLAG_WORDS, *INTERVAL_COLUMNS, *VIDEO_COLUMNS, *BOX_COLUMNS, *arrays}
    assert sorted(names - explained) == []
