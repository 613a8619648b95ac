"""Descriptions: what they say, and how they are served."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import attrs
import h11
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from responder_plugins.shared import http
from responder_plugins.ssdp import Device, ServiceType, Ssdp
from responder_plugins.ssdp.description import DEVICE, SERVICE, Description, describe, seen_by
from responder_plugins.ssdp.handler import SsdpHandler
from trio.testing import MockClock, memory_stream_pair

from responder import PASS, ConfigError, Connection, Context, Pass, Peer
from tests.fakes import LAN

from .support import BASIC, EMBEDDED_UUID, LAMP, LIGHT, ROOT_UUID, SINGLE, SWITCH, handler_of

PATH = f"/{ROOT_UUID}/device.xml"
CONTEXT = Context("ssdp")
OWN = f"""<?xml version="1.0"?>
<root xmlns="{DEVICE}"><device><UDN>uuid:{ROOT_UUID.upper()}</UDN>
<presentationURL>http://{{address}}/</presentationURL></device></root>
"""


def parsed(content: bytes) -> ET.Element:
    return ET.fromstring(content)  # noqa: S314 - what we wrote ourselves


def described(device: Device, address: str = "10.71.0.1") -> ET.Element:
    return parsed(seen_by(describe(device, "devices[0]", CONTEXT).documents[PATH], ip_address(address)))


def with_files(folder: Path, *, own: str = OWN, switch: str = "<scpd/>") -> tuple[Device, Context]:
    """A device whose descriptions are files."""
    (folder / "own.xml").write_text(own, newline="\n")
    (folder / "switch.xml").write_text(switch, newline="\n")
    service = ServiceType(f"{SWITCH}:1", scpd=Path("switch.xml"))
    return attrs.evolve(SINGLE, description=Path("own.xml"), services=[service]), Context("ssdp", folder)


def described_by(folder: Path, **files: str) -> Description:
    device, context = with_files(folder, **files)
    return describe(device, "devices[0]", context)


class TestDocuments:
    def test_the_whole_tree(self) -> None:
        root = described(LAMP)
        names = {"d": DEVICE}
        assert root.tag == f"{{{DEVICE}}}root"
        assert root.get("configId") == str(describe(LAMP, "", CONTEXT).config_id)
        assert root.findtext("d:specVersion/d:major", namespaces=names) == "2"
        assert [each.text for each in root.iter(f"{{{DEVICE}}}UDN")] == [f"uuid:{ROOT_UUID}", f"uuid:{EMBEDDED_UUID}"]
        assert [each.text for each in root.iter(f"{{{DEVICE}}}deviceType")] == [f"{BASIC}:2", f"{LIGHT}:1"]
        assert root.findtext("d:device/d:friendlyName", namespaces=names) == "Lab <device>"
        assert root.findtext("d:device/d:serviceList/d:service/d:serviceType", namespaces=names) == f"{SWITCH}:3"
        assert root.findtext("d:device/d:serviceList/d:service/d:eventSubURL", namespaces=names) == ""

    def test_each_service_description_that_is_named_is_there(self) -> None:
        documents = describe(LAMP, "", CONTEXT).documents
        named = [each.text for each in described(LAMP).iter(f"{{{DEVICE}}}SCPDURL")]
        assert len(named) == 2
        assert set(documents) == {PATH, *named}
        for name in named:
            scpd = parsed(documents[str(name)])
            assert scpd.tag == f"{{{SERVICE}}}scpd"
            assert scpd.get("configId") == described(LAMP).get("configId")
            assert len(scpd.findall(f"{{{SERVICE}}}serviceStateTable/{{{SERVICE}}}stateVariable")) == 1

    def test_the_address_is_put_in_for_each_asker(self) -> None:
        device = attrs.evolve(
            SINGLE,
            presentation="http://{address}/",
            services=[ServiceType(f"{SWITCH}:1", control="http://{address}/c")],
        )
        for address, literal in (("10.71.0.1", "10.71.0.1"), ("fd71::1", "[fd71::1]")):
            root = described(device, address)
            assert [each.text for each in root.iter(f"{{{DEVICE}}}presentationURL")] == [f"http://{literal}/"]
            assert [each.text for each in root.iter(f"{{{DEVICE}}}controlURL")] == [f"http://{literal}/c"]

    def test_files_are_served_with_the_address_put_in_and_noted_for_reloads(self, tmp_path: Path) -> None:
        device, context = with_files(tmp_path)
        documents = describe(device, "devices[0]", context).documents
        assert [seen_by(each, ip_address("fd71::1")).decode() for each in documents.values()] == [
            OWN.replace("{address}", "[fd71::1]"),
            "<scpd/>",
        ]
        assert set(context.files) == {tmp_path / "own.xml", tmp_path / "switch.xml"}

    @pytest.mark.parametrize(
        ("files", "key", "line", "message"),
        [
            ({"own": "<root>\n<device>\n</root>"}, "description", 3, "is no XML"),
            ({"own": f'<root xmlns="{DEVICE}"/>'}, "description", None, "no device with a UDN"),
            ({"own": OWN.replace(ROOT_UUID.upper(), EMBEDDED_UUID)}, "description", None, EMBEDDED_UUID),
            ({"own": OWN.replace("<root ", '<root configId="16777216" ')}, "description", None, "configId"),
            ({"switch": "\n<scpd>"}, "services[0].scpd", 2, "is no XML"),
        ],
    )
    def test_mistakes_in_files(
        self, tmp_path: Path, files: dict[str, str], key: str, line: int | None, message: str
    ) -> None:
        device, context = with_files(tmp_path, **files)
        with pytest.raises(ConfigError, match=message) as caught:
            Ssdp(devices=(device,)).prepare(context)
        assert (caught.value.path, caught.value.line) == (f"devices[0].{key}", line)
        assert caught.value.file == tmp_path / ("own.xml" if key == "description" else "switch.xml")

    def test_a_file_that_is_not_there_is_named_by_its_key(self, tmp_path: Path) -> None:
        inner = attrs.evolve(
            SINGLE,
            uuid=EMBEDDED_UUID,
            services=[f"{LIGHT}:1".replace("device", "service"), with_files(tmp_path)[0].service_types[0]],
        )
        (tmp_path / "switch.xml").unlink()
        with pytest.raises(ConfigError, match=r"switch\.xml") as caught:
            Ssdp(devices=(attrs.evolve(SINGLE, devices=(inner,)),)).prepare(Context("ssdp", tmp_path))
        assert caught.value.path == "devices[0].devices[0].services[1].scpd"

    def test_a_file_that_is_not_utf_8(self, tmp_path: Path) -> None:
        device, context = with_files(tmp_path)
        (tmp_path / "own.xml").write_bytes(OWN.encode("utf-16"))
        with pytest.raises(ConfigError, match="UTF-8"):
            describe(device, "devices[0]", context)

    def test_another_description_has_another_config_id(self, tmp_path: Path) -> None:
        ids = [describe(device, "", CONTEXT).config_id for device in (SINGLE, attrs.evolve(SINGLE))]
        ids.append(describe(attrs.evolve(SINGLE, friendly_name="Other"), "", CONTEXT).config_id)
        assert ids[0] == ids[1] != ids[2]
        ids = [described_by(tmp_path, own=own).config_id for own in (OWN, OWN, OWN + "<!-- changed -->")]
        assert ids[0] == ids[1] != ids[2]
        ids = [described_by(tmp_path, switch=switch).config_id for switch in ("<scpd/>", "<scpd></scpd>")]
        assert ids[0] != ids[1]

    def test_a_file_may_have_a_config_id_of_its_own(self, tmp_path: Path) -> None:
        assert described_by(tmp_path, own=OWN.replace("<root ", '<root configId="1337" ')).config_id == 1337


class Client:
    """An HTTP client on a stream in memory."""

    def __init__(self, stream: trio.StapledStream[Any, Any]) -> None:
        self.stream = stream
        self._h11 = h11.Connection(h11.CLIENT)

    async def ask(self, method: str = "GET", target: str = PATH, **headers: str) -> tuple[int, dict[str, str], bytes]:
        request = h11.Request(method=method, target=target, headers=[("Host", "x"), *headers.items()])
        await self.stream.send_all((self._h11.send(request) or b"") + (self._h11.send(h11.EndOfMessage()) or b""))
        status, found, body = 0, {}, b""
        while True:
            event = self._h11.next_event()
            if event is h11.NEED_DATA:
                self._h11.receive_data(await self.stream.receive_some())
            elif isinstance(event, h11.Response):
                status, found = event.status_code, {name.decode(): value.decode() for name, value in event.headers}
            elif isinstance(event, h11.Data):
                body += bytes(event.data)
            else:
                break
        if self._h11.our_state is h11.DONE and self._h11.their_state is h11.DONE:
            self._h11.start_next_cycle()
        return status, found, body


def connection_of(stream: trio.StapledStream[Any, Any], peer: str, destination: str = "10.71.0.2") -> Connection:
    return Connection(
        stream=stream,
        peer=Peer(peer, 40000),
        destination=ip_address(destination),
        interface=LAN,
        service="device",
        port=49200,
        arrival=0.0,
    )


@asynccontextmanager
async def talking(
    *devices: Device, destination: str = "10.71.0.2", peer: str = "10.71.0.9", handler: SsdpHandler | None = None
) -> AsyncIterator[Client]:
    ours, theirs = memory_stream_pair()
    handler = handler or handler_of(*(devices or (LAMP,)))

    async def converse() -> Pass | None:
        try:
            return await handler.converse(connection_of(theirs, peer, destination))
        finally:
            await theirs.aclose()

    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(converse)
            yield Client(ours)
            await ours.aclose()


class TestServing:
    async def test_get_head_and_what_is_not_there(self, autojump_clock: MockClock) -> None:
        async with talking() as client:
            status, headers, body = await client.ask()
            assert (status, headers["content-type"]) == (200, 'text/xml; charset="utf-8"')
            assert parsed(body).tag.endswith("root")
            assert int(headers["content-length"]) == len(body)
            assert "UPnP/2.0" in headers["server"]
            status, head, nothing = await client.ask("HEAD")
            assert (status, head["content-length"], nothing) == (200, headers["content-length"], b"")
            assert (await client.ask(target=f"http://x{PATH}?x=y"))[2] == body
            for target in ("/", "/../etc/passwd", "http://[", f"/{ROOT_UUID}"):
                assert (await client.ask(target=target))[0] == 404

    @pytest.mark.parametrize("method", ["SUBSCRIBE", "POST", "NOTIFY"])
    async def test_nothing_else_is_done(self, autojump_clock: MockClock, method: str) -> None:
        """CallStranger: no peer can subscribe an address to anything."""
        async with talking() as client:
            status, headers, _ = await client.ask(method, callback="<http://192.0.2.1/>")
            assert (status, headers["allow"]) == (405, "GET, HEAD")

    async def test_the_address_is_the_one_that_was_asked(self, autojump_clock: MockClock) -> None:
        device = attrs.evolve(SINGLE, presentation="http://{address}/")
        async with talking(device, destination="fd71::1") as client:
            assert b"http://[fd71::1]/" in (await client.ask())[2]

    async def test_a_body_is_not_waited_for(self, autojump_clock: MockClock) -> None:
        async with talking() as client:
            head = f"GET {PATH} HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n"
            await client.stream.send_all(head.encode())
            answer = await client.stream.receive_some()
            assert answer.startswith(b"HTTP/1.1 200 ")
            assert b"Connection: close" in answer
            assert await client.stream.receive_some() == b""

    async def test_requests_that_come_together_are_all_answered(self, autojump_clock: MockClock) -> None:
        async with talking() as client:
            ask = f"GET {PATH} HTTP/1.1\r\nHost: x\r\n\r\n"
            await client.stream.send_all((ask * 2 + ask.replace("1.1", "1.0")).encode())
            answers = b""
            while some := await client.stream.receive_some():
                answers += some
            assert answers.count(b"HTTP/1.1 200 ") == 3
            assert answers.count(b"</root>") == 3

    async def test_a_connection_serves_so_many_requests(self, autojump_clock: MockClock) -> None:
        async with talking() as client:
            closing = [(await client.ask())[1].get("connection") for _ in range(http.MAX_REQUESTS)]
            assert closing == [None] * (http.MAX_REQUESTS - 1) + ["close"]
            assert await client.stream.receive_some() == b""

    @pytest.mark.parametrize("between", [b"\r\n", b"\n\r\n", b"\r\n" * 50])
    async def test_empty_lines_before_a_request_are_ignored(self, autojump_clock: MockClock, between: bytes) -> None:
        """RFC 9112 section 2.2; SSDP's searches have them too."""
        async with talking() as client:
            await client.stream.send_all(between)
            assert (await client.ask())[0] == 200
            await client.stream.send_all(between)
            assert (await client.ask())[0] == 200

    async def test_a_field_value_may_have_any_bytes(self, autojump_clock: MockClock) -> None:
        async with talking() as client:
            ask = f"GET {PATH} HTTP/1.1\r\nHost: x\r\nUser-Agent: ".encode() + b"T\x84\xff\r\n\r\n"
            await client.stream.send_all(ask)
            assert (await client.stream.receive_some()).startswith(b"HTTP/1.1 200 ")

    @pytest.mark.parametrize("sent", [b"", b"\r\n", b"GET / HT", f"GET {PATH} HTTP/1.1\r\n".encode()])
    async def test_who_says_nothing_is_hung_up_on(self, autojump_clock: MockClock, sent: bytes) -> None:
        async with talking() as client:
            began = trio.current_time()
            if sent:
                await client.stream.send_all(sent)
            assert await client.stream.receive_some() == b""
            assert trio.current_time() - began == pytest.approx(http.IDLE)

    @pytest.mark.parametrize(
        ("sent", "status"),
        [
            (b"\x16\x03\x01\x02\x00 TLS\r\n\r\n", b"400"),
            (b"GET / HTTP/1.1\r\n\r\n", b"400"),  # no Host
            (b"GET / HTTP/1.1\r\nX: " + b"y" * 20000, b"431"),
        ],
    )
    async def test_what_is_no_http_is_refused(self, autojump_clock: MockClock, sent: bytes, status: bytes) -> None:
        async with talking() as client:
            await client.stream.send_all(sent)
            assert (await client.stream.receive_some()).startswith(b"HTTP/1.1 " + status)
            assert await client.stream.receive_some() == b""

    @given(st.binary(max_size=300))
    def test_anything_is_answered_or_hung_up_on(self, data: bytes) -> None:
        async def talk() -> None:
            async with talking() as client:
                if data:
                    await client.stream.send_all(data)
                await client.stream.send_eof()
                while await client.stream.receive_some():
                    pass

        trio.run(talk, clock=MockClock(autojump_threshold=0))

    async def test_devices_with_a_location_of_their_own_have_nothing_to_serve(self) -> None:
        handler = handler_of(attrs.evolve(SINGLE, location="http://{address}/"))
        _, theirs = memory_stream_pair()
        assert await handler.converse(connection_of(theirs, "10.71.0.9")) is PASS
