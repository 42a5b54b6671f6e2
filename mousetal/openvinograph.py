"""A torch module as an OpenVINO graph on the CPU.

    graph = Graph(converted(module, example), "fp32", threads=2)
    scores, boxes = graph(images)             # uint8 (n, ...) -> float32 (n, ...) per output
    scores, boxes = graph.one(near, far)      # one item, of a module with two inputs: (1, ...) -> (1, ...) per output

The graph takes one item, and the items of a batch run side by side, one per core: on a CPU batches are slower (more to
hold in caches), and threads that share one item wait for each other, most of all where a second service is at work.
"""

from __future__ import annotations

import warnings
from queue import Empty, SimpleQueue
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from mousetal import openvinoquiet
from mousetal.cores import usable_cores
from mousetal.errors import SettingsError
from mousetal.types import Float32Array, UInt8Array

MOST_STREAMS = 8  # each holds a network's intermediate results
HINTS = {"fp32": "f32", "bf16": "bf16", "fp16": "f16"}
CAPABILITIES = {"bf16": "BF16", "fp16": "FP16", "int8": "INT8"}


class Graph:
    """A model of OpenVINO's own (`converted`, or one stored), ready to compute.

    In int8 it computes what the model says is to be int8, and the rest in bf16 where the CPU can, else in float32.
    Raises SettingsError when this CPU has no arithmetic of ``precision``.
    """

    def __init__(self, model: Any, precision: str, threads: int) -> None:
        openvino = openvinoquiet.imported()
        core = openvino.Core()
        able = core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        if precision in CAPABILITIES and CAPABILITIES[precision] not in able:
            raise SettingsError(f"this CPU computes no {precision}")
        cores = threads or usable_cores()
        streams = side_by_side(threads)
        # In int8, several streams of one compiled model answer differently after every compilation, some wrongly, but a
        # single stream never does (OpenVINO 2026.4; only streams that share prepared weights look them up by address,
        # and in int8 many are temporary). So there every stream is a compiled model of its own, which takes the weights
        # once more. These have to be unpinned, or all of them would be pinned to the first core.
        copies = streams if precision == "int8" else 1
        if precision == "int8":
            precision = "bf16" if CAPABILITIES["bf16"] in able else "fp32"
        settings = {
            "INFERENCE_PRECISION_HINT": HINTS[precision],
            "NUM_STREAMS": streams // copies,
            "INFERENCE_NUM_THREADS": cores // copies,
            **({"ENABLE_CPU_PINNING": False} if copies > 1 else {}),
        }
        compiled = [core.compile_model(model, "CPU", settings) for _ in range(copies)]
        self.shapes = [tuple(output.shape) for output in compiled[0].outputs]
        self._queues = [openvino.AsyncInferQueue(one, streams // copies) for one in compiled]
        for queue in self._queues:
            queue.set_callback(self._keep)
        self._results: list[Float32Array] = []
        self._compiled = compiled[0]
        self._idle: SimpleQueue[Any] = SimpleQueue()  # requests of `one`, as many as were ever under way at a time

    def __call__(self, items: UInt8Array) -> tuple[Float32Array, ...]:
        """All outputs for a batch of items. Not safe for use from several threads at once."""
        self._results = [np.empty((len(items), *shape[1:]), np.float32) for shape in self.shapes]
        for number in range(len(items)):
            self._queues[number % len(self._queues)].start_async({0: items[number : number + 1]}, number)
        for queue in self._queues:
            queue.wait_all()
        return tuple(self._results)

    def one(self, *inputs: Float32Array) -> tuple[Float32Array, ...]:
        """All outputs for one item, (1, ...) for each input, while the caller waits.

        May be called from several threads at once; of these as many compute as items of a batch would, in int8 one.
        """
        try:
            request = self._idle.get_nowait()
        except Empty:
            request = self._compiled.create_infer_request()
        try:
            request.infer(list(inputs), share_inputs=True)
            return tuple(np.array(request.get_output_tensor(place).data) for place in range(len(self.shapes)))
        finally:
            self._idle.put(request)

    def _keep(self, request: Any, number: int) -> None:
        for place, result in enumerate(self._results):
            result[number] = request.get_output_tensor(place).data[0]


def side_by_side(threads: int) -> int:
    """How many items to compute at a time, with ``threads`` threads, 0 for one per core that may be used."""
    return min(threads or usable_cores(), MOST_STREAMS)


def converted(module: nn.Module, *examples: Tensor) -> Any:
    """A module in evaluation mode as OpenVINO's own model, traced on ``examples`` (1, ...), the shapes of every item.

    By the frontend itself: the convenience function around it reports use over the network. Raises RuntimeError when
    the module cannot be converted.
    """
    openvinoquiet.silence()
    from openvino.frontend import FrontEndManager
    from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder

    with torch.inference_mode(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the tracer's, about constants that are meant
        # The tracer's own check runs the network twice more; what counts is checked by whoever uses the graph.
        decoder = TorchScriptPythonDecoder(module, example_input=examples, trace_kwargs={"check_trace": False})
    frontend = FrontEndManager().load_by_framework("pytorch")
    model = frontend.convert(frontend.load(decoder))
    model.reshape({place: list(example.shape) for place, example in enumerate(examples)})
    return model
