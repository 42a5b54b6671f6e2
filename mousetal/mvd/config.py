"""Between a model folder's ``config.json`` and the sizes of the network.

``network`` in the file holds what neither ``input`` nor ``classes`` says. Drop rates are no part of it: they belong to
a training run, and a loaded network has none.
"""

from __future__ import annotations

from dataclasses import replace

from mousetal.errors import ModelError
from mousetal.modelconfig import Fields, Json, MvdConfig
from mousetal.mvd.vit import MVD, VitConfig

SIZES = ("dim", "depth", "heads", "patch_size", "tubelet_size")


def vit_config(config: MvdConfig, where: str) -> VitConfig:
    """The sizes of the network that a folder's config describes. Raises ModelError, naming ``where``."""
    fields = Fields(dict(config.network), f"{where}: network")
    sizes = {name: fields.take(name, int) for name in SIZES}
    mlp_ratio = fields.take("mlp_ratio", float)
    use_cls_token = fields.take("use_cls_token", bool)
    use_mean_pooling = fields.take("use_mean_pooling", bool)
    positions = fields.take("positions", str) if fields.has("positions") else MVD
    fields.end()
    return VitConfig(
        num_classes=len(config.classes),
        img_size=config.input.input_size,
        num_frames=config.input.num_frames,
        mlp_ratio=mlp_ratio,
        use_cls_token=use_cls_token,
        use_mean_pooling=use_mean_pooling,
        positions=positions,
        **sizes,
    )


def with_network(config: MvdConfig, vit: VitConfig) -> MvdConfig:
    """The config with ``network`` filled in from the network's sizes.

    Raises ModelError when the network's clips or classes are not those that the config describes.
    """
    described = (len(config.classes), config.input.num_frames, config.input.input_size)
    actual = (vit.num_classes, vit.num_frames, vit.img_size)
    if described != actual:
        raise ModelError(f"(classes, num_frames, input_size): the config says {described}, the network has {actual}")
    sizes: dict[str, Json] = {
        name: getattr(vit, name) for name in (*SIZES, "mlp_ratio", "use_cls_token", "use_mean_pooling")
    }
    if vit.positions != MVD:  # left out where it is the usual, so that older versions read the folder
        sizes["positions"] = vit.positions
    return replace(config, network=sizes)
