"""How much memory a step of training needs, estimated before it starts, and what to say when it was not enough.

Per process, P parameters, world size W, B views of L tokens and width D, b bytes of a computed number (2 in bf16 and
fp16, 4 in fp32):

    weights      4 P (torch), or b P under DeepSpeed; / W at ZeRO 3
    gradients    4 P (torch), or b P under DeepSpeed; / W from ZeRO 2
    optimiser    8 P, AdamW's two averages, and 4 P of full-precision weights under DeepSpeed in 16 bits; / W from
                 ZeRO 1; on the CPU when offloaded
    average      4 P where weights are averaged, twice that while they are validated
    activations  depth * B * L * D * ((14 + 2 r) b + 4): norms, query, key and value, attention's output, the two sums,
                 and the MLP's r times wider layer before and after its GELU
                 checkpointed: one such block, and 4 B L D per block

Attention itself runs through a fused kernel that keeps no L x L matrix. What a framework needs besides (kernels' work
space, fragmentation, the CUDA context) is about 1 to 2 GiB more and not in the sum.
"""

from __future__ import annotations

from dataclasses import dataclass

from training.engine import Place
from training.finetune_knobs import Knobs
from training.learner import Learner

GIB = 1 << 30


@dataclass(frozen=True, slots=True)
class Estimate:
    """Bytes per process."""

    weights: int
    gradients: int
    optimiser: int
    average: int
    activations: int

    @property
    def total(self) -> int:
        return self.weights + self.gradients + self.optimiser + self.average + self.activations

    def __str__(self) -> str:
        parts = ", ".join(f"{name} {_shown(getattr(self, name))}" for name in self.__dataclass_fields__)
        return f"about {_shown(self.total)} per process ({parts})"


def _shown(count: int) -> str:
    return f"{count / GIB:.1f} GiB" if count >= GIB else f"{count / (1 << 20):.0f} MiB"


def estimate(learner: Learner, knobs: Knobs, world_size: int, is_deepspeed: bool) -> Estimate:
    """What a step needs; see the module's text for the formula."""
    config, parameters = learner.network.config, learner.num_parameters
    width = 4 if knobs.precision == "fp32" else 2
    stored = width if is_deepspeed else 4
    zero = knobs.zero if is_deepspeed else 0
    master = 4 if is_deepspeed and width == 2 else 0
    tubelets, side = config.grid
    tokens = knobs.batch * knobs.num_sample * (tubelets * side * side + int(config.use_cls_token))
    block = int(tokens * config.dim * ((6 + 2 * config.mlp_ratio) * width + 4))
    kept = 4 * tokens * config.dim
    is_offloaded = is_deepspeed and knobs.offload
    return Estimate(
        weights=parameters * stored // (world_size if zero == 3 else 1),
        gradients=parameters * stored // (world_size if zero >= 2 else 1),
        optimiser=0 if is_offloaded else parameters * (8 + master) // (world_size if zero >= 1 else 1),
        average=8 * parameters if knobs.ema else 4 * parameters,
        activations=config.depth * kept + block if knobs.checkpointing else config.depth * block,
    )


def is_out_of_memory(error: BaseException) -> bool:
    """Whether torch ran out of memory, on a GPU or on the CPU."""
    text = str(error).lower()
    return isinstance(error, RuntimeError) and ("out of memory" in text or "can't allocate memory" in text)


def advice(knobs: Knobs, needed: Estimate, place: Place) -> str:
    """What to lower when memory ran out, the gentlest first."""
    steps = []
    if knobs.batch > 1:
        part = max(part for part in range(1, knobs.batch) if knobs.batch % part == 0)
        steps.append(f"batch = {part} with accumulation = {knobs.accumulation * knobs.batch // part} (same result)")
    if knobs.num_sample > 1:
        steps.append("num_sample = 1")
    if not knobs.checkpointing:
        steps.append("checkpointing = true (a third slower)")
    if knobs.precision == "fp32":
        steps.append("precision = bf16")
    if knobs.num_frames > 16:
        steps.append(f"num_frames = {knobs.num_frames // 2}")
    if place.world_size > 1 and knobs.zero < 3:
        steps.append(f"zero = {knobs.zero + 1}")
    if not knobs.offload:
        engine = "" if place.is_deepspeed else " and engine = deepspeed"
        steps.append(f"offload = true with zero = {knobs.zero or 2}{engine}")
    if place.world_size == 1:
        steps.append("more GPUs, started by DeepSpeed's launcher, with zero = 2 (alone it spares nothing)")
    return f"out of memory. The step needs {needed}. Lower one of: {'; '.join(steps) or 'input_size, model'}."
