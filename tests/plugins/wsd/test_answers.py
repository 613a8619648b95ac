"""Probe and Resolve on a fake network: what matches, what is told, when it leaves, and what gets silence."""

from __future__ import annotations

import re
from ipaddress import ip_address
from pathlib import Path

import attrs
import pytest
import trio
from hypothesis import given
from responder_plugins.shared.admission import MAX_PENDING, MIN_WINDOW
from responder_plugins.wsd import Wsd
from responder_plugins.wsd.announcer import APP_MAX_DELAY, MAX_DELAY, MIN_DELAY
from responder_plugins.wsd.handler import MAX_SEEN
from responder_plugins.wsd.message import V2005, V2009, Probe, scopes_match
from trio.testing import MockClock

from responder import ConfigErrors
from responder.testing import FakeNetwork, Heard, bench, hostile, options

from .fuzz_target import answered
from .support import GROUP4, GROUP6, LAB, NEW, OLD, SOAP, STARTED, UUID, Names, Said, envelope, probe, resolve

versions = pytest.mark.parametrize("names", [OLD, NEW], ids=["2005/04", "2009/01"])


async def ask(payload: bytes, state: Path, to: str = GROUP4, plugin: Wsd = LAB) -> list[Heard]:
    async with bench(plugin, state=state) as at:
        await trio.sleep(STARTED)
        return await at.exchange(payload, to, within=5)


class TestProbe:
    @versions
    @pytest.mark.parametrize(
        ("to", "address"), [(GROUP4, "192.0.2.1"), (GROUP6, "[fe80::1]"), ("192.0.2.2", "192.0.2.2")]
    )
    async def test_an_answer_says_what_it_must(
        self, autojump_clock: MockClock, tmp_path: Path, names: Names, to: str, address: str
    ) -> None:
        heard = await ask(probe(names=names, ident="urn:uuid:42"), tmp_path, to)
        assert {str(each.source.address) for each in heard} == {address.strip("[]")}
        assert {each.source.port for each in heard} == {3702}
        said = Said.of(heard[0].payload)
        assert (said.names, said.kind) == (names, "ProbeMatches")
        assert said.text("wsa:To") == names.anonymous
        assert said.text("wsa:RelatesTo") == "urn:uuid:42"
        assert re.fullmatch(r"urn:uuid:[0-9a-f-]{36}", said.text("wsa:MessageID"))
        assert said.text("wsa:Address") == f"urn:uuid:{UUID}"
        assert said.text("wsd:XAddrs") == f"http://{address}:5357/{UUID}"
        assert said.text("wsd:MetadataVersion") == "1"
        assert said.sequence[0] > 0
        assert said.sequence[1] > 0
        text = heard[0].payload.decode()
        prefixes = dict(re.findall(r'xmlns:(\w+)="([^"]+)"', text))
        types = {tuple(word.split(":")) for word in said.text("wsd:Types").split()}
        assert {(prefixes[prefix], name) for prefix, name in types} == {
            (names.wsdp, "Device"),
            ("http://schemas.microsoft.com/windows/pub/2005/07", "Computer"),
        }

    async def test_the_same_message_again_is_not_answered_again_but_by_the_other_family(
        self, autojump_clock: MockClock, tmp_path: Path
    ) -> None:
        async with bench(LAB, state=tmp_path) as at:
            await trio.sleep(STARTED)
            ways = (GROUP4, GROUP4, "192.0.2.1", GROUP6, GROUP6, "fe80::1")
            heard = [await at.exchange(probe(), to, within=2) for to in ways]
        assert list(map(len, heard)) == [2, 0, 0, 2, 0, 0]

    async def test_it_is_repeated_once_with_the_same_id(self, autojump_clock: MockClock, tmp_path: Path) -> None:
        first, second = await ask(probe(), tmp_path)
        assert first.payload == second.payload
        assert MIN_DELAY <= second.time - first.time <= MAX_DELAY

    async def test_answers_to_a_multicast_are_spread_and_to_a_unicast_not(
        self, autojump_clock: MockClock, tmp_path: Path
    ) -> None:
        delays: dict[str, list[float]] = {GROUP4: [], "192.0.2.1": []}
        async with bench(LAB, state=tmp_path) as at:
            await trio.sleep(STARTED)
            for number in range(100):
                for to, delay in delays.items():
                    asked = trio.current_time()
                    heard = await at.exchange(probe(ident=f"urn:uuid:{to}-{number}"), to, within=2)
                    delay.append(heard[0].time - asked)
        assert max(delays[GROUP4]) <= APP_MAX_DELAY
        assert max(delays[GROUP4]) - min(delays[GROUP4]) > APP_MAX_DELAY / 2
        assert max(delays["192.0.2.1"]) == 0

    @versions
    @pytest.mark.parametrize(
        ("types", "found"),
        [
            (None, True),
            ("", True),
            ("wsdp:Device", True),
            ("  wsdp:Device\n ", True),
            ("pub:Computer", True),
            ("wsdp:Device pub:Computer", True),
            ("x:Device", True),  # the prefix is anybody's
            ("Device", False),  # no namespace
            ("wsd:Device", False),
            ("wsdp:device", False),
            ("wsdp:Printer", False),
            ("wsdp:Device wsdp:Printer", False),
            ("nobody:Device", None),
        ],
    )
    async def test_types_are_compared_as_qnames(
        self, autojump_clock: MockClock, tmp_path: Path, names: Names, types: str | None, found: bool | None
    ) -> None:
        extra = b' xmlns:pub="http://schemas.microsoft.com/windows/pub/2005/07" xmlns:x="%s"' % names.wsdp.encode()
        payload = probe(types, names=names).replace(b"<wsd:Probe>", b"<wsd:Probe" + extra + b">")
        assert bool(await ask(payload, tmp_path)) == bool(found)

    async def test_a_default_namespace_holds_for_qnames_too(self, autojump_clock: MockClock, tmp_path: Path) -> None:
        payload = probe("Device").replace(b"<wsd:Types>", b'<wsd:Types xmlns="%s">' % OLD.wsdp.encode())
        assert await ask(payload, tmp_path)
        # One that is declared deeper does not hold here.
        payload = probe("x:Device").replace(b"</soap:Header>", b'<y xmlns:x="%s"/></soap:Header>' % OLD.wsdp.encode())
        assert not await ask(payload, tmp_path)

    async def test_as_nmap_and_wcf_ask(self, autojump_clock: MockClock, tmp_path: Path) -> None:
        wcf = (
            f'<s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope" xmlns:a="{NEW.wsa}"><s:Header>'
            f'<a:Action s:mustUnderstand="1">{NEW.wsd}/Probe</a:Action><a:MessageID>urn:uuid:9</a:MessageID>'
            f'<a:To s:mustUnderstand="1">{NEW.to}</a:To></s:Header><s:Body><Probe xmlns="{NEW.wsd}">'
            '<Duration xmlns="http://schemas.microsoft.com/ws/2008/06/discovery">PT20S</Duration>'
            "</Probe></s:Body></s:Envelope>"
        )
        assert len(await ask(wcf.encode(), tmp_path)) == 2


