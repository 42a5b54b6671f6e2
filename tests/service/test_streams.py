"""One service, many calls: order, fairness, cancellation, deadlines, limits and bad requests."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor

import grpc
import numpy as np
import pytest

from inference_script.clients import DetectorClient, MvdClient
from mousetal import wire
from mousetal.errors import ModelError, ServiceError
from mousetal.services import serve
from mousetal.services.detector import DetectorServicer
from mousetal.services.serve import Server
from mousetal.settings import TlsFiles
from mousetal.types import Detections, DetectorBatch
from mousetal.v1 import detector_service_pb2 as pb2
from mousetal.v1 import detector_service_pb2_grpc as pb2_grpc
from tests.fixtures.servers import serving_detector, serving_mvd
from tests.fixtures.toys import POISON, ToyClassifier, ToyDetector, clips, frames

TIMEOUT_S = 20


@pytest.fixture
def model() -> ToyDetector:
    return ToyDetector()


@pytest.fixture
def address(model: ToyDetector) -> Iterator[str]:
    with serving_detector(model) as address:
        model.gate.forget_arrivals()
        yield address
        model.gate.open()


@pytest.fixture
def client(address: str) -> Iterator[DetectorClient]:
    with DetectorClient(address, timeout_s=TIMEOUT_S) as client:
        yield client


@pytest.fixture
def stub(address: str) -> Iterator[pb2_grpc.DetectorServiceStub]:
    """The bare stub, for requests that the client would never send."""
    with wire.open_channel(address, TlsFiles()) as channel:
        yield pb2_grpc.DetectorServiceStub(channel)


def test_answers_come_in_the_order_of_the_requests(client: DetectorClient) -> None:
    answers = list(client.detect(frames(i, i + 100) for i in range(40)))
    assert [[found.frame_index for found in answer] for answer in answers] == [[i, i + 100] for i in range(40)]


class SlowDetector(ToyDetector):
    """Takes long enough for the next requests to be there when it is done."""

    def predict(self, batch: DetectorBatch, score_threshold: float | None = None) -> list[Detections]:
        threading.Event().wait(0.02)
        return super().predict(batch, score_threshold)


def test_requests_of_one_driver_that_have_queued_up_are_answered_together() -> None:
    model = SlowDetector()
    with serving_detector(model) as address, DetectorClient(address, timeout_s=TIMEOUT_S) as client:
        assert len(list(client.detect(frames(i) for i in range(40)))) == 40
    assert len(model.batches) < 35  # one by one it would be 40


def test_boxes_arrive_in_pixels_of_the_source_frame(client: DetectorClient) -> None:
    ((found,),) = client.detect([frames(7, pixel=9)])
    np.testing.assert_array_equal(found.boxes_xyxy, [[7, 0, 9, 480]])
    np.testing.assert_allclose(found.scores, [0.9])


def test_a_threshold_of_the_request_beats_the_model_s(client: DetectorClient) -> None:
    ((found,),) = client.detect([frames(7)], score_threshold=0.1)
    assert found.labels.tolist() == [0, 1]


def test_drivers_at_once_get_their_own_answers(address: str, model: ToyDetector) -> None:
    def drive(driver: int) -> list[int]:
        with DetectorClient(address, timeout_s=TIMEOUT_S) as client:
            batches = (frames(1000 * driver + i, pixel=driver) for i in range(30))
            return [int(found.boxes_xyxy[0, 2]) for answer in client.detect(batches) for found in answer]

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(drive, range(1, 5))) == [[driver] * 30 for driver in range(1, 5)]


def test_a_cancelled_call_withdraws_what_the_model_has_not_begun(model: ToyDetector) -> None:
    servicer = WatchedServicer()
    with Server(servicer, "127.0.0.1:0") as server, DetectorClient(server.address, timeout_s=TIMEOUT_S) as client:
        server.open(model)
        model.gate.forget_arrivals()
        model.gate.close()

        def batches() -> Iterator[DetectorBatch]:
            yield frames(1)
            model.gate.wait_for_arrival()  # or the model might take both at once
            yield frames(2)

        running = wire_call(client, batches())
        servicer.wait_for_reads(2)
        running.cancel()
        servicer.wait_for_the_end()
        join_threads("call-reader")
        model.gate.open()
        assert len(list(client.detect([frames(3)]))) == 1
    assert model.batches == [(1,), (3,)]


def test_a_call_that_runs_out_of_time_ends_there_and_leaves_the_service_well(
    model: ToyDetector, stub: pb2_grpc.DetectorServiceStub, client: DetectorClient
) -> None:
    model.gate.close()
    with pytest.raises(grpc.RpcError) as raised:
        list(stub.Detect(iter([wire.detect_request(frames(1))]), timeout=0.2))
    assert raised.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
    model.gate.open()
    assert len(list(client.detect([frames(2)]))) == 1


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (pb2.DetectRequest(), "at least one frame"),
        (pb2.DetectRequest(frames=[{"source_width": 4, "source_height": 4}], input_size=8, images=b"x"), "192 bytes"),
        (wire.detect_request(frames(1, input_size=9)), "takes 8 pixels, got 9"),
    ],
    ids=["no frames", "too few bytes", "wrong size"],
)
def test_a_bad_request_is_invalid_after_the_answers_before_it(
    stub: pb2_grpc.DetectorServiceStub, client: DetectorClient, request_: pb2.DetectRequest, message: str
) -> None:
    sent_all = threading.Event()

    def requests() -> Iterator[pb2.DetectRequest]:
        yield wire.detect_request(frames(1))
        yield request_
        sent_all.wait(TIMEOUT_S)  # the service must not wait for us to hang up

    replies = stub.Detect(requests())
    assert next(replies).frames[0].frame_index == 1
    with pytest.raises(grpc.RpcError) as raised:
        next(replies)
    sent_all.set()
    assert raised.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert message in raised.value.details()
    assert len(list(client.detect([frames(2)]))) == 1


def test_the_client_s_word_for_a_refusal_is_service_error(client: DetectorClient, address: str) -> None:
    with pytest.raises(ServiceError, match=rf"the detector service at {address} refused .*takes 8 pixels, got 9"):
        list(client.detect([frames(1, input_size=9)]))


def test_a_message_over_the_limit_is_refused_and_the_service_goes_on(address: str, client: DetectorClient) -> None:
    unlimited = (("grpc.max_send_message_length", -1),)
    with grpc.insecure_channel(address, options=unlimited) as channel:
        stub = pb2_grpc.DetectorServiceStub(channel)
        with pytest.raises(grpc.RpcError) as raised:
            list(stub.Detect(iter([pb2.DetectRequest(images=bytes(wire.MAX_MESSAGE_BYTES + 1))])))
    assert raised.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert len(list(client.detect([frames(2)]))) == 1


def test_a_message_far_above_grpc_s_own_limit_passes(stub: pb2_grpc.DetectorServiceStub) -> None:
    with pytest.raises(grpc.RpcError) as raised:
        list(stub.Detect(iter([pb2.DetectRequest(images=bytes(wire.MAX_MESSAGE_BYTES - 1000))])))
    assert raised.value.code() == grpc.StatusCode.INVALID_ARGUMENT  # it arrived, and was looked at


def test_a_defect_is_internal_and_its_traceback_stays_in_the_service_s_log(
    client: DetectorClient, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR), pytest.raises(ServiceError) as raised:
        list(client.detect([frames(1, pixel=POISON)]))
    assert "internal error, see the service log" in str(raised.value)
    assert "secret" not in str(raised.value)
    assert "secret: /root/key" in caplog.text
    assert len(list(client.detect([frames(2)]))) == 1


def test_a_model_s_own_complaint_reaches_the_caller() -> None:
    model = ToyClassifier(error=ModelError("toy-mvd: the numbers overflow. Try PRECISION=fp32."))
    with serving_mvd(model) as address, MvdClient(address, timeout_s=TIMEOUT_S) as client:
        with pytest.raises(ServiceError, match=r"FAILED_PRECONDITION.*Try PRECISION=fp32"):
            list(client.classify([clips(1, pixel=POISON)]))
        assert len(list(client.classify([clips(2)]))) == 1


def test_calls_over_the_limit_are_refused(model: ToyDetector, address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serve, "MAX_CALLS", 1)
    with serving_detector(model) as address, DetectorClient(address, timeout_s=TIMEOUT_S) as client:
        model.gate.forget_arrivals()
        model.gate.close()
        held = wire_call(client, [frames(1)])
        model.gate.wait_for_arrival()
        with pytest.raises(ServiceError, match="RESOURCE_EXHAUSTED"):
            list(client.detect([frames(2)]))
        model.gate.open()
        assert len(list(held)) == 1


class WatchedServicer(DetectorServicer):
    """Tells when it has read a request, and when its first call is over and all that follows from that is done."""

    def __init__(self) -> None:
        super().__init__()
        self._reads = threading.Semaphore(0)
        self._is_over = threading.Event()
        self._context: grpc.ServicerContext | None = None

    def Detect(self, request_iterator: Iterator[pb2.DetectRequest], context: grpc.ServicerContext):  # type: ignore[no-untyped-def]  # noqa: N802
        self._context = self._context or context
        return super().Detect(request_iterator, context)

    def _read(self, message: pb2.DetectRequest):  # type: ignore[no-untyped-def]
        request = super()._read(message)
        if not self._reads._value and self._context is not None:  # gRPC calls back in the order of asking
            self._context.add_callback(self._is_over.set)
        self._reads.release()
        return request

    def wait_for_the_end(self) -> None:
        assert self._is_over.wait(TIMEOUT_S)

    def wait_for_reads(self, count: int) -> None:
        for _ in range(count):
            assert self._reads.acquire(timeout=TIMEOUT_S)


def wire_call(client: DetectorClient, batches: Iterable[DetectorBatch]):  # type: ignore[no-untyped-def]
    """A call that has begun, as gRPC's own object."""
    return client._stub.Detect(wire.detect_request(batch) for batch in batches)


def join_threads(name: str) -> None:
    """Wait until no thread of this name is left."""
    for thread in threading.enumerate():
        if thread.name == name:
            thread.join(TIMEOUT_S)
            assert not thread.is_alive()
