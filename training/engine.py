"""What carries out a step: torch alone, in one process, or DeepSpeed, in one or many. Both look the same to the loop.

engine = make_engine(learner, groups, knobs, place)
with engine.computing():
    outputs = engine.module(clips.to(engine.dtype))
engine.backward(loss)                     # for every micro-step
norm = engine.step()                      # the optimiser moves after the last of them
engine.save(folder)
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from mousetal.errors import SettingsError
from mousetal.execution import AUTOCAST_TYPES, Execution
from training.finetune_knobs import Knobs
from training.optim import Group, adamw

STATE_NAME = "engine.pt"
DEEPSPEED_TAG = "deepspeed"  # the folder in a state that its own files are in
SHARED_MEMORY = "deepspeed_allreduce_buffer"  # how files of DeepSpeed's in /dev/shm begin
MPI_SIZES = ("OMPI_COMM_WORLD_SIZE", "PMI_SIZE")  # how many processes there are, by Open MPI and by MPICH


@dataclass(frozen=True, slots=True)
class Place:
    """Which of how many processes this is, on what device, and whether DeepSpeed runs it."""

    device: torch.device
    rank: int = 0
    world_size: int = 1
    is_deepspeed: bool = False

    @property
    def is_first(self) -> bool:
        return self.rank == 0


class Engine(Protocol):
    """See the module's text. ``weights`` gives every parameter whole, in float32 or the engine's own type."""

    module: nn.Module
    dtype: torch.dtype

    @property
    def groups(self) -> list[Group]: ...
    def computing(self) -> contextlib.AbstractContextManager[object]: ...
    def backward(self, loss: Tensor) -> None: ...
    def step(self) -> float | None: ...
    def weights(self) -> Iterator[tuple[str, Tensor]]: ...
    def save(self, folder: Path) -> None: ...
    def load(self, folder: Path) -> None: ...


def place_of(knobs: Knobs) -> Place:
    """Where this process runs. Raises SettingsError when the settings cannot be had here."""
    world_size, rank = int(os.environ.get("WORLD_SIZE", "1")), int(os.environ.get("RANK", "0"))
    is_launched = "LOCAL_RANK" in os.environ and "WORLD_SIZE" in os.environ
    is_deepspeed = knobs.engine == "deepspeed" or (knobs.engine == "auto" and is_launched)
    if world_size > 1 and not is_deepspeed:
        raise SettingsError(f"engine: torch trains in one process, {world_size} were started. Set engine = auto.")
    if "WORLD_SIZE" not in os.environ and max(int(os.environ.get(name, "1")) for name in MPI_SIZES) > 1:
        raise SettingsError("started by MPI, whose ranks are not read: each process would train alone. Let DeepSpeed's "
                            "launcher start them by pdsh or with --no_ssh: see training/README.md.")  # fmt: skip
    device = Execution.on(knobs.device, knobs.precision, compiled=False).device
    if device.type == "cpu" and knobs.precision == "fp16":
        raise SettingsError("precision: fp16 is not to be had on a CPU. Set precision = bf16 or fp32.")
    if not is_deepspeed and (knobs.zero or knobs.offload):
        raise SettingsError("zero and offload are DeepSpeed's: start with its launcher or set engine = deepspeed")
    return Place(device, rank, world_size, is_deepspeed)


def make_engine(learner: nn.Module, groups: list[Group], knobs: Knobs, place: Place) -> Engine:
    """The engine that the settings ask for."""
    return DeepSpeed(learner, groups, knobs, place) if place.is_deepspeed else Torch(learner, groups, knobs, place)


class Torch:
    """One process, torch alone: weights in float32, the network computed in the precision asked for."""

    def __init__(self, learner: nn.Module, groups: list[Group], knobs: Knobs, place: Place) -> None:
        self.module = learner.to(place.device)
        self.optimiser = adamw(groups, (knobs.betas[0], knobs.betas[1]), knobs.eps)
        self.scaler = torch.amp.GradScaler(place.device.type, enabled=knobs.precision == "fp16")
        self.dtype = torch.float32
        self._execution = Execution(place.device, knobs.precision)
        self._accumulation, self._clip_norm, self._micro_steps = knobs.accumulation, knobs.clip_norm, 0

    @property
    def groups(self) -> list[Group]:
        return self.optimiser.param_groups  # loading a state makes new ones

    def computing(self) -> contextlib.AbstractContextManager[object]:
        return self._execution.autocast()

    def backward(self, loss: Tensor) -> None:
        torch.autograd.backward(self.scaler.scale(loss / self._accumulation))

    def step(self) -> float | None:
        """Moves the weights after the last micro-step, and gives the gradient's length before clipping."""
        self._micro_steps += 1
        if self._micro_steps % self._accumulation:
            return None
        self.scaler.unscale_(self.optimiser)
        norm = nn.utils.clip_grad_norm_(self.module.parameters(), self._clip_norm or float("inf"))
        self.scaler.step(self.optimiser)
        self.scaler.update()
        self.optimiser.zero_grad()
        return float(norm)

    def weights(self) -> Iterator[tuple[str, Tensor]]:
        yield from self.module.named_parameters()

    def save(self, folder: Path) -> None:
        parts: dict[str, Any] = {"module": self.module, "optimiser": self.optimiser, "scaler": self.scaler}
        with (folder / STATE_NAME).open("wb") as file:
            torch.save({name: part.state_dict() for name, part in parts.items()}, file)

    def load(self, folder: Path) -> None:
        if (folder / DEEPSPEED_TAG).exists() and not (folder / STATE_NAME).exists():
            raise SettingsError(f"{folder}: a state of DeepSpeed. Go on with its launcher, or set engine = deepspeed.")
        state = torch.load(folder / STATE_NAME, map_location="cpu", weights_only=True)
        self.module.load_state_dict(state["module"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.scaler.load_state_dict(state["scaler"])


class DeepSpeed:
    """Any number of processes: weights in the precision asked for, the optimiser's copies in float32."""

    def __init__(self, learner: nn.Module, groups: list[Group], knobs: Knobs, place: Place) -> None:
        deepspeed = import_deepspeed()
        optimiser: torch.optim.Optimizer
        if knobs.offload:
            optimiser = deepspeed.ops.adam.DeepSpeedCPUAdam(
                groups, lr=0.0, betas=knobs.betas, eps=knobs.eps, adamw_mode=True
            )
        else:
            optimiser = adamw(groups, (knobs.betas[0], knobs.betas[1]), knobs.eps)
        self.engine, *_ = deepspeed.initialize(
            model=learner.to(place.device), optimizer=optimiser, config=deepspeed_config(knobs, place.world_size)
        )
        forget_steps(self.engine.optimizer)
        self.module: nn.Module = self.engine
        self.dtype = AUTOCAST_TYPES[knobs.precision] or torch.float32
        self._zero3 = knobs.zero == 3
        self._is_plain = knobs.zero == 0 and knobs.precision == "fp32"

    @property
    def groups(self) -> list[Group]:
        groups: list[Group] = self.engine.optimizer.param_groups
        return groups

    def computing(self) -> contextlib.AbstractContextManager[object]:
        return contextlib.nullcontext()

    def backward(self, loss: Tensor) -> None:
        self.engine.backward(loss)

    def step(self) -> float | None:
        is_last = self.engine.is_gradient_accumulation_boundary()
        # Without ZeRO in float32 DeepSpeed leaves the optimiser as it is and measures nothing. The gradient is the mean
        # over all processes by now.
        norm = self._length() if is_last and self._is_plain else None
        self.engine.step()
        if is_last and not self._is_plain:
            norm = self.engine.get_global_grad_norm()
        return None if norm is None else float(norm)

    def _length(self) -> Tensor:
        gradients = [one.grad for one in self.engine.module.parameters() if one.grad is not None]
        return nn.utils.get_total_norm(gradients)

    def weights(self) -> Iterator[tuple[str, Tensor]]:
        gathered = import_deepspeed().zero.GatheredParameters
        for name, parameter in self.engine.module.named_parameters():
            # ZeRO 3 keeps small ones whole. Gathered they would be taken apart again afterwards, of which its record of
            # what is needed when knows nothing: a run that went on from a state failed at its second step.
            is_apart = self._zero3 and parameter.ds_status.name != "AVAILABLE"
            with gathered([parameter], enabled=is_apart):
                yield name, parameter

    def save(self, folder: Path) -> None:
        self.engine.save_checkpoint(str(folder), tag=DEEPSPEED_TAG, save_latest=False)

    def load(self, folder: Path) -> None:
        found, _ = self.engine.load_checkpoint(str(folder), tag=DEEPSPEED_TAG)
        if found is None:
            raise SettingsError(f"{folder}: no state of DeepSpeed. Go on without its launcher, by python -m.")


def forget_steps(optimiser: Any) -> None:
    """Let AdamW count from 0. DeepSpeed makes room for its averages by a step without gradients in 16 bits without
    ZeRO, and a first step that is taken for the second is a quarter shorter."""
    for state in getattr(optimiser, "optimizer", optimiser).state.values():
        state["step"] = 0 * state["step"]


def deepspeed_config(knobs: Knobs, world_size: int) -> dict[str, Any]:
    """DeepSpeed's configuration for these settings; the optimiser is handed to it ready made."""
    config: dict[str, Any] = {
        "train_batch_size": knobs.total_batch(world_size),
        "train_micro_batch_size_per_gpu": knobs.batch,
        "gradient_accumulation_steps": knobs.accumulation,
        "gradient_clipping": knobs.clip_norm,
        "steps_per_print": 1_000_000_000,
        "bf16": {"enabled": knobs.precision == "bf16"},
        # Dynamic scaling, with the published window.
        "fp16": {
            "enabled": knobs.precision == "fp16",
            "loss_scale": 0,
            "initial_scale_power": 10,
            "loss_scale_window": 128,
        },
        "zero_optimization": {"stage": knobs.zero},
        "zero_allow_untested_optimizer": True,
    }
    if knobs.offload:
        config["zero_optimization"]["offload_optimizer"] = {"device": "cpu"}
    return config


def import_deepspeed() -> Any:
    """The library, which only several GPUs need. Raises SettingsError when it is not installed."""
    try:
        import deepspeed
    except ImportError as error:
        raise SettingsError("engine: DeepSpeed is not installed here. Set engine = torch.") from error
    return deepspeed


def start_processes(place: Place) -> None:
    """Join the other processes; alone, DeepSpeed still wants a group of one."""
    if not place.is_deepspeed:
        return
    alone = {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "127.0.0.1"}
    for name, value in (alone | {"MASTER_PORT": str(_free_port())}).items():
        os.environ.setdefault(name, value)
    backend = "nccl" if place.device.type == "cuda" else "gloo"
    if place.device.type == "cuda":
        torch.cuda.set_device(place.device)
    import_deepspeed().init_distributed(dist_backend=backend)
    if place.device.type == "cpu":
        _forget_shared_memory(place)


def _forget_shared_memory(place: Place) -> None:
    """Take the names off the blocks of memory that processes on one CPU share, 66 MB each: DeepSpeed never does.

    They stay for as long as a process has them, and even one that is killed leaves none behind.
    """
    torch.distributed.barrier()  # by now every process has opened everyone's
    address, port = os.environ["MASTER_ADDR"], os.environ["MASTER_PORT"]
    name = f"{SHARED_MEMORY}_{os.getuid()}_{address}_{port}_{place.rank}"
    (Path("/dev/shm") / name).unlink(missing_ok=True)


def _free_port() -> int:
    """Another one for every run, so that several at once on a machine do not meet."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def end_processes(place: Place) -> None:
    """Part from the other processes, so that the first can go on alone. A group of one stays for the next run."""
    if place.world_size > 1:
        torch.distributed.destroy_process_group()


def mean_over_processes(value: float, place: Place) -> float:
    """The mean of a number over all processes; not finite when one of them is not."""
    if place.world_size == 1:
        return value
    tensor = torch.tensor([value], dtype=torch.float64, device=place.device)
    torch.distributed.all_reduce(tensor)
    return float(tensor) / place.world_size


def gathered(item: Any, place: Place) -> list[Any]:
    """An object of every process, in their order, in every process."""
    if place.world_size == 1:
        return [item]
    items: list[Any] = [None] * place.world_size
    torch.distributed.all_gather_object(items, item)
    return items