class TestScopes:
    OWN = ("http://example.test/Floor%201/room", "onvif://www.onvif.org/type/video_encoder", "urn:uuid:ABC")

    @pytest.mark.parametrize(
        ("asked", "rule", "found"),
        [
            ("", "", True),
            ("http://example.test/Floor%201", "", True),
            ("HTTP://EXAMPLE.test/Floor%201/room/", "rfc3986", True),
            ("http://example.test/Floor 1", "", False),
            ("http://example.test/floor%201", "", False),
            ("http://example.test/Floor", "", False),
            ("http://example.test/Floor%201/room/x", "", False),
            ("http://example.test", "", True),
            ("http://other.test", "", False),
            ("http://example.test/Floor%201/../Floor%201", "", False),
            ("onvif://www.onvif.org/type", "", True),
            ("onvif://www.onvif.org/type http://other.test", "", False),
            ("urn:uuid:abc", "uuid", True),
            ("urn:uuid:abd", "uuid", False),
            ("urn:uuid:abc", "strcmp0", False),
            ("urn:uuid:ABC", "strcmp0", True),
            ("", "none", False),
            ("ldap:///x", "ldap", False),
            ("http://[", "", False),
        ],
    )
    def test_rules(self, asked: str, rule: str, found: bool) -> None:
        assert scopes_match(Probe(V2005, "x", frozenset(), tuple(asked.split()), rule), self.OWN) is found

    @pytest.mark.parametrize(("number", "found"), [(64, True), (65, False)])
    async def test_more_scopes_than_anyone_asks_for_are_malformed(
        self, autojump_clock: MockClock, tmp_path: Path, number: int, found: bool
    ) -> None:
        asked = f"<wsd:Scopes>{'http://example.test ' * number}</wsd:Scopes>"
        plugin = Wsd("lab", uuid=UUID, scopes=("http://example.test/a",))
        assert bool(await ask(probe(scopes=asked), tmp_path, plugin=plugin)) is found

    def test_none_asks_for_who_has_no_scope(self) -> None:
        assert scopes_match(Probe(V2009, "x", frozenset(), (), "none"), ())

    @versions
    @pytest.mark.parametrize(("to", "host"), [(GROUP4, "192.0.2.1"), (GROUP6, "[fe80::1]")])
    async def test_a_camera_is_found_by_its_scopes(
        self, autojump_clock: MockClock, tmp_path: Path, names: Names, to: str, host: str
    ) -> None:
        onvif = "http://www.onvif.org/ver10/network/wsdl"
        camera = Wsd(
            "camera",
            uuid=UUID,
            types=(f"{{{onvif}}}NetworkVideoTransmitter",),
            scopes=("onvif://www.onvif.org/type/video_encoder",),
            xaddrs=("http://{address}:8000/onvif/device_service",),
        )
        scope = f'<wsd:Scopes MatchBy="{names.wsd}/rfc3986">onvif://www.onvif.org/type</wsd:Scopes>'
        payload = probe("dn:NetworkVideoTransmitter", scope, names=names)
        payload = payload.replace(b"<wsd:Types>", f'<wsd:Types xmlns:dn="{onvif}">'.encode())
        heard = await ask(payload, tmp_path, to, plugin=camera)
        said = Said.of(heard[0].payload)
        assert said.text("wsd:XAddrs") == f"http://{host}:8000/onvif/device_service"
        assert said.text("wsd:Scopes") == "onvif://www.onvif.org/type/video_encoder"
        assert not await ask(payload.replace(b">onvif://www", b">onvif://ftp"), tmp_path, to, plugin=camera)


