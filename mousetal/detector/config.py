"""The sizes of an RT-DETRv2 network, typed: what `config.json` keeps under ``network``.

The published variants are in ``VARIANTS``; any other combination that passes the checks below can be built and trained,
down to a network of a million parameters::

    NetworkConfig(num_classes=1, widths=(16, 32, 64, 128), stem_width=16, hidden_dim=64, encoder_dim=64, num_queries=30)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from mousetal.errors import ModelError
from mousetal.modelconfig import Fields

LEVELS = 3  # feature maps at strides 8, 16 and 32; the key table and the anchors are written for three
LARGEST_STRIDE = 32
BLOCKS = {"basic": 2, "bottleneck": 3}  # convolutions in one residual block
SAMPLINGS = ("default", "discrete")


@dataclass(frozen=True, slots=True)
class NetworkConfig:
    """Sizes of one network; the defaults are those of the smallest published variant, r18vd.

    ``block``, ``depths``, ``stem_width``, ``widths``: the ResNet-vd backbone: kind of residual block, blocks and output
    channels of its four stages. ``encoder_dim`` and ``hidden_dim`` are the channels of the hybrid encoder and of the
    decoder, ``expansion`` the share of ``encoder_dim`` inside the encoder's CSP blocks. ``eval_layer`` is the index of
    the decoder layer whose boxes are used. ``num_points`` counts the sampling points per head and level of the
    deformable attention, ``sampling`` says how it reads them: "default" (bilinear) or "discrete" (nearest cell).
    ``freeze_backbone_norms`` keeps the backbone's batch statistics fixed while training; it changes no prediction.
    """

    num_classes: int
    block: str = "basic"
    depths: tuple[int, ...] = (2, 2, 2, 2)
    stem_width: int = 64
    widths: tuple[int, ...] = (64, 128, 256, 512)
    encoder_dim: int = 256
    encoder_ffn: int = 1024
    expansion: float = 0.5
    hidden_dim: int = 256
    decoder_ffn: int = 1024
    decoder_layers: int = 3
    eval_layer: int = 2
    num_heads: int = 8
    num_points: int = 4
    num_queries: int = 300
    sampling: str = "default"
    freeze_backbone_norms: bool = False

    def __post_init__(self) -> None:
        self._check_choices()
        self._check_sizes()

    def _check_choices(self) -> None:
        if self.block not in BLOCKS:
            raise ModelError(f"network.block: expected one of {', '.join(BLOCKS)}, got {self.block!r}")
        if self.sampling not in SAMPLINGS:
            raise ModelError(f"network.sampling: expected one of {', '.join(SAMPLINGS)}, got {self.sampling!r}")
        if len(self.depths) != 4 or len(self.widths) != 4:
            raise ModelError(f"network: expected four stages, got depths {self.depths} and widths {self.widths}")
        if not 0 <= self.eval_layer < self.decoder_layers:
            raise ModelError(
                f"network.eval_layer: expected an index below decoder_layers={self.decoder_layers}, "
                f"got {self.eval_layer}"
            )

    def _check_sizes(self) -> None:
        for name in ("num_classes", "num_queries", "num_points", "num_heads", "encoder_ffn", "decoder_ffn"):
            if getattr(self, name) < 1:
                raise ModelError(f"network.{name}: expected a positive number, got {getattr(self, name)}")
        if min(self.depths) < 1 or sorted(set(self.widths)) != list(self.widths) or self.widths[0] < 1:
            raise ModelError(
                f"network: expected stages of at least one block, each wider than the one before, "
                f"got depths {self.depths} and widths {self.widths}"
            )
        if self.stem_width % 2 or (self.block == "basic" and self.stem_width != self.widths[0]):
            raise ModelError(
                f"network.stem_width: expected an even number, with basic blocks equal to the first stage's "
                f"{self.widths[0]}, got {self.stem_width}"
            )
        if self.block == "bottleneck" and (self.stem_width == self.widths[0] or any(n % 4 for n in self.widths)):
            raise ModelError(
                f"network.widths: expected multiples of 4 that differ from stem_width={self.stem_width} "
                f"with bottleneck blocks, got {self.widths}"
            )
        for name in ("encoder_dim", "hidden_dim"):
            channels = getattr(self, name)
            if channels % self.num_heads or channels % 4:
                raise ModelError(
                    f"network.{name}: expected a multiple of 4 and of num_heads={self.num_heads}, got {channels}"
                )
        if not 0 < self.expansion <= 1 or int(self.encoder_dim * self.expansion) < 1:
            raise ModelError(f"network.expansion: expected a number above 0 and up to 1, got {self.expansion}")

    @property
    def csp_dim(self) -> int:
        """Channels inside the encoder's CSP blocks; where they equal ``encoder_dim`` the blocks have no ``conv3``."""
        return int(self.encoder_dim * self.expansion)

    def check_input_size(self, input_size: int) -> None:
        """Refuse a square input side (pixels) that the feature pyramid or the query selection cannot work with."""
        if input_size < LARGEST_STRIDE or input_size % LARGEST_STRIDE:
            raise ModelError(f"input_size: expected a positive multiple of {LARGEST_STRIDE}, got {input_size}")
        if num_tokens(input_size) < self.num_queries:
            raise ModelError(
                f"input_size {input_size} gives {num_tokens(input_size)} places to look at, "
                f"fewer than network.num_queries={self.num_queries}: use a larger input or fewer queries"
            )

    def to_json(self) -> dict[str, Any]:
        """Plain JSON data, the inverse of `from_json`."""
        return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}

    @classmethod
    def from_json(cls, data: object, where: str) -> NetworkConfig:
        """Read ``network`` of a config.json; unknown or missing keys and wrong types are a `ModelError`."""
        keys = Fields(data, where)
        config = cls(
            num_classes=keys.take("num_classes", int),
            block=keys.take("block", str),
            depths=keys.take_tuple("depths", int),
            stem_width=keys.take("stem_width", int),
            widths=keys.take_tuple("widths", int),
            encoder_dim=keys.take("encoder_dim", int),
            encoder_ffn=keys.take("encoder_ffn", int),
            expansion=keys.take("expansion", float),
            hidden_dim=keys.take("hidden_dim", int),
            decoder_ffn=keys.take("decoder_ffn", int),
            decoder_layers=keys.take("decoder_layers", int),
            eval_layer=keys.take("eval_layer", int),
            num_heads=keys.take("num_heads", int),
            num_points=keys.take("num_points", int),
            num_queries=keys.take("num_queries", int),
            sampling=keys.take("sampling", str),
            freeze_backbone_norms=keys.take("freeze_backbone_norms", bool),
        )
        keys.end()
        return config


