"""SkyDNS' layout: the examples of CoreDNS' README, what its code does beyond them, and values that are none."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from typing import Any

import dns.message
import dns.name
import pytest
from responder_plugins.dns.answer.processor import QueryProcessor, Settings
from responder_plugins.dns.etcd.services import Services
from responder_plugins.dns.etcd.skydns import read_name, read_value
from responder_plugins.dns.handler import DnsHandler
from responder_plugins.dns.zone.catalog import Catalog
from responder_plugins.dns.zone.edit import apply
from responder_plugins.dns.zone.tables import Zone

from tests.plugins.dns.support import ask, texts

ORIGIN = "skydns.local"


def wire(name: str) -> bytes:
    return dns.name.from_text(name).to_digestable()


def services_of(values: Mapping[str, Any], *zones: str) -> Services:
    services = Services([wire(zone) for zone in zones or (ORIGIN,)])
    for key, value in values.items():
        services.put(read_name(b"/skydns/" + key.encode(), b"/skydns/"), read_value(json.dumps(value).encode()))
    return services


def handler_of_zones(*zones: Zone) -> DnsHandler:
    catalog = Catalog.of({zone.origin: zone for zone in zones})
    return DnsHandler(QueryProcessor(Settings(), catalog))


def answers(values: Mapping[str, Any], name: str, rdtype: str, *zones: str) -> tuple[int, list[str], list[str]]:
    """Rcode, answer section and additional section."""
    services = services_of(values, *zones)
    handler = handler_of_zones(*(services.zone_of(origin, 7) for origin in services.zones))
    replies = [ask(handler, dns.message.make_query(name, rdtype)) for _ in range(3)]
    # Asked anew, compiled and remembered, it is the same.
    assert len({str(sorted(texts(reply.answer))) for reply in replies}) == 1
    return replies[0].rcode(), sorted(texts(replies[0].answer)), sorted(texts(replies[0].additional))


def found(values: Mapping[str, Any], name: str, rdtype: str, *zones: str) -> list[str]:
    """The answer section, which there is."""
    rcode, answer, _ = answers(values, name, rdtype, *zones)
    assert rcode == 0
    return answer


APEX = {
    "local/skydns/dns/apex/x1": {"host": "1.1.1.1", "ttl": 60},
    "local/skydns/dns/apex/x2": {"host": "1.1.1.2", "ttl": 60},
    "local/skydns/dns/apex/x3": {"host": "2003::8:1", "ttl": 60},
    "local/skydns/dns/apex/x4": {"host": "2003::8:2", "ttl": 60},
}


class TestReadme:
    """What the README of CoreDNS' plugin shows."""

    def test_the_zones_own_addresses(self) -> None:
        assert found(APEX, ORIGIN, "A") == ["skydns.local. 60 A 1.1.1.1", "skydns.local. 60 A 1.1.1.2"]
        assert found(APEX, ORIGIN, "AAAA") == ["skydns.local. 60 AAAA 2003::8:1", "skydns.local. 60 AAAA 2003::8:2"]

    def test_srv(self) -> None:
        values = {"local/skydns/x5": {"host": "skydns-local.server", "ttl": 60, "priority": 10, "port": 8080}}
        assert found(values, ORIGIN, "SRV") == ["skydns.local. 60 SRV 10 100 8080 skydns-local.server."]
        assert found(values, "x5.skydns.local", "SRV") == ["x5.skydns.local. 60 SRV 10 100 8080 skydns-local.server."]
        # The same key is an alias to who asks for addresses.
        assert found(values, "x5.skydns.local", "A") == ["x5.skydns.local. 60 CNAME skydns-local.server."]

    def test_txt(self) -> None:
        values = {
            "local/skydns/x6": {"ttl": 60, "text": "this is a random text message."},
            "local/skydns/x7": {"ttl": 60, "text": "this is a another random text message."},
        }
        assert found(values, ORIGIN, "TXT") == [
            'skydns.local. 60 TXT "this is a another random text message."',
            'skydns.local. 60 TXT "this is a random text message."',
        ]

    def test_ptr(self) -> None:
        values = {"arpa/in-addr/10/0/0/127": {"host": "reverse.skydns.local."}}
        zone = "0.0.10.in-addr.arpa"
        assert found(values, "127.0.0.10.in-addr.arpa", "PTR", zone) == [
            "127.0.0.10.in-addr.arpa. 300 PTR reverse.skydns.local."
        ]
        assert answers(values, "126.0.0.10.in-addr.arpa", "PTR", zone)[0] == 3
        assert found(values, "127.0.0.10.in-addr.arpa", "A", zone) == []

    def test_a_name_has_what_is_below_it(self) -> None:
        values = {
            "test/skydns/mx/a": {"host": "10.0.0.1", "priority": 50, "mail": True},
            "test/skydns/mx/b": {"host": "10.0.0.2"},
            "test/skydns/mx/deep/er": {"host": "10.0.0.3"},
            "test/skydns/mx1": {"host": "10.0.0.9"},
        }
        zone = "skydns.test"
        assert found(values, "mx.skydns.test", "A", zone) == [
            f"mx.skydns.test. 300 A 10.0.0.{number}" for number in (1, 2, 3)
        ]
        assert found(values, "mx1.skydns.test", "A", zone) == ["mx1.skydns.test. 300 A 10.0.0.9"]
        assert found(values, "deep.mx.skydns.test", "A", zone) == ["deep.mx.skydns.test. 300 A 10.0.0.3"]
        rcode, answer, additional = answers(values, "mx.skydns.test", "MX", zone)
        assert (rcode, answer) == (0, ["mx.skydns.test. 300 MX 50 a.mx.skydns.test."])
        assert additional == ["a.mx.skydns.test. 300 A 10.0.0.1"]

    def test_servers_of_the_zone(self) -> None:
        values = {
            "local/skydns/dns/ns/a": {"host": "10.0.0.53", "ttl": 60},
            "local/skydns/dns/ns/b": {"host": "2001:db8::53"},
        }
        rcode, answer, additional = answers(values, ORIGIN, "NS")
        assert rcode == 0
        assert answer == [f"skydns.local. 60 NS {name}.ns.dns.skydns.local." for name in "ab"]
        assert additional == ["a.ns.dns.skydns.local. 60 A 10.0.0.53", "b.ns.dns.skydns.local. 300 AAAA 2001:db8::53"]