class TestResolve:
    @versions
    @pytest.mark.parametrize(("to", "address"), [(GROUP4, "192.0.2.1"), (GROUP6, "[fe80::1]")])
    async def test_the_addresses_of_the_endpoint(
        self, autojump_clock: MockClock, tmp_path: Path, names: Names, to: str, address: str
    ) -> None:
        first, second = await ask(resolve(names=names), tmp_path, to)
        assert first.payload == second.payload
        said = Said.of(first.payload)
        assert (said.kind, said.text("wsa:RelatesTo")) == ("ResolveMatches", "urn:uuid:1")
        assert said.text("wsd:XAddrs") == f"http://{address}:5357/{UUID}"

    @pytest.mark.parametrize("endpoint", ["", "urn:uuid:", UUID, f"urn:uuid:{UUID[:-1]}0"])
    async def test_of_another_endpoint(self, autojump_clock: MockClock, tmp_path: Path, endpoint: str) -> None:
        assert await ask(resolve(endpoint), tmp_path) == []

    async def test_in_capitals(self, autojump_clock: MockClock, tmp_path: Path) -> None:
        assert await ask(resolve(f"urn:uuid:{UUID.upper()}"), tmp_path)


async def test_each_link_gets_its_own_addresses_and_each_once(autojump_clock: MockClock, tmp_path: Path) -> None:
    network = FakeNetwork()
    host = network.host("host")
    clients = []
    for number in (1, 2):
        link = network.link(f"link{number}")
        host.attach(link, f"10.7{number}.0.1/24", "fe80::1/64")
        other = network.host(f"client{number}")
        other.attach(link, f"10.7{number}.0.9/24", "fe80::9/64")
        clients.append(other.client())
    async with host.serve(LAB, state=tmp_path):
        await trio.sleep(STARTED)
        # The same message on both links, as a bridge between them would bring it: each is answered.
        for client in clients:
            await client.send(probe(), GROUP4, 3702)
        await trio.sleep(STARTED)
        for number, client in enumerate(clients, 1):
            heard = client.heard()
            assert len(heard) == 2
            assert {Said.of(each.payload).text("wsd:XAddrs") for each in heard} == {
                f"http://10.7{number}.0.1:5357/{UUID}"
            }
            await client.send(probe(), GROUP4, 3702)
            await client.send(probe(ident="urn:uuid:2"), GROUP4, 3702)
            await trio.sleep(STARTED)
            assert {Said.of(each.payload).text("wsa:RelatesTo") for each in client.heard()} == {"urn:uuid:2"}
        # The same from the same address: the interface alone tells the links apart.
        for client in clients:
            await client.send(probe(ident="urn:uuid:3"), GROUP6, 3702)
        await trio.sleep(STARTED)
        assert [len(client.heard()) for client in clients] == [2, 2]


