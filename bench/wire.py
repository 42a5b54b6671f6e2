"""Raw pixels against JPEG on the wire: `python -m bench.wire` measures both over loopback TCP and a unix socket.

A detector input (640 x 640) and a window (16 frames of 224 x 224) travel one by one to a service that reads the pixels
and answers at once, in a process of its own. Printed are messages per second, CPU time of either side per message, and
bytes per message. The picture is a real one if given (`--image FILE`), else smooth noise, which compresses like fur.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

import cv2
import grpc
import numpy as np

from mousetal import wire
from mousetal.settings import TlsFiles
from mousetal.types import UInt8Array

METHOD = "/bench.Wire/Send"
IN_FLIGHT = 3
SHAPES = {"detector input 640x640x3": (1, 640, 640, 3), "window 16x224x224x3": (16, 224, 224, 3)}
JPEG_QUALITIES = (90, 95)


@dataclass(frozen=True)
class Coding:
    """A way to put images on the wire and to get them back."""

    name: str
    encode: Callable[[UInt8Array], bytes]
    decode: Callable[[bytes], UInt8Array]


def raw(shape: tuple[int, ...]) -> Coding:
    return Coding("raw", lambda images: images.tobytes(), lambda data: np.frombuffer(data, np.uint8).reshape(shape))


def jpeg(quality: int) -> Coding:
    def encode(images: UInt8Array) -> bytes:
        flags = [cv2.IMWRITE_JPEG_QUALITY, quality]
        coded = [cv2.imencode(".jpg", image[..., ::-1], flags)[1].tobytes() for image in images]
        return b"".join(len(data).to_bytes(4, "little") + data for data in coded)

    def decode(data: bytes) -> UInt8Array:
        images, at = [], 0
        while at < len(data):
            size = int.from_bytes(data[at : at + 4], "little")
            coded = np.frombuffer(data, np.uint8, size, at + 4)
            image = cv2.imdecode(coded, cv2.IMREAD_COLOR)
            assert image is not None  # it was coded here
            images.append(np.asarray(image, np.uint8)[..., ::-1])
            at += 4 + size
        return np.stack(images)

    return Coding(f"jpeg {quality}", encode, decode)


def serve(address: str, coding_name: str, shape: tuple[int, ...], pipe: Connection) -> None:
    """The other process: decode every message, answer with nothing, report the CPU seconds spent."""
    cv2.setNumThreads(1)
    coding = coding_of(coding_name, shape)

    def answer(requests: Iterator[bytes], _context: grpc.ServicerContext) -> Iterator[bytes]:
        for request in requests:
            assert coding.decode(request).shape == shape
            yield b""

    handler = grpc.stream_stream_rpc_method_handler(answer)
    server = grpc.server(ThreadPoolExecutor(2), options=wire.CHANNEL_OPTIONS)
    service, _, method = METHOD.strip("/").partition("/")
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, {method: handler}),))
    port = server.add_insecure_port(address)
    server.start()
    pipe.send(port)
    while pipe.recv() == "cpu":
        pipe.send(time.process_time())
    server.stop(None).wait()


def coding_of(name: str, shape: tuple[int, ...]) -> Coding:
    return raw(shape) if name == "raw" else jpeg(int(name.removeprefix("jpeg ")))


def measure(address: str, coding: Coding, images: UInt8Array, seconds: float) -> tuple[float, float, float, int]:
    """Messages per second, milliseconds of CPU per message here and there, and bytes per message."""
    context = multiprocessing.get_context("spawn")
    pipe, other = context.Pipe()
    process = context.Process(target=serve, args=(address, coding.name, images.shape, other))
    process.start()
    port = pipe.recv()
    target = address if address.startswith("unix:") else f"127.0.0.1:{port}"
    room = threading.Semaphore(IN_FLIGHT)
    end = time.monotonic() + seconds + 1.0

    def requests() -> Iterator[bytes]:
        while time.monotonic() < end:
            room.acquire()
            yield coding.encode(images)

    with wire.open_channel(target, TlsFiles()) as channel:
        replies = channel.stream_stream(METHOD)(requests())
        count, began, cpu_here, cpu_there = 0, 0.0, 0.0, 0.0
        warm_until = time.monotonic() + 1.0
        for _ in replies:
            room.release()
            if began:
                count += 1
            elif time.monotonic() >= warm_until:
                began, cpu_here, cpu_there = time.monotonic(), time.process_time(), _cpu(pipe)
        took, here, there = time.monotonic() - began, time.process_time() - cpu_here, _cpu(pipe) - cpu_there
    pipe.send("stop")
    process.join()
    return count / took, 1000 * here / count, 1000 * there / count, len(coding.encode(images))


def _cpu(pipe: Connection) -> float:
    pipe.send("cpu")
    return float(pipe.recv())


def picture(shape: tuple[int, ...], path: Path | None) -> UInt8Array:
    """Images of this shape, each a little different from the one before."""
    count, height, width, _ = shape
    if path is None:
        noise = np.random.default_rng(0).integers(0, 256, (height // 4, width // 4, 3), np.uint8)
        base = cv2.GaussianBlur(cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC), (0, 0), 1.5)
    else:
        bgr = cv2.imread(str(path))
        if bgr is None:
            raise SystemExit(f"{path}: no picture that can be read")
        base = cv2.resize(bgr[..., ::-1], (width, height), interpolation=cv2.INTER_AREA)
    return np.stack([np.roll(base, i, axis=1) for i in range(count)])


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.wire", description=__doc__)
    parser.add_argument("--seconds", type=float, default=5.0, help="how long each case is measured")
    parser.add_argument("--image", type=Path, help="a picture to send instead of noise")
    given = parser.parse_args()
    cv2.setNumThreads(1)
    print(f"{os.cpu_count()} cores, grpcio {grpc.__version__}, {IN_FLIGHT} messages in flight")
    print(f"{'what':26}{'coding':9}{'transport':11}{'msg/s':>8}{'client ms':>11}{'server ms':>11}{'kB/msg':>9}")
    for what, shape in SHAPES.items():
        images = picture(shape, given.image)
        for coding in (raw(shape), *map(jpeg, JPEG_QUALITIES)):
            for transport, address in (("tcp", "127.0.0.1:0"), ("unix", f"unix:/tmp/bench-wire-{os.getpid()}.sock")):
                rate, here, there, size = measure(address, coding, images, given.seconds)
                print(
                    f"{what:26}{coding.name:9}{transport:11}{rate:8.1f}{here:11.2f}{there:11.2f}{size / 1000:9.0f}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
