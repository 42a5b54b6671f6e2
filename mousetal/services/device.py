"""Where a service's network runs, and with how many threads; says so loudly when there is no GPU to run on."""

from __future__ import annotations

import logging

import torch

from mousetal.cores import usable_cores
from mousetal.settings import ServiceSettings

log = logging.getLogger(__name__)


def device_for(found: ServiceSettings) -> str:
    """The torch device that DEVICE stands for on this machine; sets the number of CPU threads on the way."""
    torch.set_num_threads(found.threads or usable_cores())
    if found.device == "cpu":
        return "cpu"
    if not torch.cuda.is_available():
        log.warning(
            "NO GPU FOUND: running on the CPU, which is many times slower. Give the container a GPU "
            "(docker-compose.gpu.yml, NVIDIA container toolkit), or set DEVICE=cpu to silence this. DEVICE=%s",
            found.device,
        )
        return "cpu"
    return "cuda" if found.device == "auto" else found.device