HOSTILE = {
    "empty": b"",
    "no XML": b"\xff\xfe\0",
    "the tag that stopped wsdd": b"<:/>",
    "the same within": probe().replace(b"<wsd:Probe>", b"<:/><wsd:Probe>"),
    "cut off": probe()[:-3],
    "after the end": probe() + b"<x/>",
    "entity": b'<!DOCTYPE x [<!ENTITY y "z">]>' + probe()[39:],
    "billion laughs": b'<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>'
    + probe("&b;")[39:],
    "external entity": b'<!DOCTYPE x SYSTEM "file:///etc/passwd">' + probe()[39:],
    "undefined entity": probe("&x;"),
    "no namespace": probe().replace(b"soap:", b""),
    "SOAP 1.1": probe().replace(b"2003/05/soap-envelope", b"soap/envelope/"),
    "no header": probe().replace(b"soap:Header", b"soap:Head"),
    "no body": probe().replace(b"soap:Body", b"soap:Bod"),
    "no MessageID": probe().replace(b"wsa:MessageID", b"wsa:Message"),
    "empty MessageID": probe(ident=" "),
    "overlong MessageID": probe(ident="x" * 257),
    "MessageID of >": probe(ident=">" * 256),
    "MessageID with a quote": probe(ident='urn:"'),
    "MessageID with a space": probe(ident="urn:uuid:1 2"),
    "MessageID with <": probe(ident="urn:&lt;"),
    "MessageID with &": probe(ident="<![CDATA[urn:&]]>"),
    "no Probe": envelope("Probe", ""),
    "a Resolve for a Probe": resolve().replace(b"/Resolve<", b"/Probe<"),
    "unknown prefix": probe("no:Device"),
    "too deep": probe().replace(b"<wsd:Probe>", b"<x>" * 100 + b"</x>" * 100 + b"<wsd:Probe>"),
    "too many": probe().replace(b"<wsd:Probe>", b"<x/>" * 300 + b"<wsd:Probe>"),
    "too long": probe(" " * 17000),
    "unknown encoding": probe().replace(b'"utf-8"', b'"x-nothing"'),
    "multi-byte encoding": probe().replace(b'"utf-8"', b'"shift_jis"'),
    "twice the attribute": probe().replace(b"<wsd:Probe>", b'<wsd:Probe a="1" a="2">'),
}