def map_sides(input_size: int) -> tuple[int, ...]:
    """The sides, in cells, of the square feature maps that the decoder looks at, the finest first."""
    return tuple(input_size // (LARGEST_STRIDE >> level) for level in reversed(range(LEVELS)))


def num_tokens(input_size: int) -> int:
    """How many cells the three feature maps have together: the candidates for a query (8400 at 640)."""
    return sum(side**2 for side in map_sides(input_size))


_R18VD = NetworkConfig(num_classes=1)
_R50VD = replace(
    _R18VD,
    block="bottleneck",
    depths=(3, 4, 6, 3),
    widths=(256, 512, 1024, 2048),
    expansion=1.0,
    decoder_layers=6,
    eval_layer=5,
    freeze_backbone_norms=True,
)
VARIANTS: Mapping[str, NetworkConfig] = {
    "r18vd": _R18VD,
    "r34vd": replace(_R18VD, depths=(3, 4, 6, 3), decoder_layers=4, eval_layer=3),
    "r50vd_m": replace(_R50VD, expansion=0.5, eval_layer=2),  # trained with six layers, used after the third
    "r50vd": _R50VD,
    "r101vd": replace(_R50VD, depths=(3, 4, 23, 3), encoder_dim=384, encoder_ffn=2048),
}


def variant_name(config: NetworkConfig) -> str:
    """The published variant that `config` is, whatever its classes and queries; "custom" when it is none."""
    for name, published in VARIANTS.items():
        same = replace(
            published,
            num_classes=config.num_classes,
            num_queries=config.num_queries,
            sampling=config.sampling,
            freeze_backbone_norms=config.freeze_backbone_norms,
        )
        if config == same:
            return name
    return "custom"
