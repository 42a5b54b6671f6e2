"""What a model folder's ``config.json`` says, as dataclasses: strict when read, plain when written.

Every key must be there, of the right type, and no other. There are exceptions. ``network`` is a plain object of
sizes that the package which builds the network (``mvd`` or ``detector``) types for itself; ``name`` (then the
folder's), ``temperature`` (then 1) and ``acceptance`` (then `acceptance.Tolerances`' defaults) may be left out.

    config = parse(json.loads(text), where="models/demo-mvd/config.json")
    text = json.dumps(to_json(config))
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, ClassVar, TypeVar

from mousetal.acceptance import Tolerances
from mousetal.errors import ModelError, SettingsError
from mousetal.types import BoutRule

FORMAT_VERSION = 1
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
DEFAULT_TOLERANCES = Tolerances()
NAME_LENGTH = 60  # characters: names stand in columns and headings
NOT_IN_NAMES = frozenset("@/\\")  # results say name@digest, and a name is no path

Json = Any
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class ClipInput:
    """The clips a classifier takes.

    ``num_frames`` frames, one every ``sampling_rate`` frames of a video of ``trained_fps`` frames per second (None:
    unknown); the animal's square, enlarged by ``crop_padding`` of its side, resized to ``input_size`` pixels;
    ``stride`` sampled frames between windows. Pixels are divided by 255, then ``mean`` is subtracted and the result
    divided by ``std`` (red, green, blue).
    """

    num_frames: int
    sampling_rate: int
    input_size: int
    stride: int
    crop_padding: float
    trained_fps: float | None
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD


@dataclass(frozen=True, slots=True)
class ImageInput:
    """The images a detector takes: squares of ``input_size`` pixels. Boxes below ``score_threshold`` are dropped."""

    input_size: int
    score_threshold: float


@dataclass(frozen=True, slots=True)
class MvdConfig:
    """A clip classifier. ``bouts`` holds one rule per class, in the order of ``classes``.

    The network's logits are divided by ``temperature`` before they become probabilities. ``acceptance`` says how far a
    fast way to compute them may be off. ``name`` is what results call the model; empty: its folder's name.
    """

    classes: tuple[str, ...]
    background: int | None
    network: Mapping[str, Json]
    input: ClipInput
    bouts: tuple[BoutRule, ...]
    multi_label: bool = False
    provenance: Mapping[str, Json] = field(default_factory=dict)
    temperature: float = 1.0
    acceptance: Tolerances = DEFAULT_TOLERANCES
    name: str = ""

    kind: ClassVar[str] = "mvd"

    def __post_init__(self) -> None:
        _check_classes(self.classes, self.background, "model config")
        _check_name(self.name, "model config")
        if len(self.bouts) != len(self.classes):
            raise ModelError(
                f"model config: one bout rule per class expected, got {len(self.bouts)} for {len(self.classes)} classes"
            )


@dataclass(frozen=True, slots=True)
class RtdetrConfig:
    """An RT-DETRv2 detector. ``background`` is None: boxes that are nothing are not reported at all.

    ``name`` is what results call the model; empty: its folder's name.
    """

    classes: tuple[str, ...]
    network: Mapping[str, Json]
    input: ImageInput
    background: int | None = None
    provenance: Mapping[str, Json] = field(default_factory=dict)
    acceptance: Tolerances = DEFAULT_TOLERANCES
    name: str = ""

    kind: ClassVar[str] = "rtdetrv2"

    def __post_init__(self) -> None:
        _check_classes(self.classes, self.background, "model config")
        _check_name(self.name, "model config")


ModelConfig = MvdConfig | RtdetrConfig
AnyConfig = TypeVar("AnyConfig", bound=ModelConfig)


def with_classes(config: AnyConfig, class_names: tuple[str, ...] | None, where: str) -> AnyConfig:
    """The config with other class names, same order and count. Raises SettingsError when the count differs."""
    if class_names is None:
        return config
    if len(class_names) != len(config.classes):
        raise SettingsError(
            f"{where}: CLASS_NAMES has {len(class_names)} names ({', '.join(class_names)}), but the model has "
            f"{len(config.classes)} classes ({', '.join(config.classes)}). Give one name per class, in order."
        )
    return replace(config, classes=class_names)


def stated_name(document: Json, where: str) -> str:
    """The name that a parsed ``config.json`` gives its model, empty for none. Raises ModelError."""
    return _parse_name(Fields(document, where))


def plain_name(text: str) -> str:
    """A name that a model can have, as near to ``text`` (a folder's name, say) as that goes; empty for none."""
    plain = "".join(sign if sign.isprintable() and sign not in NOT_IN_NAMES else "-" for sign in text)
    return plain.strip()[:NAME_LENGTH].strip()


def parse(document: Json, where: str) -> ModelConfig:
    """The config that a parsed ``config.json`` holds. ``where`` names the file in messages. Raises ModelError."""
    fields = Fields(document, where)
    version = fields.take("format_version", int)
    if version != FORMAT_VERSION:
        raise ModelError(f"{where}: format_version {FORMAT_VERSION} expected, got {version}. Update mousetal.")
    kind = fields.take("kind", str)
    config: ModelConfig
    if kind == MvdConfig.kind:
        config = _parse_mvd(fields)
    elif kind == RtdetrConfig.kind:
        config = _parse_rtdetr(fields)
    else:
        raise ModelError(f"{where}: kind 'mvd' or 'rtdetrv2' expected, got {kind!r}")
    fields.end()
    return config


def to_json(config: ModelConfig) -> dict[str, Json]:
    """The config as ``config.json`` holds it; ``parse`` is its inverse (once JSON has made lists of the tuples)."""
    document: dict[str, Json] = {
        "format_version": FORMAT_VERSION,
        "kind": config.kind,
        **({"name": config.name} if config.name else {}),  # left out where empty: older versions read the folder
        "classes": list(config.classes),
        "background": config.background,
        "network": dict(config.network),
        "input": asdict(config.input),
    }
    if isinstance(config, MvdConfig):
        rules = zip(config.classes, config.bouts, strict=True)
        document["bouts"] = {name: asdict(rule) for i, (name, rule) in enumerate(rules) if i != config.background}
        document["multi_label"] = config.multi_label
        if config.temperature != 1.0:  # left out where it changes nothing, so that older versions read the folder
            document["temperature"] = config.temperature
    if config.acceptance != DEFAULT_TOLERANCES:
        document["acceptance"] = asdict(config.acceptance)
    document["provenance"] = dict(config.provenance)
    return document


class Fields:
    """The keys of one JSON object, taken one by one; missing, mistyped or left over, they are a ModelError."""

    def __init__(self, document: Json, where: str) -> None:
        if not isinstance(document, dict):
            raise ModelError(f"{where}: a JSON object expected, got {type(document).__name__}")
        self.where = where
        self._left = dict(document)

    def take(self, key: str | int, kind: type[T]) -> T:
        """The value of ``key``, of type ``kind``; a whole number passes for a float, a bool never for a number."""
        if key not in self._left:
            raise ModelError(f"{self.where}: key {key!r} is missing ({kind.__name__} expected)")
        value = self._left.pop(key)
        if kind is float and type(value) is int:
            value = float(value)
        # Not isinstance: True is an int to Python, but no number of frames. Python reads NaN, though JSON has none.
        if type(value) is not kind or (isinstance(value, float) and not math.isfinite(value)):
            raise ModelError(f"{self.where}: {key!r} should be a {kind.__name__}, got {value!r}")
        checked: T = value
        return checked

    def has(self, key: str) -> bool:
        """Whether ``key`` is there and nobody took it yet."""
        return key in self._left

    def take_optional(self, key: str, kind: type[T]) -> T | None:
        """As ``take``, but null is allowed (the key must still be there)."""
        if key in self._left and self._left[key] is None:
            self._left.pop(key)
            return None
        return self.take(key, kind)

    def take_tuple(self, key: str, kind: type[T]) -> tuple[T, ...]:
        """A list whose items are all of type ``kind``."""
        items = dict(enumerate(self.take(key, list)))
        inside = Fields(items, f"{self.where}: {key}")
        return tuple(inside.take(i, kind) for i in items)

    def take_object(self, key: str) -> Fields:
        """A nested object."""
        return Fields(self.take(key, dict), f"{self.where}: {key}")

    def end(self) -> None:
        """Raises ModelError when keys are left that nobody took."""
        if self._left:
            raise ModelError(f"{self.where}: unknown keys {', '.join(map(repr, self._left))}. Remove them.")


def _parse_mvd(fields: Fields) -> MvdConfig:
    classes, background = _parse_classes(fields)
    return MvdConfig(
        classes=classes,
        background=background,
        network=fields.take("network", dict),
        input=_parse_clip_input(fields.take_object("input")),
        bouts=_parse_bouts(fields.take_object("bouts"), classes, background),
        multi_label=fields.take("multi_label", bool),
        temperature=_parse_temperature(fields),
        acceptance=_parse_acceptance(fields),
        name=_parse_name(fields),
        provenance=fields.take("provenance", dict),
    )


def _parse_name(fields: Fields) -> str:
    name = fields.take("name", str) if fields.has("name") else ""
    _check_name(name, fields.where)
    return name


def _parse_temperature(fields: Fields) -> float:
    value = fields.take("temperature", float) if fields.has("temperature") else 1.0
    if value <= 0:
        raise ModelError(f"{fields.where}: 'temperature' should be above 0, got {value}")
    return value


def _parse_acceptance(fields: Fields) -> Tolerances:
    if not fields.has("acceptance"):
        return DEFAULT_TOLERANCES
    inside = fields.take_object("acceptance")
    found = Tolerances(inside.take("logits", float), inside.take("boxes", float))
    inside.end()
    if found.logits <= 0 or found.boxes <= 0:
        raise ModelError(f"{inside.where}: numbers above 0 expected, got {found}")
    return found


def _parse_rtdetr(fields: Fields) -> RtdetrConfig:
    inside = fields.take_object("input")
    image = ImageInput(_positive(inside, "input_size"), _fraction(inside, "score_threshold"))
    inside.end()
    classes, background = _parse_classes(fields)
    return RtdetrConfig(
        classes=classes,
        background=background,
        network=fields.take("network", dict),
        input=image,
        acceptance=_parse_acceptance(fields),
        name=_parse_name(fields),
        provenance=fields.take("provenance", dict),
    )


def _parse_classes(fields: Fields) -> tuple[tuple[str, ...], int | None]:
    classes = fields.take_tuple("classes", str)
    background = fields.take_optional("background", int)
    _check_classes(classes, background, fields.where)
    return classes, background


def _parse_clip_input(fields: Fields) -> ClipInput:
    clip = ClipInput(
        num_frames=_positive(fields, "num_frames"),
        sampling_rate=_positive(fields, "sampling_rate"),
        input_size=_positive(fields, "input_size"),
        stride=_positive(fields, "stride"),
        crop_padding=fields.take("crop_padding", float),
        trained_fps=fields.take_optional("trained_fps", float),
        mean=colour(fields, "mean"),
        std=colour(fields, "std"),
    )
    fields.end()
    if clip.crop_padding < 0 or (clip.trained_fps is not None and clip.trained_fps <= 0) or min(clip.std) <= 0:
        raise ModelError(f"{fields.where}: crop_padding >= 0, trained_fps > 0 and std > 0 expected, got {clip}")
    return clip


def _parse_bouts(fields: Fields, classes: tuple[str, ...], background: int | None) -> tuple[BoutRule, ...]:
    rules = []
    for i, name in enumerate(classes):
        rules.append(BoutRule() if i == background else _parse_rule(fields.take_object(name)))
    fields.end()
    return tuple(rules)


def _parse_rule(fields: Fields) -> BoutRule:
    rule = BoutRule(
        threshold=_fraction(fields, "threshold"),
        low_threshold=_fraction(fields, "low_threshold"),
        min_duration_s=fields.take("min_duration_s", float),
        bridge_gap_s=fields.take("bridge_gap_s", float),
    )
    fields.end()
    if rule.low_threshold > rule.threshold or rule.min_duration_s < 0 or rule.bridge_gap_s < 0:
        raise ModelError(f"{fields.where}: low_threshold <= threshold and seconds >= 0 expected, got {rule}")
    return rule


def _positive(fields: Fields, key: str) -> int:
    value = fields.take(key, int)
    if value < 1:
        raise ModelError(f"{fields.where}: {key!r} should be at least 1, got {value}")
    return value


def _fraction(fields: Fields, key: str) -> float:
    value = fields.take(key, float)
    if not 0 <= value <= 1:
        raise ModelError(f"{fields.where}: {key!r} should lie between 0 and 1, got {value}")
    return value


def colour(fields: Fields, key: str) -> tuple[float, float, float]:
    """One number each for red, green and blue."""
    values = fields.take_tuple(key, float)
    if len(values) != 3:
        raise ModelError(f"{fields.where}: {key!r} should have three numbers (red, green, blue), got {list(values)}")
    return values[0], values[1], values[2]


def _check_classes(classes: tuple[str, ...], background: int | None, where: str) -> None:
    if not classes or len(set(classes)) != len(classes) or not all(classes):
        raise ModelError(f"{where}: 'classes' should list different, non-empty names, got {list(classes)}")
    if background is not None and not 0 <= background < len(classes):
        raise ModelError(f"{where}: 'background' should be null or the index of a class, got {background}")


def _check_name(name: str, where: str) -> None:
    if name != plain_name(name):
        raise ModelError(
            f"{where}: 'name' should be a plain short text (at most {NAME_LENGTH} characters on one line, without "
            f"{' '.join(sorted(NOT_IN_NAMES))} and without spaces at its ends), got {name!r}"
        )
