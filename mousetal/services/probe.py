"""Health check of a service, for compose: `python -m mousetal.services.probe ADDRESS`.

Exit code 0 when the service is SERVING, 1 when it is not or cannot be reached, 2 when the settings are wrong. TLS_CERT,
TLS_KEY and TLS_CA apply as to any caller; with TLS, the service's certificate must be valid for ADDRESS.
"""

from __future__ import annotations

import argparse
import sys

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from mousetal import settings, wire
from mousetal.errors import SettingsError
from mousetal.settings import TlsFiles

TIMEOUT_S = 5.0


def probe(address: str, tls: TlsFiles) -> str:
    """What the service says of itself: SERVING, NOT_SERVING, or the status of the failed call."""
    with wire.open_channel(address, tls) as channel:
        try:
            answer = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=TIMEOUT_S)
        except grpc.RpcError as error:
            return f"{error.code().name} ({error.details()})"
    return str(health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status))


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m mousetal.services.probe", description=__doc__)
    parser.add_argument("address", help="host:port or unix:PATH of the service")
    parsed = settings.add_flags(parser, "detector").parse_args(arguments)
    parsed.DETECTOR_DIR = parsed.DETECTOR_DIR or "."  # a service needs a model, its probe only the TLS files
    try:
        tls = settings.read_service("detector", parsed).tls
    except SettingsError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    status = probe(parsed.address, tls)
    print(f"{parsed.address}: {status}")
    return 0 if status == "SERVING" else 1


if __name__ == "__main__":
    sys.exit(main())
