"""Get by HTTP: what Explorer reads, at which path, and what gets an error."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
import trio
from responder_plugins.wsd import COMPUTER, Wsd
from trio.testing import MockClock

from responder.testing import Bench, bench

from .support import LAB, NEW, OLD, SOAP, STARTED, UUID, Names, get

MEX = "http://schemas.xmlsoap.org/ws/2004/09/mex"
TYPE = "application/soap+xml"


@asynccontextmanager
async def serving(state: Path, plugin: Wsd = LAB) -> AsyncIterator[Bench]:
    async with bench(plugin, state=state) as at:
        await trio.sleep(STARTED)
        yield at


async def post(
    at: Bench,
    body: bytes,
    path: str = f"/{UUID}",
    media_type: str = TYPE,
    *,
    method: str = "POST",
    chunked: bool = False,
) -> tuple[int, bytes]:
    stream = await at.connect("192.0.2.2", service="metadata")
    framed = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body) if chunked else body
    size = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {len(body)}"
    head = f"{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Type: {media_type}\r\n{size}\r\nConnection: close\r\n\r\n"
    await stream.send_all(head.encode() + framed)
    answer = b""
    while some := await stream.receive_some():
        answer += some
    await stream.aclose()
    head_of_answer, _, content = answer.partition(b"\r\n\r\n")
    return int(head_of_answer.split()[1]), content


@pytest.mark.parametrize("names", [OLD, NEW], ids=["2005/04", "2009/01"])
@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("media_type", [TYPE, f'{TYPE}; charset="utf-8"', "Application/SOAP+xml"])
async def test_the_name_and_workgroup(
    autojump_clock: MockClock, tmp_path: Path, names: Names, chunked: bool, media_type: str
) -> None:
    async with serving(tmp_path) as at:
        status, content = await post(at, get(names=names), media_type=media_type, chunked=chunked)
    assert status == 200
    root = ET.fromstring(content)  # noqa: S314 - our own
    header = root.find(f"{{{SOAP}}}Header")
    assert header is not None
    assert header.findtext(f"{{{names.wsa}}}Action") == "http://schemas.xmlsoap.org/ws/2004/09/transfer/GetResponse"
    assert header.findtext(f"{{{names.wsa}}}RelatesTo") == "urn:uuid:7"
    sections = {each.get("Dialect"): each for each in root.iter(f"{{{MEX}}}MetadataSection")}
    assert set(sections) == {f"{names.wsdp}/{name}" for name in ("ThisDevice", "ThisModel", "Relationship")}
    (friendly,) = root.iter(f"{{{names.wsdp}}}FriendlyName")
    assert friendly.text == "lab"
    (relationship,) = root.iter(f"{{{names.wsdp}}}Relationship")
    assert relationship.get("Type") == f"{names.wsdp}/host"
    (host,) = relationship
    assert host.findtext(f"{{{names.wsa}}}EndpointReference/{{{names.wsa}}}Address") == f"urn:uuid:{UUID}"
    assert host.findtext(COMPUTER) == "lab/Workgroup:WORKGROUP"
    assert (host.findtext(f"{{{names.wsdp}}}Types") or "").endswith(":Computer")


async def test_a_domain_and_odd_letters(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with serving(tmp_path, Wsd("<b\u00fcro & co>", domain="example.net", uuid=UUID)) as at:
        _, content = await post(at, get())
    (computer,) = ET.fromstring(content).iter(COMPUTER)  # noqa: S314 - our own
    assert computer.text == "<b\u00fcro & co>/Domain:example.net"


async def test_another_device_is_no_computer(autojump_clock: MockClock, tmp_path: Path) -> None:
    printer = "{http://schemas.microsoft.com/windows/2006/08/wdp/print}PrintDeviceType"
    async with serving(tmp_path, Wsd("printer", uuid=UUID, types=(printer,))) as at:
        status, content = await post(at, get())
    assert status == 200
    root = ET.fromstring(content)  # noqa: S314 - our own
    assert not list(root.iter(COMPUTER))
    (types,) = root.iter(f"{{{OLD.wsdp}}}Types")
    assert (types.text or "").endswith(":PrintDeviceType")


@pytest.mark.parametrize(
    ("body", "path", "media_type", "status"),
    [
        (get(), "/", TYPE, 404),
        (get(), f"/{UUID}/x", TYPE, 404),
        (get(), f"/{UUID.upper()}", TYPE, 200),
        (get(), f"/{UUID}", "text/xml", 415),
        (get("urn:uuid:other"), f"/{UUID}", TYPE, 400),
        (get(ident=""), f"/{UUID}", TYPE, 400),
        (get(ident=">" * 256), f"/{UUID}", TYPE, 400),
        (get().replace(b"transfer/Get", b"transfer/Put"), f"/{UUID}", TYPE, 400),
        (b"<:/>", f"/{UUID}", TYPE, 400),
        (b"", f"/{UUID}", TYPE, 400),
        (b"<!DOCTYPE x>" + get()[39:], f"/{UUID}", TYPE, 400),
        (b" " * 20_000, f"/{UUID}", TYPE, 400),
        (b" " * 70_000, f"/{UUID}", TYPE, 413),
    ],
)
async def test_errors(
    autojump_clock: MockClock, tmp_path: Path, body: bytes, path: str, media_type: str, status: int
) -> None:
    async with serving(tmp_path) as at:
        assert (await post(at, body, path, media_type))[0] == status


async def test_off_link(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with serving(tmp_path) as at:
        far = at.network.host("far")
        far.route("192.0.2.0/24", interface=far.attach(at.link, "198.51.100.7/24"))
        at.host.route("198.51.100.0/24", interface=at.interface)
        stream = await far.connect("192.0.2.1", at.port("metadata"))
        assert await stream.receive_some() == b""
        assert at.outcomes()["off-link"] == 1


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "SUBSCRIBE"])
async def test_another_method(autojump_clock: MockClock, tmp_path: Path, method: str) -> None:
    async with serving(tmp_path) as at:
        assert (await post(at, b"", method=method))[0] == 405


async def test_who_waits_for_permission_gets_it(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with serving(tmp_path) as at:
        stream = await at.connect(service="metadata")
        head = f"POST /{UUID} HTTP/1.1\r\nHost: x\r\nContent-Type: {TYPE}\r\nContent-Length: {len(get())}\r\n"
        await stream.send_all(head.encode() + b"Expect: 100-continue\r\n\r\n")
        assert (await stream.receive_some()).startswith(b"HTTP/1.1 100 ")
        await stream.send_all(get())
        assert (await stream.receive_some()).startswith(b"HTTP/1.1 200 ")
        await stream.aclose()


async def test_a_body_that_never_ends_is_hung_up_on(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with serving(tmp_path) as at:
        stream = await at.connect(service="metadata")
        began = trio.current_time()
        head = f"POST /{UUID} HTTP/1.1\r\nHost: x\r\nContent-Type: {TYPE}\r\nContent-Length: 5000\r\n\r\n"
        await stream.send_all(head.encode() + b"x")
        assert await stream.receive_some() == b""
        assert trio.current_time() - began == pytest.approx(10)


async def test_with_addresses_of_its_own_nothing_is_served(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with serving(tmp_path, Wsd("lab", uuid=UUID, xaddrs=("http://{address}/x",))) as at:
        stream = await at.connect(service="metadata")
        assert await stream.receive_some() == b""
