"""TLS and mutual TLS by three files, with certificates made on the spot."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from inference_script.clients import DetectorClient
from mousetal.errors import ServiceUnavailable, SettingsError
from mousetal.services import probe
from mousetal.settings import TlsFiles
from tests.fixtures.servers import serving_detector
from tests.fixtures.toys import ToyDetector, frames


class Authority:
    """A certificate authority for one test."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, folder.name)])
        self.path = folder / "ca.pem"
        constraints = x509.BasicConstraints(ca=True, path_length=None)
        builder = self._builder(self._name, self._key).add_extension(constraints, critical=True)
        self.path.write_bytes(builder.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))

    def issue(self, name: str) -> TlsFiles:
        """A certificate for a host or a person, its key, and this authority."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        names = x509.SubjectAlternativeName([x509.DNSName(name)])
        certificate = self._builder(subject, key).add_extension(names, critical=False).sign(self._key, hashes.SHA256())
        cert_path, key_path = self._folder / f"{name}.pem", self._folder / f"{name}.key"
        cert_path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        key_path.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        return TlsFiles(cert_path, key_path, self.path)

    def _builder(self, subject: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
        now = datetime.datetime.now(datetime.UTC)
        day = datetime.timedelta(days=1)
        builder = x509.CertificateBuilder(self._name, subject, key.public_key(), x509.random_serial_number())
        return builder.not_valid_before(now - day).not_valid_after(now + day)


@pytest.fixture
def authority(tmp_path: Path) -> Callable[[str], Authority]:
    def make(name: str = "ours") -> Authority:
        folder = tmp_path / name
        folder.mkdir()
        return Authority(folder)

    return make


def reach(address: str, tls: TlsFiles | None) -> int:
    """How many answers a caller with these files gets."""
    with DetectorClient(address.replace("127.0.0.1", "localhost"), tls, timeout_s=20) as client:
        return len(list(client.detect([frames(1)])))


def test_a_caller_with_the_authority_is_served_and_one_without_is_not(authority: Callable[..., Authority]) -> None:
    ours, theirs = authority("ours"), authority("theirs")
    own = ours.issue("localhost")
    with serving_detector(ToyDetector(), tls=TlsFiles(own.cert, own.key)) as address:
        assert reach(address, TlsFiles(ca=ours.path)) == 1
        for stranger in (None, TlsFiles(ca=theirs.path)):
            with pytest.raises(ServiceUnavailable):
                reach(address, stranger)


def test_mutual_tls_asks_the_caller_for_a_certificate_of_the_same_authority(
    authority: Callable[..., Authority],
) -> None:
    ours, theirs = authority("ours"), authority("theirs")
    with serving_detector(ToyDetector(), tls=ours.issue("localhost")) as address:
        driver = ours.issue("driver")
        assert reach(address, driver) == 1
        impostor = theirs.issue("driver")
        for stranger in (TlsFiles(ca=ours.path), TlsFiles(impostor.cert, impostor.key, ours.path)):
            with pytest.raises(ServiceUnavailable):
                reach(address, stranger)


def test_a_unix_socket_is_guarded_by_its_file_and_needs_no_certificate(
    authority: Callable[..., Authority], tmp_path: Path
) -> None:
    tls = authority().issue("localhost")
    with serving_detector(ToyDetector(), f"unix:{tmp_path}/d.sock", tls) as address:
        assert reach(address, tls) == 1
        assert reach(address, None) == 1


def test_the_probe_takes_the_same_three_files(authority: Callable[..., Authority]) -> None:
    tls = authority().issue("localhost")
    with serving_detector(ToyDetector(), tls=tls) as address:
        local = address.replace("127.0.0.1", "localhost")
        flags = ["--tls-cert", str(tls.cert), "--tls-key", str(tls.key), "--tls-ca", str(tls.ca)]
        assert probe.main([local, *flags]) == 0
        assert probe.main([local]) == 1


def test_an_authority_without_a_certificate_of_its_own_is_a_wrong_setting(authority: Callable[..., Authority]) -> None:
    with (
        pytest.raises(SettingsError, match="TLS_CA is set without TLS_CERT"),
        serving_detector(ToyDetector(), tls=TlsFiles(ca=authority().path)),
    ):
        pass