@pytest.mark.parametrize("payload", HOSTILE.values(), ids=HOSTILE.keys())
async def test_hostile_messages_get_silence_and_are_counted(
    autojump_clock: MockClock, tmp_path: Path, payload: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    async with bench(LAB, state=tmp_path) as at:
        await trio.sleep(STARTED)
        assert await at.exchange(payload, GROUP4, within=3) == []
        assert at.outcomes()["malformed"] == 1
        assert await at.exchange(probe(ident="urn:uuid:2"), GROUP4, within=3)
    assert [record for record in caplog.records if record.name.startswith("responder_plugins")] == []


@given(hostile(probe(), resolve(), envelope("Hello", "<wsd:Hello/>")))
def test_whatever_comes_is_answered_rightly_or_not_at_all(payload: bytes) -> None:
    answered(payload)


@pytest.mark.parametrize("kind", ["Hello", "Bye", "Nothing"])
async def test_what_others_say_is_left_to_others(autojump_clock: MockClock, tmp_path: Path, kind: str) -> None:
    async with bench(LAB, state=tmp_path) as at:
        await trio.sleep(STARTED)
        assert await at.exchange(envelope(kind, f"<wsd:{kind}/>"), GROUP4, within=1) == []
        assert at.outcomes().get("malformed", 0) == 0


async def test_a_reply_goes_to_who_asked_and_not_where_the_message_says(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    reply_to = "<wsa:ReplyTo><wsa:Address>soap.udp://192.0.2.66:9</wsa:Address></wsa:ReplyTo>"
    payload = probe().replace(b"</soap:Header>", reply_to.encode() + b"</soap:Header>")
    assert len(await ask(payload, tmp_path)) == 2


async def test_off_link(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with bench(LAB, state=tmp_path) as at:
        await trio.sleep(STARTED)
        before = at.outcomes()["sent"]
        at.spoof(probe(), "198.51.100.7", to=GROUP4)
        at.spoof(probe(), "198.51.100.7")
        await trio.sleep(STARTED)
        assert at.outcomes()["sent"] == before
        assert at.outcomes()["off-link"] == 2


class TestStorm:
    @pytest.mark.parametrize("hosts", [1, 200])
    async def test_answers_are_bounded_and_another_link_is_served(
        self, autojump_clock: MockClock, tmp_path: Path, hosts: int
    ) -> None:
        async with bench(LAB, state=tmp_path) as at:
            calm = at.network.link("calm")
            at.host.attach(calm, "10.72.0.1/24")
            other = at.network.host("other")
            other.attach(calm, "10.72.0.9/24")
            client = other.client()
            await trio.sleep(STARTED)
            before = at.outcomes().get("answered", 0)
            for tick in range(100):
                for number in range(50):
                    source = f"192.0.2.{10 + (tick * 50 + number) % hosts}"
                    at.spoof(probe(ident=f"urn:uuid:{tick}-{number}"), source, to=GROUP4)
                if tick == 50:
                    await client.send(probe(), GROUP4, 3702)
                await trio.sleep(0.01)
            await trio.sleep(STARTED)
            assert len(client.heard()) == 2
            answers = at.outcomes()["answered"] - before
        # Half of the places, each for two answers over MIN_WINDOW at least: 5,000 probes would be 10,000.
        assert answers < 2 * (MAX_PENDING / 2) / MIN_WINDOW
        assert answers < 10_000 / 2

    async def test_what_is_remembered_is_bounded(self, autojump_clock: MockClock, tmp_path: Path) -> None:
        from responder_plugins.wsd.handler import WsdHandler  # noqa: PLC0415 - of this test alone

        handler = WsdHandler(LAB)
        for number in range(MAX_SEEN + 100):
            handler._remember((2, ip_address("192.0.2.9"), str(number)))
        assert len(handler._seen) == MAX_SEEN


async def test_amplification(autojump_clock: MockClock, tmp_path: Path) -> None:
    (first, second) = await ask(probe(), tmp_path)
    assert (len(first.payload) + len(second.payload)) / len(probe()) < 4
    shortest = (
        f'<Envelope xmlns="{SOAP}" xmlns:a="{OLD.wsa}"><Header><a:Action>{OLD.wsd}/Probe</a:Action>'
        f'<a:MessageID>x</a:MessageID></Header><Body><Probe xmlns="{OLD.wsd}"/></Body></Envelope>'
    ).encode()
    (first, second) = await ask(shortest, tmp_path)
    assert len(shortest) == 324
    assert (len(first.payload) + len(second.payload)) / len(shortest) < 6.9


class TestOptions:
    def test_defaults(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("platform.node", lambda: "lab.example.net")
        assert (options(Wsd).name, options(Wsd).workgroup, options(Wsd).domain) == ("lab", "WORKGROUP", None)

    @pytest.mark.parametrize(
        "values",
        [
            {"name": ""},
            {"name": "a/b"},
            {"name": "a\nb"},
            {"workgroup": " x"},
            {"uuid": "lamp"},
            {"types": ["wsdp:Device"]},
            {"types": ["{}x"]},
            {"scopes": ["not a uri"]},
            {"xaddrs": ["http://{adress}/"]},
            {"domain": "example.net", "workgroup": "OFFICE"},
        ],
    )
    def test_mistakes(self, values: dict[str, object]) -> None:
        with pytest.raises(ConfigErrors) as caught:
            options(Wsd, **values)
        assert next(iter(values)) in str(caught.value)

    async def test_text_is_escaped(self, autojump_clock: MockClock, tmp_path: Path) -> None:
        odd = attrs.evolve(LAB, scopes=("http://x/?a&b<c>'\"",))
        heard = await ask(probe(), tmp_path, plugin=odd)
        assert Said.of(heard[0].payload).text("wsd:Scopes") == "http://x/?a&b<c>'\""
