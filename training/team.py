"""The processes that train one network together: one, or as many as ``torchrun`` starts.

    torchrun --nproc_per_node 2 -m training.train_detector --config ...

Each process takes its part of every batch; gradients are summed in one message per step. That is simpler than wrapping
the network, allows gradient accumulation and parameters that a batch does not use, and costs little for networks of
this size. Batch statistics are taken over all processes: the result is that of one process with the whole batch.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.nn.functional import all_reduce

from mousetal.execution import Execution

Network = TypeVar("Network", bound=nn.Module)


@dataclass(frozen=True, slots=True)
class Team:
    """``rank`` is this process's number among ``size``; the first (rank 0) writes files and speaks."""

    rank: int = 0
    size: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    @property
    def is_first(self) -> bool:
        return self.rank == 0

    def total(self, number: float) -> float:
        """The sum of every process's ``number``."""
        if self.size == 1:
            return number
        summed = torch.tensor(number, dtype=torch.float64, device=self.device)
        dist.all_reduce(summed)
        return float(summed)

    def sum_gradients(self, parameters: Iterable[Tensor]) -> None:
        """Give every process the sum of all gradients; a parameter that a process did not use counts as zero there."""
        if self.size == 1:
            return
        trained = [parameter for parameter in parameters if parameter.requires_grad]
        for parameter in trained:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        gradients = [parameter.grad for parameter in trained if parameter.grad is not None]
        flat = torch.cat([gradient.flatten() for gradient in gradients])
        dist.all_reduce(flat)
        for gradient, summed in zip(gradients, torch.split(flat, [g.numel() for g in gradients]), strict=True):
            gradient.copy_(summed.view_as(gradient))

    def wait(self) -> None:
        """Until every process is here."""
        if self.size > 1:
            dist.barrier()


def join(device: str) -> Team:
    """The team that ``torchrun`` set up in the environment; a team of one without it.

    ``device`` is auto, cpu, cuda or cuda:N; in a team every process takes a GPU of its own, whatever N. Raises
    SettingsError for a device that is not there.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    asked = "cuda" if size > 1 and device.startswith("cuda") else device
    place = Execution.on(asked, "fp32", compiled=False).device
    if size == 1:
        return Team(device=place)
    rank = int(os.environ["RANK"])
    if place.type == "cuda":
        torch.cuda.set_device(place)
    dist.init_process_group("nccl" if place.type == "cuda" else "gloo")
    return Team(rank, size, place)


def leave(team: Team) -> None:
    """Take the team apart at the end of a run."""
    if team.size > 1:
        dist.destroy_process_group()


def share_batch_norms(network: Network, team: Team) -> Network:
    """The network with batch norms that look at the whole team's batch; unchanged in a team of one.

    torch's own synchronised norm works on GPUs alone; elsewhere a plain one of ours does the same.
    """
    if team.size == 1:
        return network
    if team.device.type == "cuda":
        shared: Network = nn.SyncBatchNorm.convert_sync_batchnorm(network)  # type: ignore[no-untyped-call]  # in torch
        return shared
    for module in network.modules():
        for name, child in module.named_children():
            if type(child) is nn.BatchNorm2d:
                setattr(module, name, _SharedBatchNorm.of(child))
    return network


class _SharedBatchNorm(nn.BatchNorm2d):
    """Batch norm over the batches of all processes together."""

    @classmethod
    def of(cls, norm: nn.BatchNorm2d) -> _SharedBatchNorm:
        """The same norm, with the same tensors."""
        shared = cls(norm.num_features, norm.eps, norm.momentum)
        shared.weight, shared.bias = norm.weight, norm.bias
        shared.running_mean, shared.running_var = norm.running_mean, norm.running_var
        shared.num_batches_tracked = norm.num_batches_tracked
        return shared.train(norm.training)

    def forward(self, input: Tensor) -> Tensor:
        if not self.training or self.running_mean is None or self.running_var is None:
            return super().forward(input)
        pixels = input.float()
        count = pixels.new_full((1,), input.numel() / input.shape[1])
        own = torch.cat([pixels.sum((0, 2, 3)), pixels.square().sum((0, 2, 3)), count])
        sums: Tensor = all_reduce(own)  # type: ignore[no-untyped-call]  # in torch
        mean, square = sums[:-1].div(sums[-1]).chunk(2)
        variance = (square - mean.square()).clamp(min=0)
        with torch.no_grad():
            momentum = self.momentum or 0.0
            unbiased = variance * (sums[-1] / (sums[-1] - 1).clamp(min=1))
            self.running_mean.lerp_(mean, momentum)
            self.running_var.lerp_(unbiased, momentum)
            if self.num_batches_tracked is not None:
                self.num_batches_tracked.add_(1)
        scale = (variance + self.eps).rsqrt() * self.weight
        return (pixels * scale[:, None, None] + (self.bias - mean * scale)[:, None, None]).to(input.dtype)
