"""What a plugin's client sees is the same in every world."""

from __future__ import annotations

import dns.message
import dns.rdatatype
import pytest

from tests.lab.multihomed import Way, all_ways, unicast_ways

from .worlds import World

ECHO, GUESTS, WHOAMI = 7007, 7008, 5300

WAYS = pytest.mark.parametrize("way", all_ways(), ids=str)


def told(reply: bytes) -> tuple[str, list[str]]:
    """The address and the texts that whoami gives."""
    records = {rrset.rdtype: rrset[0] for rrset in dns.message.from_wire(reply).answer}
    texts = [text.decode() for text in records.pop(dns.rdatatype.TXT).strings]
    (address,) = records.values()
    return address.address, texts


@WAYS
async def test_the_answer_comes_from_the_address_that_was_asked(world: World, way: Way) -> None:
    payload, source = await world.ask(way, b"hello", port=ECHO)
    assert payload == b"hello"
    assert source in way.expected


@WAYS
async def test_a_plugin_sees_the_way_that_a_request_came(world: World, way: Way) -> None:
    reply, source = await world.ask(way, dns.message.make_query("x.test", "ANY").to_wire(), port=WHOAMI)
    address, texts = told(reply)
    via = next((via for via in ("multicast", "broadcast") if via in way.kind), "unicast")
    assert address == source, "what it is told it was asked by is where its answer comes from"
    assert f"via={via}" in texts
    if way.source:
        assert f"peer={way.source}" in texts


@pytest.mark.parametrize("payload", [b"", b"\0", bytes(1400), bytes(8000)], ids=len)
async def test_payloads_of_any_size_come_whole(world: World, payload: bytes) -> None:
    for way in unicast_ways():
        if way.kind.startswith("own-primary"):
            assert (await world.ask(way, payload, port=ECHO))[0] == payload


async def test_what_is_refused_gets_no_answer_and_what_follows_does(world: World) -> None:
    """Silence without waiting for it: the first answer is the one to the last request."""
    good = dns.message.make_query("x.test", "A")
    for way in unicast_ways():
        reply, _source = await world.ask(
            way, b"", b"garbage", bytes(2) + b"\x80" + bytes(9), good.to_wire(), port=WHOAMI
        )
        assert good.is_response(dns.message.from_wire(reply))


async def test_the_keys_of_an_instance_hold(world: World) -> None:
    """`deny` names client 1's prefixes; client 2 is answered."""
    for way in unicast_ways():
        if way.kind in {"own-primary-v4", "own-secondary-v6"} and way.client == 2:
            assert (await world.ask(way, b"hello", port=GUESTS))[0] == b"hello"
    (denied,) = [way for way in unicast_ways() if str(way) == "client1-own-primary-v4"]
    with pytest.raises(TimeoutError):  # on a real network this waits: silence is all there is to hear
        await world.ask(denied, b"hello", port=GUESTS)
