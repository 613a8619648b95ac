"""The querier behind the commands: what it asks, what it makes of the answers, and what anybody could fill."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import trio
from click.testing import CliRunner
from responder_plugins.mdns import commands
from responder_plugins.mdns.names import SERVICE_TYPES, from_text
from responder_plugins.mdns.publisher import Publisher
from responder_plugins.mdns.querier import MAX_RECORDS, Cache, Instance, Key, Querier, question_for
from responder_plugins.shared import dns_message as dns
from responder_plugins.shared.dns_message import read
from trio.testing import MockClock

from responder.testing import settled

from .support import PAGE, PAGE_NAME, V4, V6, World, build, mdns, record, response, serving, to_text
from .test_answering import LAN

HTTP = from_text("_http._tcp.local")


async def find(world: World, querier: Querier, number: int = 1) -> list[Instance]:
    """What a client finds."""
    async with world.clients[number].serve(querier):
        await querier.done.wait()
    return sorted({each for cache in querier.caches.values() for each in cache.instances(HTTP)})


def asked(world: World, number: int = 1, to: str = V4) -> list[dns.Message]:
    """The client's queries."""
    return [
        message
        for each in world.links[number].carried
        if str(each.packet.source).endswith(".9") and str(each.packet.destination) == to
        for message in [read(each.packet.payload)]
        if message.questions
    ]


