"""The rows of the table: ways to do the same job, each a name and settings. A further variant is one more row.

Settings are those of `.env`, given to the driver as its environment. A row whose settings this version does not have is
left out, with a line that says so.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from mousetal.errors import SettingsError
from mousetal.settingkeys import DRIVER, keys_of


class Way(enum.StrEnum):
    """By what the job is done: `bench.schedule`, the driver with its two services, or the driver without them."""

    YARDSTICK = "yardstick"
    DRIVER = "driver"
    IN_PROCESS = "in process"


@dataclass(frozen=True, slots=True)
class Row:
    """One way to do the job.

    ``inside`` names the row that is the same without gRPC, ``against`` the one whose results its own are compared with.
    ``is_once`` marks a row that is there for its results: it runs in the first round only.
    """

    name: str
    title: str
    way: Way
    settings: Mapping[str, str] = field(default_factory=dict)
    inside: str = ""
    against: str = ""
    is_once: bool = False


EXACT = {"DETECT_EVERY": "1", "PRECISION": "fp32"}
SPARSE = {"DETECT_EVERY": "auto", "PRECISION": "fp32"}
COMPAT = {**EXACT, "REFERENCE_COMPAT": "1"}
FAST = {"BACKEND": "auto", "PRECISION": "bf16"}
INT8 = {"BACKEND": "auto", "PRECISION": "int8"}

REFERENCE = Row("reference", "the reference's schedule", Way.YARDSTICK)
ROWS: tuple[Row, ...] = (
    REFERENCE,
    Row("exact", "every sampled frame", Way.DRIVER, EXACT, inside="exact-inside", against="exact-inside"),
    Row("sparse", "sparse detection", Way.DRIVER, SPARSE, inside="sparse-inside", against="exact"),
    Row("exact-torch", "every sampled frame, torch", Way.DRIVER, {**EXACT, "BACKEND": "torch"}, against="exact"),
    Row("sparse-torch", "sparse detection, torch", Way.DRIVER, {**SPARSE, "BACKEND": "torch"}, against="exact-torch"),
    Row("exact-bf16", "every sampled frame, bf16", Way.DRIVER, {**EXACT, **FAST}, against="exact"),
    Row("sparse-bf16", "sparse detection, bf16", Way.DRIVER, {**SPARSE, **FAST}, against="exact"),
    Row("exact-int8", "every sampled frame, int8", Way.DRIVER, {**EXACT, **INT8}, against="exact"),
    Row("sparse-int8", "sparse detection, int8", Way.DRIVER, {**SPARSE, **INT8}, against="exact"),
    Row("exact-inside", "every sampled frame, no gRPC", Way.IN_PROCESS, EXACT),
    Row("sparse-inside", "sparse detection, no gRPC", Way.IN_PROCESS, SPARSE, against="sparse"),
    Row("compat", "the reference's windows and crops", Way.DRIVER, COMPAT, against="reference", is_once=True),
)


def is_int8(row: Row) -> bool:
    return row.settings.get("PRECISION") == "int8"


def why_not(row: Row, device: str = "cpu", is_small: bool = False) -> str:
    """Why a row cannot be run in this version, on this device and with (small) models; empty when it can."""
    if is_int8(row) and device != "cpu":
        return "int8 is for CPUs"
    if is_int8(row) and is_small:
        return "such small networks gain nothing from int8"
    known = {key.name: key for key in keys_of(DRIVER)}
    for name, value in row.settings.items():
        if name not in known:
            return f"{name} is no setting of this version"
        if known[name].choices and value not in known[name].choices:
            return f"{name} cannot be {value} in this version"
    return ""


def chosen(names: Sequence[str], rows: Sequence[Row] = ROWS) -> list[Row]:
    """The rows of these names in the order of the table, all without names; raises SettingsError for an unknown one."""
    unknown = [name for name in names if name not in {row.name for row in rows}]
    if unknown:
        raise SettingsError(
            f"--rows: names out of {', '.join(row.name for row in rows)} expected, got {', '.join(unknown)}."
        )
    return [row for row in rows if not names or row.name in names]
