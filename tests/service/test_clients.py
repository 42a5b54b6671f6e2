"""The driver's side of a call: bounded, watched, checked, and clean on every way out."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import grpc
import pytest

from inference_script.calls import TRANSIENT, error_of
from inference_script.clients import IN_FLIGHT, DetectorClient
from mousetal import wire
from mousetal.errors import ServiceError, ServiceUnavailable, VideoError
from mousetal.types import DetectorBatch
from mousetal.v1 import detector_service_pb2 as pb2
from mousetal.v1 import detector_service_pb2_grpc as pb2_grpc
from tests.fixtures.servers import serving_detector
from tests.fixtures.toys import ToyDetector, frames

TIMEOUT_S = 20


class Rogue(pb2_grpc.DetectorServiceServicer):
    """A service that answers as the test says."""

    def __init__(self, answer: Callable[[Iterator[pb2.DetectRequest]], Iterator[pb2.DetectResponse]]) -> None:
        self._answer = answer

    def Detect(self, request_iterator, context):  # type: ignore[no-untyped-def]  # noqa: N802
        return self._answer(request_iterator)


@contextmanager
def rogue(answer: Callable[[Iterator[Any]], Iterator[Any]], timeout_s: float = TIMEOUT_S) -> Iterator[DetectorClient]:
    server = grpc.server(ThreadPoolExecutor(4))
    pb2_grpc.add_DetectorServiceServicer_to_server(Rogue(answer), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    with DetectorClient(f"127.0.0.1:{port}", timeout_s=timeout_s) as client:
        yield client
    server.stop(None).wait()


def reply(index: int) -> pb2.DetectResponse:
    return pb2.DetectResponse(frames=[{"frame_index": index}])


def test_a_service_that_hangs_is_unavailable_after_the_timeout() -> None:
    hold = threading.Event()

    def hang(requests: Iterator[Any]) -> Iterator[Any]:
        yield reply(next(requests).frames[0].frame_index)
        hold.wait(TIMEOUT_S)

    with rogue(hang, timeout_s=0.3) as client:
        running = client.detect(frames(i) for i in range(10))
        assert next(running)[0].frame_index == 0
        with pytest.raises(ServiceUnavailable, match=r"no answer within 0\.3 s \(SERVICE_TIMEOUT_S\)"):
            next(running)
        hold.set()


def test_a_slow_input_or_a_slow_consumer_is_no_slow_service() -> None:
    """The clock runs only while an answer is owed and somebody waits for it."""
    pause = threading.Event()

    def slow() -> Iterator[DetectorBatch]:
        for i in range(2):
            pause.wait(0.6)
            yield frames(i)

    with serving_detector(ToyDetector()) as address, DetectorClient(address, timeout_s=0.5) as client:
        assert len(list(client.detect(slow()))) == 2
        for _ in client.detect(frames(i) for i in range(2)):
            pause.wait(0.6)


def test_an_address_where_nobody_listens_is_unavailable() -> None:
    with DetectorClient("127.0.0.1:1") as client:
        with pytest.raises(ServiceUnavailable, match=r"the detector service at 127\.0\.0\.1:1 cannot be reached"):
            client.spec()
        with pytest.raises(ServiceUnavailable, match=r"cannot be reached"):
            list(client.detect([frames(1)]))


@pytest.mark.parametrize("status", [status for status in grpc.StatusCode if status is not grpc.StatusCode.OK])
def test_every_status_becomes_an_error_of_ours(status: grpc.StatusCode) -> None:
    class Failed(grpc.RpcError):
        def code(self) -> grpc.StatusCode:
            return status

        def details(self) -> str:
            return "why"

    error = error_of("the service", Failed())
    assert isinstance(error, ServiceUnavailable) == (status in TRANSIENT)
    assert "why" in str(error)


def test_answers_to_other_frames_are_found_out() -> None:
    wrong = r"asked for frames \[1\], the service answered \[99\]"
    with rogue(lambda requests: (reply(99) for _ in requests)) as client, pytest.raises(ServiceError, match=wrong):
        list(client.detect([frames(1)]))


def test_more_answers_than_requests_are_found_out() -> None:
    def generous(requests: Iterator[Any]) -> Iterator[Any]:
        for request in requests:
            yield reply(request.frames[0].frame_index)
        yield reply(5)

    with rogue(generous) as client, pytest.raises(ServiceError, match="more answers than it was asked for"):
        list(client.detect([frames(1)]))


def test_missing_answers_are_found_out() -> None:
    def lazy(requests: Iterator[Any]) -> Iterator[Any]:
        yield reply(next(requests).frames[0].frame_index)
        for _ in requests:
            pass

    with rogue(lazy) as client, pytest.raises(ServiceError, match="ended the call with 2 requests unanswered"):
        list(client.detect([frames(i) for i in range(3)]))


def test_no_more_than_the_stated_number_of_batches_is_under_way() -> None:
    model = ToyDetector()
    with serving_detector(model) as address, DetectorClient(address, timeout_s=TIMEOUT_S) as client:
        pulled = threading.Semaphore(0)
        count = 0

        def batches() -> Iterator[DetectorBatch]:
            nonlocal count
            for i in range(30):
                count += 1
                pulled.release()
                yield frames(i)

        running = client.detect(batches())
        for answered in range(30):
            next(running)
            assert count <= answered + 1 + IN_FLIGHT


def test_an_error_of_the_input_is_not_lost_in_grpc() -> None:
    error = VideoError("a.mp4: no video stream")

    def broken() -> Iterator[DetectorBatch]:
        yield frames(1)
        raise error

    with serving_detector(ToyDetector()) as address, DetectorClient(address, timeout_s=TIMEOUT_S) as client:
        running = client.detect(broken())
        assert next(running)[0].frame_index == 1
        with pytest.raises(VideoError) as raised:
            next(running)
    assert raised.value is error


def test_an_error_of_the_input_wins_over_the_service_s() -> None:
    """A damaged video must not be tried again as if the service were to blame."""
    error = VideoError("a.mp4: damaged")
    raised_it = threading.Event()

    def broken() -> Iterator[DetectorBatch]:
        yield frames(1)
        raised_it.set()
        raise error

    def fail(requests: Iterator[Any]) -> Iterator[Any]:
        assert raised_it.wait(TIMEOUT_S)
        for _ in requests:
            pass
        raise RuntimeError("a rogue's defect")
        yield

    with rogue(fail) as client, pytest.raises(VideoError) as raised:
        list(client.detect(broken()))
    assert raised.value is error


def test_leaving_early_cancels_the_call_and_closes_the_input_where_it_ran() -> None:
    closed_on: list[str] = []

    def batches() -> Iterator[DetectorBatch]:
        try:
            for i in range(1000):
                yield frames(i)
        finally:
            closed_on.append(threading.current_thread().name)

    with serving_detector(ToyDetector()) as address, DetectorClient(address, timeout_s=TIMEOUT_S) as client:
        running = client.detect(batches())
        next(running)
        running.close()
        assert len(closed_on) == 1
        assert "answer-reader" not in {thread.name for thread in threading.enumerate()}


def test_a_stream_that_feeds_on_another_ends_with_it() -> None:
    """As in the pipeline, where clips are cut from detections on the thread that asks for probabilities."""
    closed = threading.Event()

    def source() -> Iterator[DetectorBatch]:
        try:
            for i in range(1000):
                yield frames(i)
        finally:
            closed.set()

    with serving_detector(ToyDetector()) as address, DetectorClient(address, timeout_s=TIMEOUT_S) as client:
        inner = client.detect(source())
        outer = client.detect(frames(answer[0].frame_index) for answer in inner)
        assert next(outer)[0].frame_index == 0
        outer.close()
        del inner
        assert closed.wait(TIMEOUT_S)


def test_ctrl_c_while_waiting_comes_out_at_once() -> None:
    hold = threading.Event()

    def interrupt(requests: Iterator[Any]) -> Iterator[Any]:
        next(requests)
        os.kill(os.getpid(), signal.SIGINT)
        hold.wait(TIMEOUT_S)
        yield

    with rogue(interrupt) as client, pytest.raises(KeyboardInterrupt):
        list(client.detect([frames(1)]))
    hold.set()


def test_nothing_is_asked_before_the_first_answer_is_wanted() -> None:
    with DetectorClient("127.0.0.1:1") as client:
        client.detect(iter([frames(1)]))


def test_a_request_over_the_limit_is_refused_before_it_leaves(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving_detector(ToyDetector()) as address, DetectorClient(address, timeout_s=TIMEOUT_S) as client:
        side = 4096
        with pytest.raises(ServiceError, match="RESOURCE_EXHAUSTED"):
            list(client.detect([frames(1, 2, input_size=side)]))
        assert 2 * side * side * 3 > wire.MAX_MESSAGE_BYTES
