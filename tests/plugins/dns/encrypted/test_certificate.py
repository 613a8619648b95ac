"""Mistakes in certificates and keys, each told with its file; and new ones put in use."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from responder_plugins.dns import Dns, Tls

from responder import ConfigErrors, Context, Service
from tests.plugins.dns.certificates import Authority, pem_of
from tests.plugins.dns.encrypted.support import secured, tls_handler


def mistakes(folder: Path) -> list[str]:
    options = Dns(here=("here.test",), tls=Tls(Path("server.pem"), Path("server.key")))
    with pytest.raises(ConfigErrors) as caught:
        options.prepare(Context("dns", folder))
    return [str(error).replace(str(folder), "FOLDER") for error in caught.value.errors]


def _write(name: str, content: bytes) -> Callable[[Path], None]:
    return lambda folder: (folder / name).write_bytes(content) and None


def _remove(folder: Path) -> None:
    (folder / "server.pem").unlink()
    (folder / "server.key").unlink()


def _other_key(folder: Path) -> None:
    (folder / "server.key").write_bytes(pem_of(ec.generate_private_key(ec.SECP256R1())))


def _other_kind(folder: Path) -> None:
    (folder / "server.key").write_bytes(pem_of(ec.generate_private_key(ec.SECP384R1())))


def _encrypted(folder: Path) -> None:
    (folder / "server.key").write_bytes(pem_of(ec.generate_private_key(ec.SECP256R1()), b"secret"))


BROKEN = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
BROKEN_KEY = b"-----BEGIN PRIVATE KEY-----\nTGVha2VkIQ==\n-----END PRIVATE KEY-----\n"


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (_remove, ["FOLDER/server.pem: No such file", "FOLDER/server.key: No such file"]),
        (_write("server.pem", b"hello"), ["FOLDER/server.pem: tls.certificate: expected a certificate in PEM form"]),
        (_write("server.pem", BROKEN), ["expected a certificate in PEM form, and found a broken one"]),
        (_write("server.key", b"hello"), ["FOLDER/server.key: tls.key: expected a private key in PEM form"]),
        (_write("server.key", BROKEN_KEY), ["FOLDER/server.key: tls.key: OpenSSL refuses it"]),
        (_other_key, ["FOLDER/server.key: tls.key: it is not the key of the certificate in server.pem"]),
        (_other_kind, ["FOLDER/server.key: tls.key: it is not the key of the certificate in server.pem"]),
        (_encrypted, ["FOLDER/server.key: tls.key: the key is encrypted"]),
    ],
)
def test_mistakes(tmp_path: Path, spoil: Callable[[Path], None], told: list[str]) -> None:
    Authority(tmp_path).issue()
    spoil(tmp_path)
    found = mistakes(tmp_path)
    assert len(found) == len(told)
    for message, part in zip(found, told, strict=True):
        assert part.rpartition(": ")[2] in message
        assert part.partition(": ")[0] in message
        assert "TGVha" not in message


def test_ports_are_there_where_they_are_asked_for() -> None:
    def ports(options: Dns) -> list[tuple[str, int, bool, bool]]:
        def row(service: Service) -> tuple[str, int, bool, bool]:
            return service.name, service.port, service.udp, service.tcp

        return [row(service) for service in options.chosen_services()]

    files = Path("server.pem"), Path("server.key")
    plain = ("default", 53, True, True)
    assert ports(Dns()) == [plain]
    assert ports(Dns(tls=Tls(*files))) == [plain, ("tls", 853, False, True), ("https", 443, False, True)]
    assert ports(Dns(tls=Tls(*files, serve=("tls",)))) == [plain, ("tls", 853, False, True)]
    with pytest.raises(ValueError, match="serve: expected at least one of tls, https"):
        Tls(*files, serve=())


async def serial_of(folder: Path, handler: object) -> object:
    async with secured(handler, "tls", folder) as stream:  # type: ignore[arg-type]  # the handler is DnsHandler
        certificate = stream.getpeercert()
        return certificate["serialNumber"]


async def test_new_files_are_put_in_use_and_broken_ones_are_not(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    authority = Authority(tmp_path)
    authority.issue()
    handler = tls_handler(tmp_path)
    assert handler._tls is not None
    certificate = handler._tls.certificate
    first = await serial_of(tmp_path, handler)
    async with secured(handler, "tls", tmp_path) as old:
        certificate.look()
        assert await serial_of(tmp_path, handler) == first
        _other_key(tmp_path)
        certificate.look()
        assert "the certificate stays the one before" in caplog.text
        caplog.clear()
        certificate.look()
        assert caplog.text == ""  # once for each change
        assert await serial_of(tmp_path, handler) == first
        authority.issue()
        certificate.look()
        assert await serial_of(tmp_path, handler) not in {first, None}
        # A connection that is there goes on.
        assert old.getpeercert()["serialNumber"] == first


async def test_tls_11_is_refused(tmp_path: Path) -> None:
    handler = tls_handler(tmp_path)
    assert handler._tls is not None
    for context in handler._tls.certificate.made.values():
        assert context.minimum_version == ssl.TLSVersion.TLSv1_2
        assert {cipher["protocol"] for cipher in context.get_ciphers()} == {"TLSv1.2", "TLSv1.3"}
        assert all("ECDHE" in cipher["name"] or "TLS_" in cipher["name"] for cipher in context.get_ciphers())
