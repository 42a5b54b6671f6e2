"""A service's life: not serving, serving, stopping; in this process."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

from inference_script.clients import DetectorClient
from mousetal import wire
from mousetal.errors import ServiceError, ServiceUnavailable, SettingsError
from mousetal.services import probe
from mousetal.services.detector import DetectorServicer
from mousetal.services.device import device_for
from mousetal.services.serve import Server
from mousetal.settings import TlsFiles
from mousetal.types import DetectorBatch
from tests.fixtures.servers import service_settings, serving_detector, serving_mvd
from tests.fixtures.toys import DETECTOR_SPEC, ToyClassifier, ToyDetector, frames

TIMEOUT_S = 20
PLAIN = TlsFiles()


def health(address: str, service: str = "") -> str:
    with wire.open_channel(address, PLAIN) as channel:
        request = health_pb2.HealthCheckRequest(service=service)
        answer = health_pb2_grpc.HealthStub(channel).Check(request, timeout=TIMEOUT_S)
    return str(health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status))


def test_a_service_is_serving_only_once_its_model_is_warm() -> None:
    model = ToyDetector()
    model.gate.close()
    with Server(DetectorServicer(), "127.0.0.1:0") as server, ThreadPoolExecutor(1) as pool:
        names = ("", "mousetal.v1.DetectorService")
        assert [health(server.address, name) for name in names] == ["NOT_SERVING"] * 2
        opening = pool.submit(server.open, model)
        model.gate.wait_for_arrival()  # loaded, warming
        assert [health(server.address, name) for name in names] == ["NOT_SERVING"] * 2
        model.gate.open()
        opening.result(TIMEOUT_S)
        assert [health(server.address, name) for name in names] == ["SERVING"] * 2


def test_calls_before_the_model_is_loaded_are_told_to_come_back() -> None:
    with Server(DetectorServicer(), "127.0.0.1:0") as server, DetectorClient(server.address) as client:
        with pytest.raises(ServiceUnavailable, match="still being loaded"):
            client.spec()
        with pytest.raises(ServiceUnavailable, match="still being loaded"):
            list(client.detect([frames(1)]))


def test_waiting_for_a_service_ends_when_it_is_ready() -> None:
    with Server(DetectorServicer(), "127.0.0.1:0") as server, DetectorClient(server.address) as client:
        rounds = 0

        def open_at_the_third_look() -> None:
            nonlocal rounds
            rounds += 1
            if rounds == 3:
                server.open(ToyDetector())

        client.wait_until_ready(TIMEOUT_S, open_at_the_third_look)
        assert client.spec() == DETECTOR_SPEC


def test_waiting_for_a_service_that_stays_away_says_so_in_one_sentence() -> None:
    with Server(DetectorServicer(), "127.0.0.1:0") as server:
        with DetectorClient(server.address) as client, pytest.raises(ServiceUnavailable, match="not loaded yet"):
            client.wait_until_ready(0.01)
        gone = server.address
    with DetectorClient(gone) as client, pytest.raises(ServiceUnavailable, match=rf"{gone} is not ready .*be reached"):
        client.wait_until_ready(0.01)


def test_swapped_addresses_are_found_out_at_once() -> None:
    with serving_mvd(ToyClassifier()) as address, DetectorClient(address) as client:
        with pytest.raises(ServiceError, match="DETECTOR_ADDRESS and MVD_ADDRESS may be swapped"):
            client.wait_until_ready(TIMEOUT_S)
        with pytest.raises(ServiceError, match="is no detector service"):
            client.spec()


def test_reflection_lists_the_services() -> None:
    with serving_mvd(ToyClassifier()) as address, wire.open_channel(address, PLAIN) as channel:
        names = set(ProtoReflectionDescriptorDatabase(channel).get_services())
    assert {"mousetal.v1.MvdService", "grpc.health.v1.Health", "grpc.reflection.v1alpha.ServerReflection"} <= names


def test_stopping_answers_what_was_read_and_then_ends_the_call() -> None:
    model = ToyDetector()
    server = Server(DetectorServicer(), "127.0.0.1:0")
    server.open(model)
    model.gate.forget_arrivals()
    model.gate.close()
    more = threading.Event()

    def batches() -> Iterator[DetectorBatch]:
        yield frames(1)
        more.wait(TIMEOUT_S)  # a driver that has more to come

    with ThreadPoolExecutor(2) as pool, DetectorClient(server.address, timeout_s=TIMEOUT_S) as client:
        running = client.detect(batches())
        first = pool.submit(next, running)
        model.gate.wait_for_arrival()
        stopping = pool.submit(server.stop)
        model.gate.open()
        assert first.result(TIMEOUT_S)[0].frame_index == 1
        with pytest.raises(ServiceUnavailable, match="stopping"):
            next(running)
        more.set()
        stopping.result(TIMEOUT_S)


def test_a_stopping_service_is_not_serving_while_it_finishes() -> None:
    model = ToyDetector()
    servicer = StopWatched()
    server = Server(servicer, "127.0.0.1:0")
    server.open(model)
    with ThreadPoolExecutor(1) as pool:
        stopping = pool.submit(server.stop)
        assert servicer.is_stopping.wait(TIMEOUT_S)
        assert health(server.address) == "NOT_SERVING"
        servicer.may_stop.set()
        stopping.result(TIMEOUT_S)


class StopWatched(DetectorServicer):
    def __init__(self) -> None:
        super().__init__()
        self.is_stopping, self.may_stop = threading.Event(), threading.Event()

    def stop(self) -> None:
        self.is_stopping.set()
        assert self.may_stop.wait(TIMEOUT_S)
        super().stop()


def test_a_service_leaves_no_thread_behind() -> None:
    before = set(threading.enumerate())
    with serving_detector(ToyDetector()) as address, DetectorClient(address) as client:
        running = client.detect(frames(i) for i in range(10))
        next(running)
        running.close()
    for thread in set(threading.enumerate()) - before:
        thread.join(TIMEOUT_S)
        assert not thread.is_alive(), thread.name


def test_a_unix_socket_serves_as_well(tmp_path: Path) -> None:
    listen = f"unix:{tmp_path}/d.sock"
    with serving_detector(ToyDetector(), listen) as address, DetectorClient(address) as client:
        assert address == listen
        assert len(list(client.detect([frames(1)]))) == 1


def test_a_port_that_is_taken_is_a_wrong_setting() -> None:
    with Server(DetectorServicer(), "127.0.0.1:0") as server, pytest.raises(SettingsError, match="cannot listen on"):
        Server(DetectorServicer(), server.address)


def test_the_probe_s_exit_code_tells_health(capsys: pytest.CaptureFixture[str]) -> None:
    with Server(DetectorServicer(), "127.0.0.1:0") as server:
        assert probe.main([server.address]) == 1
        assert capsys.readouterr().out == f"{server.address}: NOT_SERVING\n"
        server.open(ToyDetector())
        assert probe.main([server.address]) == 0
        address = server.address
    assert probe.main([address]) == 1
    assert "UNAVAILABLE" in capsys.readouterr().out


def test_no_gpu_is_said_loudly(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with caplog.at_level(logging.WARNING):
        assert device_for(service_settings(device="cpu")) == "cpu"
        assert caplog.text == ""
        assert device_for(service_settings(device="cuda")) == "cpu"
        assert "NO GPU FOUND" in caplog.text
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert device_for(service_settings(device="auto")) == "cuda"
    assert device_for(service_settings(device="cuda:1")) == "cuda:1"
