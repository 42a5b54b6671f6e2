"""Every key that `.env`, the environment or a flag may set: one table for programs, `--help`, `.env` and README.

A key's flag is its name in lower case with dashes: ``MODEL_DIR`` is ``--model-dir``. Keys used by "compose" alone are
read by docker compose and never by a program.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Program = Literal["driver", "detector", "mvd", "compose"]

DRIVER: Program = "driver"
DETECTOR: Program = "detector"
MVD: Program = "mvd"
COMPOSE: Program = "compose"
SERVICES: tuple[Program, ...] = (DETECTOR, MVD)
ALL: tuple[Program, ...] = (DRIVER, DETECTOR, MVD)

FORMATS = ("csv", "json", "supervisely", "reference")
PRECISIONS = ("fp32", "bf16", "fp16", "int8")
BACKENDS = ("auto", "torch", "openvino", "ncnn")
LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")


@dataclass(frozen=True, slots=True)
class Key:
    """One setting: its name, who reads it, the value when it is absent or blank, and what it means."""

    name: str
    used_by: tuple[Program, ...]
    default: str
    help: str
    choices: tuple[str, ...] = ()
    is_switch: bool = False

    @property
    def flag(self) -> str:
        return "--" + self.name.lower().replace("_", "-")


KEYS: tuple[Key, ...] = (
    Key("INPUT", (DRIVER,), "", "a video file, a folder (searched with its subfolders) or a Supervisely video project"),
    Key(
        "INPUT_NAME",
        (DRIVER,),
        "",
        "name to give the input in results, where INPUT is a mount point. Empty: INPUT's own",
    ),
    Key("OUTPUT", (DRIVER,), "output", "folder for the results; made if missing"),
    Key("MODEL_DIR", (DRIVER, MVD), "", "folder of the behaviour classifier (MVD); ours or a reference one"),
    Key("DETECTOR_DIR", (DRIVER, DETECTOR), "", "folder or .pth of the animal detector (RT-DETRv2)"),
    Key(
        "FORMATS",
        (DRIVER,),
        "csv,json",
        "result formats, comma separated; csv and json are always written",
        choices=FORMATS,
    ),
    Key(
        "CLASS_NAMES",
        (DRIVER, MVD),
        "",
        "the classifier's class names in order, comma separated, for old models that lack them. Empty: the model's own",
    ),
    Key("DETECTION_THRESHOLD", (DRIVER,), "", "least detector score of a box, 0 to 1. Empty: the model's own"),
    Key("MAX_GAP_S", (DRIVER,), "0.5", "seconds for which a frame without a box borrows one from its neighbours"),
    Key(
        "DETECT_EVERY",
        (DRIVER,),
        "auto",
        "the detector looks at every n-th sampled frame, and at those between on which a window's crop may hinge. "
        "1: at all; auto: twice in a window",
    ),
    Key(
        "VIDEOS_AT_ONCE",
        (DRIVER,),
        "2",
        "videos that are worked on side by side, so that the models have work while one begins and another ends",
    ),
    Key(
        "REFERENCE_COMPAT",
        (DRIVER,),
        "0",
        "1: windows, crops and merging exactly as the reference system had them, defects included",
        is_switch=True,
    ),
    Key("DEVICE", ALL, "auto", "where the networks run: auto (a GPU if there is one), cpu, cuda or cuda:N"),
    Key(
        "PRECISION",
        ALL,
        "fp32",
        "arithmetic of the networks; int8, on a CPU, takes graphs that training.quantise makes",
        choices=PRECISIONS,
    ),
    Key(
        "BACKEND",
        ALL,
        "auto",
        "what computes the networks: auto (on a CPU the fastest that is installed, else torch), torch, openvino or "
        "ncnn (the detector in fp32; all else is computed by OpenVINO then)",
        choices=BACKENDS,
    ),
    Key(
        "COMPILE",
        ALL,
        "0",
        "1: torch.compile for both networks (slow start, see START_TIMEOUT_S; meant for GPUs). For services outside of "
        "containers, or that the driver starts: it needs a C++ compiler, which the images lack",
        is_switch=True,
    ),
    Key("THREADS", ALL, "0", "CPU threads of each service. 0: one per core"),
    Key(
        "DETECTOR_ADDRESS",
        (DRIVER,),
        "",
        "host:port or unix:PATH of a running detector service. Empty, with MVD_ADDRESS empty: the driver starts both",
    ),
    Key("MVD_ADDRESS", (DRIVER,), "", "host:port or unix:PATH of a running MVD service"),
    Key(
        "LISTEN",
        SERVICES,
        "",
        "host:port or unix:PATH where a service listens. Empty: 127.0.0.1:50051 (detector) or 127.0.0.1:50052 (mvd)",
    ),
    Key("TLS_CERT", ALL, "", "PEM certificate of this end; with TLS_KEY turns on TLS"),
    Key("TLS_KEY", ALL, "", "PEM private key that belongs to TLS_CERT"),
    Key(
        "TLS_CA", ALL, "", "PEM certificate authority to check the other end against; on a service: asks for mutual TLS"
    ),
    Key("SERVICE_TIMEOUT_S", (DRIVER,), "300", "seconds to wait for one answer of a service"),
    Key("START_TIMEOUT_S", (DRIVER,), "180", "seconds to wait for a service to become ready"),
    Key("LOG_LEVEL", ALL, "INFO", "how much to tell", choices=LOG_LEVELS),
    Key("COMPOSE_FILE", (COMPOSE,), "", "compose files, joined by a colon; without a GPU docker-compose.yml alone"),
    Key("BASE_IMAGE", (COMPOSE,), "", "base image of the build. Empty: python:3.11-slim-bookworm"),
    Key("MOUSETAL_VERSION", (COMPOSE,), "", "tag of the images. Empty: this version"),
    Key("DETECTOR_CPUS", (COMPOSE,), "", "cores that the detector's container may use"),
    Key("DETECTOR_MEMORY", (COMPOSE,), "", "memory that the detector's container may use, as in 4g"),
    Key("MVD_CPUS", (COMPOSE,), "", "cores that the MVD container may use"),
    Key("MVD_MEMORY", (COMPOSE,), "", "memory that the MVD container may use"),
    Key("DRIVER_CPUS", (COMPOSE,), "", "cores that the driver's container may use"),
    Key("DRIVER_MEMORY", (COMPOSE,), "", "memory that the driver's container may use"),
    Key("TRAINING_DIR", (COMPOSE,), "", "folder of data sets, clips, runs and new models. Empty: ./training-data"),
    Key("TRAINING_SHM", (COMPOSE,), "", "shared memory for the loader's workers in training, as in 8g. Empty: 8gb"),
)


def keys_of(program: Program) -> tuple[Key, ...]:
    """The keys that one program reads, in the order of the table."""
    return tuple(key for key in KEYS if program in key.used_by)