class TestZone:
    """SOA and NS records are made, since a zone has them."""

    def test_what_is_made(self) -> None:
        assert found({}, ORIGIN, "SOA") == [
            "skydns.local. 30 SOA ns.dns.skydns.local. hostmaster.skydns.local. 7 7200 1800 86400 30"
        ]
        assert found({}, ORIGIN, "NS") == ["skydns.local. 30 NS ns.dns.skydns.local."]
        assert answers({}, "www.skydns.local", "A")[0] == 3

    def test_a_name_that_stands_between_exists(self) -> None:
        values = {"local/skydns/a/b/c": {"text": "x"}}
        for name in ("a", "b.a", "c.b.a"):
            assert found(values, f"{name}.skydns.local", "A") == []
        assert answers(values, "x.c.b.a.skydns.local", "A")[0] == 3

    def test_an_alias_is_followed(self) -> None:
        values = {"local/skydns/www": {"host": "web.skydns.local", "ttl": 9}, "local/skydns/web": {"host": "10.0.0.1"}}
        assert found(values, "www.skydns.local", "A") == [
            "web.skydns.local. 300 A 10.0.0.1",
            "www.skydns.local. 9 CNAME web.skydns.local.",
        ]

    def test_no_alias_leads_to_itself_or_below(self) -> None:
        for host in ("x.skydns.local", "w.x.skydns.local"):
            assert found({"local/skydns/x/w": {"host": host}}, "x.skydns.local", "CNAME") == []

    def test_of_several_aliases_there_is_none(self) -> None:
        values = {"local/skydns/db/a": {"host": "one.test"}, "local/skydns/db/b": {"host": "two.test"}}
        assert found(values, "db.skydns.local", "A") == []
        assert found(values, "db.skydns.local", "SRV") == [
            "db.skydns.local. 300 SRV 10 50 0 one.test.",
            "db.skydns.local. 300 SRV 10 50 0 two.test.",
        ]

    def test_a_zone_has_no_alias(self) -> None:
        assert found({"local/skydns/www": {"host": "one.test"}}, ORIGIN, "A") == []