async def test_a_service_is_found_with_all_that_is_to_know(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with serving(state=tmp_path) as world:
        (found,) = await find(world, Querier(((HTTP, dns.PTR),), 3.0))
        assert found == Instance(
            "link1",
            "Lab page",
            "_http._tcp",
            "lab.local",
            8080,
            ("10.71.0.1", "fd71::1", "fe80::1%link1"),
            ("path=/",),
        )


async def test_each_link_is_asked_by_each_family_and_again_with_what_is_known(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    async with serving(state=tmp_path) as world:
        await find(world, Querier(((HTTP, dns.PTR),), 5.0))
        for to in (V4, V6):
            messages = asked(world, to=to) if to == V4 else []
            if to == V6:
                messages = [
                    read(each.packet.payload)
                    for each in world.links[1].carried
                    if str(each.packet.source) == "fe80::9" and str(each.packet.destination) == V6
                ]
            assert len(messages) == 3  # at 0, 1 and 3 seconds
            assert [len(each.answers) for each in messages] == [0, 1, 1]
            assert all(each.questions[0].rdclass == dns.IN for each in messages)  # by multicast (section 15.1)


async def test_the_first_question_waits_for_a_moment(autojump_clock: MockClock, tmp_path: Path) -> None:
    """Section 5.2: 20 to 120 ms, so that hosts that wake together don't ask together."""
    waits = []
    async with serving(state=tmp_path) as world:
        for _ in range(20):
            began, before = trio.current_time(), len(asked(world))
            await find(world, Querier(((HTTP, dns.PTR),), 0.5))
            assert len(asked(world)) > before
            times = [each.time for each in world.links[1].carried if str(each.packet.source) == "10.71.0.9"]
            waits.append(min(each for each in times if each >= began) - began)
    assert all(0.02 <= wait <= 0.13 for wait in waits)
    assert max(waits) - min(waits) > 0.04


async def test_a_name_is_the_same_however_its_letters_are_composed(autojump_clock: MockClock, tmp_path: Path) -> None:
    """Section 16: NFC."""
    page = {"name": "Cafe\N{COMBINING ACUTE ACCENT}", "type": "_http._tcp", "port": 80}
    plugin = mdns(host="mu\N{COMBINING DIAERESIS}nchen", services=[page])
    async with serving(plugin, state=tmp_path) as world:
        (found,) = await find(world, Querier(((HTTP, dns.PTR),), 1.0))
        assert (found.name, found.host) == ("Caf\N{LATIN SMALL LETTER E WITH ACUTE}", "m\u00fcnchen.local")
        querier = Querier(question_for("mu\N{COMBINING DIAERESIS}nchen.local"), 1.0, patient=False)
        await find(world, querier)
        assert querier.is_answered()


async def test_all_types_are_browsed(autojump_clock: MockClock, tmp_path: Path) -> None:
    services = [PAGE, {"name": "Printer", "type": "_ipp._tcp", "port": 631}]
    async with serving(mdns(services=services), state=tmp_path) as world:
        querier = Querier(((SERVICE_TYPES, dns.PTR),), 3.0)
        await find(world, querier)
        (cache,) = querier.caches.values()
        found = {each.name for each in commands._instances(cache, SERVICE_TYPES)}
        assert found == {"Lab page", "Printer"}


@pytest.mark.parametrize(
    ("name", "rdtype"), [("lab.local", dns.A), (PAGE_NAME, dns.SRV), ("10.71.0.1", dns.PTR), ("fe80::1%x", dns.PTR)]
)
async def test_resolving_ends_soon_after_an_answer(
    name: str, rdtype: int, autojump_clock: MockClock, tmp_path: Path
) -> None:
    async with serving(state=tmp_path) as world:
        began = world.now
        questions = question_for(name)
        querier = Querier(questions, 10.0, patient=False)
        await find(world, querier)
        assert world.now - began < 1
        assert questions[0][1] == rdtype
        assert [cache for cache in querier.caches.values() if cache.get(*questions[0])]


async def test_what_nobody_has_takes_all_the_time(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with serving(state=tmp_path) as world:
        began = world.now
        await find(world, Querier(question_for("nobody.local"), 3.0, patient=False))
        assert world.now - began >= 3


async def test_on_a_host_without_a_link_nothing_is_waited_for(autojump_clock: MockClock) -> None:
    world = build(numbers=())
    lonely = world.network.host("lonely")
    querier = Querier(((HTTP, dns.PTR),), 30.0)
    async with lonely.serve(querier):
        await querier.done.wait()
    assert trio.current_time() - world.began < 1
    assert querier.caches == {}


class TestCache:
    def cache(self) -> Cache:
        return Cache(LAN)

    def test_what_is_taken_back_is_gone_a_second_later_unless_it_is_said_again(self) -> None:
        """Section 10.1."""
        cache = self.cache()
        pointer = record("_http._tcp.local", dns.PTR, PAGE_NAME, 4500)
        for again in (True, False):
            cache.hear(pointer, 0.0)
            cache.hear(pointer._replace(ttl=0), 1.0)
            if again:
                cache.hear(pointer, 1.5)
            cache.end(1.9)
            assert cache.count == 1
            cache.end(2.1)
            assert cache.count == again
        assert cache.get(HTTP, dns.PTR) == []
        cache.hear(pointer._replace(ttl=0), 1.0)
        assert cache.records == {}

    def test_a_flush_bit_ends_what_is_older_than_a_second(self) -> None:
        cache = self.cache()
        for second, address in ((0.0, "10.71.0.1"), (5.0, "10.71.0.2"), (5.0, "10.71.0.3")):
            cache.hear(record("lab.local", dns.A, address, flush=True), second)
        cache.end(6.1)
        assert list(map(str, cache.addresses(from_text("lab.local")))) == ["10.71.0.2", "10.71.0.3"]
        assert cache.count == 2

    def test_what_is_not_said_again_ends_with_its_ttl(self) -> None:
        cache = self.cache()
        cache.hear(record("lab.local", dns.A, "10.71.0.1"), 0.0)
        cache.end(119.0)
        assert cache.addresses(from_text("lab.local"))
        cache.end(121.0)
        assert (cache.records, cache.count) == ({}, 0)

    def test_anybody_can_send_records_and_only_so_many_are_kept(self) -> None:
        cache = self.cache()
        for number in range(MAX_RECORDS + 100):
            cache.hear(record("_http._tcp.local", dns.PTR, f"n{number}._http._tcp.local", 4500), 0.0)
        assert len(cache.get(HTTP, dns.PTR)) == cache.count == MAX_RECORDS

    def test_records_that_make_no_sense_are_shown_as_far_as_they_do(self) -> None:
        cache = self.cache()
        cache.hear(record("_http._tcp.local", dns.PTR, "short.local", 4500), 0.0)
        cache.hear(record("_http._tcp.local", dns.PTR, PAGE_NAME, 4500), 0.0)
        cache.hear(record(PAGE_NAME, dns.SRV, b"\0\0\0\0\0\0\0"), 0.0)
        cache.hear(record(PAGE_NAME, dns.TXT, b"\xff\x02ab"), 0.0)
        cache.hear(record("lab.local", dns.A, b"\1\2\3"), 0.0)
        assert cache.addresses(from_text("lab.local")) == []
        (found,) = cache.instances(HTTP)
        assert (found.name, found.host, found.txt) == ("Lab page", "", ("\x02ab",))
        assert [*cache.follow((HTTP, dns.PTR))]

    def test_a_pointer_that_points_at_itself_is_followed_once(self) -> None:
        cache = self.cache()
        cache.hear(record(to_text(SERVICE_TYPES), dns.PTR, to_text(SERVICE_TYPES), 4500), 0.0)
        cache.hear(record("_http._tcp.local", dns.PTR, "_http._tcp.local", 4500), 0.0)
        keys: list[Key] = [*cache.follow((SERVICE_TYPES, dns.PTR)), *cache.follow((HTTP, dns.PTR))]
        assert len(keys) < 10


async def test_what_is_no_response_teaches_nothing(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with serving(state=tmp_path) as world:
        querier = Querier(question_for("evil.local"), 1.0, patient=False)
        async with world.clients[1].serve(querier):
            await settled()
            evil = response(record("evil.local", dns.A, "10.71.0.66"))
            host = world.host.client()
            await host.send(evil, "10.71.0.9", 5353)  # not from port 5353
            # Not to the group, though nobody was asked for that (section 6).
            world.links[1].inject(evil, source="10.71.0.1", source_port=5353, to="10.71.0.9", port=5353)
            await querier.done.wait()
        (cache,) = querier.caches.values()
        assert cache.addresses(from_text("evil.local")) == []


async def test_a_publisher_tells_when_its_service_is_there_and_under_which_name(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    told: list[tuple[str, str, str]] = []
    world = build()
    publisher = Publisher(mdns(), lambda *each: told.append(each))
    async with world.host.serve(publisher, state=tmp_path), trio.open_nursery() as nursery:
        nursery.start_soon(publisher.watch)
        await trio.sleep(4)
        assert sorted(told) == [("link1", "Lab page", "lab.local"), ("link2", "Lab page", "lab.local")]
        await world.say(response(record("lab.local", dns.A, "10.71.0.9", flush=True)))
        await trio.sleep(0.3)
        await world.say(response(record("lab.local", dns.A, "10.71.0.9", flush=True)))
        await trio.sleep(4)
        assert told[-1] == ("link1", "Lab page", "lab-2.local")
        nursery.cancel_scope.cancel()


class TestCommands:
    def invoke(self, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> tuple[int, str]:
        """Run a command; a link has been heard already."""

        async def ask(querier: Querier, interfaces: tuple[str, ...]) -> None:
            await trio.lowlevel.checkpoint()
            cache = querier.caches[2] = Cache(LAN)
            srv = bytes(4) + (8080).to_bytes(2) + from_text("lab.local")
            for each in (
                record(to_text(SERVICE_TYPES), dns.PTR, "_http._tcp.local", 4500),
                record("_http._tcp.local", dns.PTR, r"\027[31mred._http._tcp.local", 4500),
                record(r"\027[31mred._http._tcp.local", dns.SRV, srv),
                record(r"\027[31mred._http._tcp.local", dns.TXT, b"\6path=/"),
                record("lab.local", dns.A, "10.71.0.1"),
                record("lab.local", dns.AAAA, "fe80::1"),
                record("1.0.71.10.in-addr.arpa", dns.PTR, "lab.local"),
            ):
                cache.hear(each, 0.0)

        monkeypatch.setattr(commands, "ask", ask)
        done = CliRunner().invoke(commands.mdns, [*arguments])
        return done.exit_code, done.output

    @pytest.mark.parametrize("type_", [[], ["_http._tcp"], ["_http._tcp.local."]])
    def test_browse(self, type_: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
        status, said = self.invoke(monkeypatch, "browse", *type_)
        assert status == 0
        assert "\x1b" not in said
        assert "lab.local" in said
        assert "fe80::1%lan" in said
        status, said = self.invoke(monkeypatch, "browse", *type_, "--json")
        (found,) = json.loads(said)
        assert (found["interface"], found["port"], found["txt"]) == ("lan", 8080, ["path=/"])

    @pytest.mark.parametrize(
        ("name", "key", "value"),
        [
            ("lab.local", "addresses", ["10.71.0.1", "fe80::1%lan"]),
            (r"\027[31mred._http._tcp.local", "host", "lab.local"),
            ("10.71.0.1", "name", "lab.local"),
        ],
    )
    def test_resolve(self, name: str, key: str, value: object, monkeypatch: pytest.MonkeyPatch) -> None:
        status, said = self.invoke(monkeypatch, "resolve", name, "--json")
        (found,) = json.loads(said)
        assert (status, found[key], found["interface"]) == (0, value, "lan")
        status, said = self.invoke(monkeypatch, "resolve", name)
        assert (status, "\x1b" in said) == (0, False)

    def test_what_nobody_has(self, monkeypatch: pytest.MonkeyPatch) -> None:
        assert self.invoke(monkeypatch, "resolve", "x.local") == (1, "nobody has x.local\n")
        assert self.invoke(monkeypatch, "resolve", "x.local", "--json") == (1, "[]\n")

    @pytest.mark.parametrize(
        "arguments",
        [
            ["browse", "http"],
            ["browse", "--seconds", "nan"],
            ["browse", "--seconds", "inf"],
            ["resolve", "a..b"],
            ["publish", "x", "http", "1"],
            ["publish", "x", "_http._tcp", "65536"],
            ["publish", "x", "_http._tcp", "1", "=x"],
            ["publish", "x", "_http._tcp", "1", "--host", "a.b"],
        ],
    )
    def test_mistakes(self, arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
        status, said = self.invoke(monkeypatch, *arguments)
        assert status == 2
        assert "Traceback" not in said
