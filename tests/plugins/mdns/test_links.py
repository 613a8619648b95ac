"""Each link by itself: what is told there, what changes there, and that nothing of one is heard of on another."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from ipaddress import ip_address
from pathlib import Path

import pytest
import trio
from responder_plugins.mdns.names import reverse
from responder_plugins.shared import dns_message as dns
from trio.testing import MockClock

from responder import SendRefused
from responder.testing import FakeClient, settled

from .support import (
    V4,
    V6,
    World,
    mdns,
    message,
    own,
    query,
    question,
    record,
    response,
    serving,
    to_text,
)


async def test_each_link_has_its_own_addresses_and_never_the_other_s(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with serving(state=tmp_path) as world:
        for number in (1, 2):
            for to in (V4, V6):
                await trio.sleep(2)
                (heard,) = await world.ask(query("lab.local", dns.ANY), number, to=to)
                assert {*heard.addresses(), *heard.addresses(dns.AAAA)} == {*own(number, 4), *own(number, 6)}
                assert heard.source in own(number, ip_address(to).version)
                await trio.sleep(1)
                (heard,) = await world.ask(query("_http._tcp.local", dns.PTR), number, to=to)
                assert {*heard.addresses(), *heard.addresses(dns.AAAA)} == {*own(number, 4), *own(number, 6)}
        for number in (1, 2):
            said = {address for each in world.heard(number) for address in each.addresses()}
            assert said == set(own(number, 4))


async def test_a_query_on_one_link_is_not_heard_on_the_other(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with serving(state=tmp_path) as world:
        before = len(world.heard(2))
        assert await world.ask(query("lab.local", dns.A), 1)
        assert await world.ask(query("_http._tcp.local", dns.PTR), 1, to=V6)
        assert len(world.heard(2)) == before


async def test_a_family_is_answered_by_that_family(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with serving(state=tmp_path) as world:
        for to in (V4, V6):
            (heard,) = await world.ask(query("lab.local", dns.A), to=to)
            assert heard.to == to


@pytest.mark.parametrize("number", [1, 2])
async def test_reverse_names(number: int, autojump_clock: MockClock, tmp_path: Path) -> None:
    async with serving(state=tmp_path) as world:
        for address in (*own(number, 4), *own(number, 6)):
            await trio.sleep(1)
            name = to_text(reverse(ip_address(address)))
            (heard,) = await world.ask(query(name, dns.PTR), number)
            assert [each[:2] for each in heard.answers] == [(name, dns.PTR)]
            assert to_text(heard.answers[0][2]) == "lab.local"
        other = own(3 - number, 4)[0]
        assert await world.ask(query(to_text(reverse(ip_address(other))), dns.PTR), number) == []


async def test_a_name_that_is_taken_on_one_link_stays_on_the_other_and_is_kept(
    autojump_clock: MockClock, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(state=tmp_path, wait=0.3) as world:
        await world.say(response(record("lab.local", dns.A, "10.71.0.9", flush=True)))
        await trio.sleep(4)
        assert len(await world.ask(query("lab-2.local", dns.A))) == 1
        assert await world.ask(query("lab.local", dns.A)) == []
        assert len(await world.ask(query("lab.local", dns.A), 2)) == 1
        assert await world.ask(query("lab-2.local", dns.A), 2) == []
    (told,) = [each for each in caplog.records if each.levelno == logging.WARNING]
    assert "'lab' is taken: it is 'lab-2' here" in told.getMessage()
    assert "interface=link1" in told.getMessage()
    (file,) = tmp_path.rglob("names.json")
    assert json.loads(file.read_text()) == {"link1": {"host": 2}}
    async with serving(state=tmp_path) as world:
        asked = {to_text(q.name) for each in world.heard(1) if each.is_probe for q in each.message.questions}
        assert "lab-2.local" in asked
        assert "lab.local" not in asked


@pytest.mark.parametrize("content", ["{", '{"link1": 1}', '{"link1": {"host": "x"}}', "[]", '{"link1": {"host": 0}}'])
async def test_a_state_file_that_is_broken_costs_the_names_only(
    content: str, autojump_clock: MockClock, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "mdns").mkdir()
    (tmp_path / "mdns" / "names.json").write_text(content)
    async with serving(state=tmp_path) as world:
        assert await world.ask(query("lab.local", dns.A))
    assert "can't be kept" in caplog.text


async def test_interfaces_without_multicast_and_those_excluded_are_left_alone(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    def no_multicast(world: World) -> None:
        world.interfaces[1]._flags = frozenset({"broadcast"})

    async with serving(state=tmp_path, before=no_multicast) as world:
        assert world.heard(1) == []
        assert world.heard(2) != []
    async with serving(state=tmp_path, interfaces=("!link2",)) as world:
        assert world.heard(1) != []
        assert world.heard(2) == []
        assert await world.ask(query("lab.local", dns.A), 2) == []


async def test_an_address_that_comes_is_announced_and_one_that_goes_taken_back(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    async with serving(state=tmp_path) as world:
        began = world.now
        world.interfaces[1].add("10.71.0.2/24")
        await trio.sleep(4)
        said = [each for each in world.heard(1, since=began, to=V4) if each.is_response and each.addresses()]
        assert [set(each.addresses()) for each in said] == [{"10.71.0.1", "10.71.0.2"}] * 2
        assert said[1].time - said[0].time == pytest.approx(1.0)
        began = world.now
        world.interfaces[1].remove("10.71.0.1")
        await trio.sleep(4)
        first, *later = [each for each in world.heard(1, since=began, to=V4) if each.is_response]
        assert first.is_goodbye
        assert first.addresses() == ["10.71.0.1"]
        assert {each.ttl for each in first.message.answers} == {0}
        assert (await world.ask(query("lab.local", dns.A)))[0].addresses() == ["10.71.0.2"]
        assert not any("10.71.0.1" in each.addresses() for each in later)
        # The new address' own name is all that is probed for.
        asked = {to_text(q.name) for each in world.heard(1, since=4) for q in each.message.questions if each.is_probe}
        assert asked == {"2.0.71.10.in-addr.arpa"}
        assert world.heard(2, since=began) == []


async def test_a_family_that_comes_later_is_probed_by_too(autojump_clock: MockClock, tmp_path: Path) -> None:
    def only_v4(world: World) -> None:
        world.interfaces[1].remove("fd71::1", "fe80::1")

    async with serving(state=tmp_path, before=only_v4) as world:
        assert world.heard(1, to=V6) == []
        began = world.now
        world.interfaces[1].add("fe80::1/64")
        await trio.sleep(4)
        said = world.heard(1, since=began, to=V6)
        assert [each.is_probe for each in said] == [True, True, True, False, False]
        assert [each for each in world.heard(1, since=began) if each.is_goodbye] == []


async def test_a_link_that_disappears_and_one_that_comes(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with serving(state=tmp_path) as world:
        world.interfaces[2].disappear()
        await trio.sleep(2)
        assert await world.ask(query("lab.local", dns.A), 1)
        began = world.now
        world.interfaces[2] = world.host.attach(world.links[2], "10.72.0.1/24")
        await trio.sleep(4)
        assert [each.is_probe for each in world.heard(2, since=began, to=V4)] == [True, True, True, False, False]


async def test_a_link_that_refuses_costs_the_others_nothing(
    autojump_clock: MockClock, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving(state=tmp_path, wait=0) as world:
        put = world.host._put

        def refuse(interface: object, *rest: object) -> None:
            if interface is world.interfaces[1]:
                raise SendRefused(1, "refused")
            put(interface, *rest)  # type: ignore[arg-type]  # as it was called

        monkeypatch.setattr(world.host, "_put", refuse)
        await trio.sleep(4)
        assert world.heard(1) == []
        assert len(world.heard(2, to=V4)) == 5
    assert caplog.text.count("can't send") == 2  # once a family


async def test_a_reload_that_changes_nothing_of_a_record_says_nothing_of_it(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    more = {"name": "More", "type": "_ipp._tcp", "port": 631}
    page = {"name": "Lab page", "type": "_http._tcp", "port": 8080, "txt": {"path": "/"}}
    async with serving(state=tmp_path) as world:
        assert world.server is not None
        began = world.now
        await world.server.replace(mdns(services=[page, more]))
        # Not a query is lost while the new one begins.
        assert await world.ask(query("lab.local", dns.A), within=0)
        await trio.sleep(4)
        said = {to_text(r.name) for each in world.heard(1, since=began) for r in each.message.answers}
        assert said == {
            "lab.local",  # which was asked for
            "More._ipp._tcp.local",
            "_ipp._tcp.local",
            "_services._dns-sd._udp.local",
        }
        assert [each for each in world.heard(1, since=began) if each.is_goodbye] == []
        began = world.now
        await world.server.replace(mdns(services=[page]))
        await trio.sleep(4)
        gone = [each for each in world.heard(1, since=began, to=V4) if each.is_goodbye]
        assert {(each[0], each[1]) for one in gone for each in one.answers} == {
            ("More._ipp._tcp.local", dns.SRV),
            ("More._ipp._tcp.local", dns.TXT),
            ("_ipp._tcp.local", dns.PTR),
            ("_services._dns-sd._udp.local", dns.PTR),
        }


async def test_an_instance_that_a_reload_removes_says_goodbye(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with serving(state=tmp_path) as world:
        assert world.server is not None
        began = world.now
        await world.server.replace()
        await trio.sleep(2)
        assert [each.is_goodbye for each in world.heard(1, since=began, to=V4)] == [True]


async def test_a_service_on_another_host_has_that_host_s_addresses(autojump_clock: MockClock, tmp_path: Path) -> None:
    services = [
        {"name": "Cam", "type": "_rtsp._tcp", "port": 554, "host": "cam.local", "addresses": ["10.71.0.77"]},
        {"name": "Far", "type": "_rtsp._tcp", "port": 554, "host": "far.example.org"},
    ]
    async with serving(mdns(host="", services=services), state=tmp_path) as world:
        (heard,) = await world.ask(query("_rtsp._tcp.local", dns.PTR))
        assert heard.addresses() == ["10.71.0.77"]
        targets = {to_text(each.rdata[6:]) for each in heard.records if each.rdtype == dns.SRV}
        assert targets == {"cam.local", "far.example.org"}
        assert (await world.ask(query("cam.local", dns.A)))[0].addresses() == ["10.71.0.77"]
        assert await world.ask(query("lab.local", dns.A)) == []


async def test_types_and_subtypes_are_listed(autojump_clock: MockClock, tmp_path: Path) -> None:
    services = [
        {"name": "A", "type": "_http._tcp", "port": 1, "subtypes": ["_printer"]},
        {"name": "B", "type": "_http._tcp", "port": 2},
        {"name": "C", "type": "_ipp._tcp", "port": 3},
    ]
    async with serving(mdns(services=services), state=tmp_path) as world:
        (heard,) = await world.ask(query("_services._dns-sd._udp.local", dns.PTR))
        assert sorted(to_text(each[2]) for each in heard.answers) == ["_http._tcp.local", "_ipp._tcp.local"]
        (heard,) = await world.ask(query("_printer._sub._http._tcp.local", dns.PTR))
        assert [to_text(each[2]) for each in heard.answers] == ["A._http._tcp.local"]
        (heard,) = await world.ask(query("A._http._tcp.local", dns.TXT))
        assert heard.answers[0][2] == b"\0"  # never empty


async def test_answers_larger_than_the_mtu_are_split_at_records(autojump_clock: MockClock, tmp_path: Path) -> None:
    services = [
        {"name": f"Page number {number}", "type": "_http._tcp", "port": number, "txt": {"a": "x" * 200}}
        for number in range(60)
    ]
    services.append({"name": "Large", "type": "_big._tcp", "port": 1, "txt": {f"k{n}": "x" * 240 for n in range(20)}})
    async with serving(mdns(services=services), state=tmp_path, numbers=(1,)) as world:
        heard = await world.ask(query("_http._tcp.local", dns.PTR))
        assert len(heard) > 1
        assert len({each[2] for one in heard for each in one.answers}) == 60
        assert {each.size <= 1500 - 28 for each in heard} == {True}
        (large,) = [each for each in world.heard(to=V4, since=0) if each.size > 1500 and each.is_response][:1]
        assert [each[1] for each in large.answers] == [dns.TXT]
        probes = [each for each in world.heard(to=V4) if each.is_probe]
        assert len({to_text(q.name) for each in probes for q in each.message.questions}) == 62 + len(
            own(1, 4) + own(1, 6)
        )
        assert sum(each.size > 1472 for each in probes) == 3  # the large one, thrice


@asynccontextmanager
async def beside(world: World) -> AsyncIterator[Callable[[bytes], Awaitable[None]]]:
    """Another program on the host, on the same shared port; it says something on link 1."""
    socket = FakeClient(world.host, world.host.open_udp(5353, shared=True))

    async def say(payload: bytes) -> None:
        await socket.send(payload, V4, 5353, interface=world.interfaces[1], source="10.71.0.1")
        await settled()

    yield say
    socket.close()


REVERSE = "1.0.71.10.in-addr.arpa"


@pytest.mark.parametrize("wait", [0.3, 4.0])
async def test_another_program_on_this_host_has_the_reverse_name_and_we_are_not_renamed(
    wait: float, autojump_clock: MockClock, tmp_path: Path
) -> None:
    """It has another host name, and answers for the address too, as Avahi does."""
    theirs = record(REVERSE, dns.PTR, "beside.local", flush=True)
    async with serving(state=tmp_path, wait=wait) as world, beside(world) as say:
        began = world.now
        await say(message(question(REVERSE, dns.ANY, qu=True), authorities=[theirs._replace(rdclass=dns.IN)]))
        await say(response(theirs))
        await trio.sleep(4)
        said = [r for each in world.heard(since=began) for r in each.records if to_text(r.name) == REVERSE]
        assert {to_text(r.rdata) for r in said if r.rdtype == dns.PTR} == {"beside.local"}  # its own words
        assert await world.ask(query(REVERSE, dns.PTR)) == []
        assert len(await world.ask(query("lab.local", dns.A))) == 1
        # It ends: the name is ours again.
        await say(response(theirs._replace(ttl=0)))
        await trio.sleep(4)
        assert len(await world.ask(query(REVERSE, dns.PTR))) == 1


@pytest.mark.parametrize("answers", [True, False])
async def test_another_program_on_this_host_is_asked_before_what_it_said_ends(
    answers: bool, autojump_clock: MockClock, tmp_path: Path
) -> None:
    """One that died says no goodbye."""
    theirs = record(REVERSE, dns.PTR, "beside.local", flush=True)
    async with serving(state=tmp_path) as world, beside(world) as say:
        await say(response(theirs))
        began = world.now
        await trio.sleep(100)
        asked = [each for each in world.heard(since=began, to=V4) if not each.is_response]
        assert [(each.time - began, each.message.questions) for each in asked] == [
            (pytest.approx(96), [question(REVERSE, dns.PTR)])
        ]
        if answers:
            await say(response(theirs))
        await trio.sleep(25)
        assert len(await world.ask(query(REVERSE, dns.PTR))) == (0 if answers else 1)


@pytest.mark.parametrize("wait", [0.3, 4.0])
async def test_another_program_on_this_host_has_our_name_with_fewer_addresses(
    wait: float, autojump_clock: MockClock, tmp_path: Path
) -> None:
    """Avahi tells no link-local address where there is another; ours would be a conflict to it."""
    theirs = [record("lab.local", dns.A, "10.71.0.1", flush=True), record("lab.local", dns.AAAA, "fd71::1", flush=True)]
    async with serving(state=tmp_path, wait=wait) as world, beside(world) as say:
        await say(message(question("lab.local", dns.ANY), authorities=theirs))
        await say(response(*theirs))
        began = world.now
        await trio.sleep(4)
        said = {address for each in world.heard(since=began, to=V4) for address in each.addresses(dns.AAAA)}
        assert "fe80::1" not in said
        (heard,) = await world.ask(query("lab.local", dns.AAAA))
        assert heard.addresses(dns.AAAA) == ["fd71::1"]
        assert len(await world.ask(query("lab-2.local", dns.A))) == 0


async def test_another_program_on_this_host_is_told_in_the_log_once(
    autojump_clock: MockClock, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(state=tmp_path) as world, beside(world) as say:
        for number in range(3):
            await say(query(f"other-{number}.local", dns.A))
    assert caplog.text.count("another program on this host speaks mDNS too") == 1


async def test_another_program_on_this_host_takes_a_service_name_as_anybody_does(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    async with serving(state=tmp_path, wait=0.3) as world, beside(world) as say:
        srv = bytes(4) + (99).to_bytes(2) + record("x", dns.PTR, "beside.local").rdata
        await say(response(record("Lab page._http._tcp.local", dns.SRV, srv, flush=True)))
        await trio.sleep(4)
        (heard,) = await world.ask(query("_http._tcp.local", dns.PTR))
        assert to_text(heard.answers[0][2]) == "Lab page (2)._http._tcp.local"


async def test_a_second_daemon_on_this_host_is_no_conflict(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with serving(state=tmp_path) as world:
        began = world.now
        async with world.host.serve(mdns(), name="second", state=tmp_path):
            await trio.sleep(5)
            assert [each for each in world.heard(since=began) if "lab-2.local" in {a[0] for a in each.answers}] == []
        # The one that goes says goodbye; the one that stays corrects it (section 6.6).
        left = world.now
        await trio.sleep(2)
        for group in (V4, V6):
            said = [each for each in world.heard(since=left, to=group) if not each.is_goodbye]
            records = [r for each in said for r in each.message.answers if to_text(r.name) == "lab.local"]
            assert {(r.rdtype, r.ttl) for r in records} == {(dns.A, 120), (dns.AAAA, 120)}, group