class TestServices:
    def test_weights_are_shares_among_a_priority(self) -> None:
        values = {
            "local/skydns/s/a": {"host": "10.0.0.1", "port": 1, "weight": 10},
            "local/skydns/s/b": {"host": "10.0.0.2", "port": 2, "weight": 20},
            "local/skydns/s/c": {"host": "10.0.0.3", "port": 3, "priority": 20},
            "local/skydns/s/d": {"host": "10.0.0.4", "port": -1},
        }
        _, answer, additional = answers(values, "s.skydns.local", "SRV")
        # 10 and 20 of 130, since the one without a port counts as 100.
        assert answer == [
            "s.skydns.local. 300 SRV 10 15 2 b.s.skydns.local.",
            "s.skydns.local. 300 SRV 10 7 1 a.s.skydns.local.",
            "s.skydns.local. 300 SRV 20 100 3 c.s.skydns.local.",
        ]
        assert additional == [
            f"{name}.s.skydns.local. 300 A 10.0.0.{number}" for name, number in zip("abc", (1, 2, 3), strict=True)
        ]

    def test_external_dns_strips_the_label_that_it_adds(self) -> None:
        values = {
            "local/skydns/web/4ab1": {"host": "10.0.0.1", "text": "heritage=external-dns", "targetstrip": 1, "ttl": 5}
        }
        assert found(values, "web.skydns.local", "A") == ["web.skydns.local. 5 A 10.0.0.1"]
        _, answer, additional = answers(values, "web.skydns.local", "SRV")
        assert answer == ["web.skydns.local. 5 SRV 10 100 0 web.skydns.local."]
        assert additional == ["web.skydns.local. 5 A 10.0.0.1"]
        assert found(values, "web.skydns.local", "TXT") == []  # beside an address it is a remark

    def test_stripping_more_than_there_is_strips_nothing(self) -> None:
        values = {"local/skydns/web": {"host": "10.0.0.1", "targetstrip": 3}}
        assert found(values, "web.skydns.local", "SRV") == ["web.skydns.local. 300 SRV 10 100 0 web.skydns.local."]

    def test_groups(self) -> None:
        """As CoreDNS' test of groups has them."""

        def hosts(groups: Mapping[str, str]) -> list[str]:
            values = {
                f"local/skydns/dom/{key}": {"host": f"10.0.0.{number}", "group": group}
                for number, (key, group) in enumerate(groups.items(), 1)
            }
            return [line.rpartition(".")[2] for line in found(values, "dom.skydns.local", "A")]

        assert hosts({"a": "g1", "b": "g1", "sub/c": "g1", "sub/d": "g2"}) == ["1", "2", "3"]
        assert hosts({"a": "g1", "b": "g2", "sub/c": "g1"}) == ["1", "2", "3"]  # the shortest disagree
        assert hosts({"a": "g1", "sub/c": "", "sub/d": "g2"}) == ["1", "2"]
        assert hosts({"a": "", "b": "g1", "c": "g2"}) == ["1", "2", "3"]

    def test_one_ttl_for_a_set(self) -> None:
        values = {
            "local/skydns/a/1": {"host": "10.0.0.1", "ttl": 60},
            "local/skydns/a/2": {"host": "10.0.0.2", "ttl": 9},
        }
        assert {line.split()[1] for line in found(values, "a.skydns.local", "A")} == {"9"}

    def test_equal_hosts_are_one_record(self) -> None:
        values = {f"local/skydns/a/{number}": {"host": "10.0.0.1"} for number in range(3)}
        assert found(values, "a.skydns.local", "A") == ["a.skydns.local. 300 A 10.0.0.1"]

    def test_a_long_text_is_several_strings(self) -> None:
        (line,) = found({"local/skydns/t": {"text": "x" * 300}}, "t.skydns.local", "TXT")
        assert line.endswith(f'TXT "{"x" * 255}" "{"x" * 45}"')

    def test_a_mapped_address_is_an_ipv4_one(self) -> None:
        assert found({"local/skydns/a": {"host": "::ffff:10.0.0.1"}}, "a.skydns.local", "A")

    def test_more_services_than_a_message_holds(self) -> None:
        values = {
            f"local/skydns/many/s{number:05}": {"host": f"10.0.{number >> 8}.{number & 255}"} for number in range(5000)
        }
        services = services_of(values)
        zone = services.zone_of(wire(ORIGIN), 7)
        many = zone.rrset(wire(f"many.{ORIGIN}"), 1)
        assert many is not None
        assert len(many.rdatas) == 1000
        assert len(zone.nodes) == 5002


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("", "no JSON"),
        ("{", "no JSON"),
        ("[" * 60000, "no JSON"),
        ("[]", "no JSON object"),
        ("{}", "neither host nor text"),
        ('{"host": ""}', "neither host nor text"),
        ('{"host": 7}', "host is no text"),
        ('{"host": "a..b"}', "host is neither an address nor a domain name"),
        (json.dumps({"host": "a." * 200}), "host is neither an address nor a domain name"),
        ('{"host": "1.1.1.1", "port": "80"}', "port is no integer from -1 to 65535"),
        ('{"host": "1.1.1.1", "port": 1e3}', "port is no integer from -1 to 65535"),
        ('{"host": "1.1.1.1", "priority": 65536}', "priority is no integer from 0 to 65535"),
        ('{"host": "1.1.1.1", "weight": true}', "weight is no integer from 0 to 65535"),
        ('{"host": "1.1.1.1", "ttl": -1}', "ttl is no integer from 0 to 2147483647"),
        ('{"host": "1.1.1.1", "mail": 1.5}', "mail is neither true nor false"),
        ('{"text": "\\ud800"}', "text is no Unicode text"),
        ('{"text": "' + "x" * 70000 + '"}', "a value of 70012 bytes"),
    ],
)
def test_values_that_are_no_services(value: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        read_value(value.encode())


@pytest.mark.parametrize(
    ("key", "reason"),
    [
        (b"", "empty label"),
        (b"a//b", "empty label"),
        (b"a/b/", "empty label"),
        (b"a.b", "a dot or a capital letter"),
        (b"A", "a dot or a capital letter"),
        (b"x" * 64, "more than 63 bytes"),
        (b"/".join([b"x" * 60] * 5), "more than 255 bytes"),
    ],
)
def test_keys_that_are_no_names(key: bytes, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        read_name(b"/skydns/" + key, b"/skydns/")


def contents(zone: Zone) -> list[tuple[bytes, int, int, tuple[bytes, ...]]]:
    sets = [(each.name, each.rdtype, each.ttl, tuple(sorted(each.rdatas))) for each in zone.rrsets()]
    return sorted(each for each in sets if each[1] != 6)


def test_changes_give_the_zones_that_are_made_anew() -> None:
    """Whatever changes, in any order: names, and names between, come and go."""
    chance = random.Random(19)  # noqa: S311 - to be the same each time
    zones = (ORIGIN, "sub.skydns.local", "0.10.in-addr.arpa")
    services = services_of({}, *zones)
    kept = {origin: services.zone_of(origin, 1) for origin in services.zones}
    labels = ["a", "b", "sub", "dns", "apex", "ns"]
    hosts = ["10.0.0.1", "10.0.0.2", "2001:db8::1", "a.skydns.local", "elsewhere.test"]

    def key() -> str:
        if chance.random() < 0.1:
            return f"arpa/in-addr/10/0/{chance.randrange(3)}/{chance.randrange(3)}"
        return "/".join(["local", "skydns", *(chance.choice(labels) for _ in range(chance.randrange(1, 4)))])

    def value() -> dict[str, Any]:
        return {
            "host": chance.choice(hosts),
            "port": chance.choice([0, 80]),
            "ttl": chance.choice([30, 60]),
            "mail": chance.random() < 0.3,
            "group": chance.choice(["", "", "g1", "g2"]),
            "targetstrip": chance.choice([0, 0, 1]),
            **({"text": "t"} if chance.random() < 0.2 else {}),
        }

    for serial in range(2, 400):
        changed = set()
        for _ in range(chance.randrange(1, 4)):
            name = read_name(b"/" + key().encode(), b"/")
            changed.add(name)
            if chance.random() < 0.4:
                services.delete(name)
            else:
                services.put(name, read_value(json.dumps(value()).encode()))
        for origin, zone in kept.items():
            names = [name for name in changed if name.endswith(origin)]
            change = services.change_of(zone, names, serial)
            if change is not None:
                apply(zone, change)
                assert zone.serial == serial
            fresh = services.zone_of(origin, serial)
            assert contents(zone) == contents(fresh)
            assert zone.nodes.keys() == fresh.nodes.keys()
