"""Twisted Names and dnslib with the zone of the DNS rows, as their documentation has a server.

    python -m tests.benchmarks.dns_peers twisted|dnslib PORT NAMES

Each serves `zones.ORIGIN` on 127.0.0.1 with so many names, from a dictionary: no file is parsed.  Each says
{"event": "ready"} on stderr and goes on until it is ended.  They refuse TCP, and all that isn't asked here.
"""

from __future__ import annotations

import importlib
import sys
from typing import Any

from . import zones


def ready() -> None:
    print('{"event": "ready"}', file=sys.stderr, flush=True)


def untyped(module: str) -> Any:
    """A module of a library that has no types, or only some: imported by the peer that needs it."""
    return importlib.import_module(module)


def with_twisted(port: int, names: int) -> None:
    authority, dns, server = (untyped(f"twisted.names.{part}") for part in ("authority", "dns", "server"))

    soa = dns.Record_SOA(
        mname=f"ns.{zones.ORIGIN}",
        rname=f"host.{zones.ORIGIN}",
        serial=1,
        refresh=3600,
        retry=600,
        expire=86400,
        minimum=60,
        ttl=zones.TTL,
    )
    records: dict[bytes, list[Any]] = {
        zones.ORIGIN.encode(): [soa, dns.Record_NS(f"ns.{zones.ORIGIN}", ttl=zones.TTL)],
        f"ns.{zones.ORIGIN}".encode(): [dns.Record_A("192.0.2.53", ttl=zones.TTL)],
    }
    for name, address in zones.hosts(names):
        records[f"{name}.{zones.ORIGIN}".encode()] = [dns.Record_A(address, ttl=zones.TTL)]

    class Authority(authority.FileAuthority):  # type: ignore[misc, name-defined]  # see untyped()
        def loadFile(self, filename: object) -> None:  # noqa: N802 - Twisted's name
            self.soa, self.records = (zones.ORIGIN.encode(), soa), records

    factory = server.DNSServerFactory(authorities=[Authority(None)], verbose=0)
    reactor = untyped("twisted.internet.reactor")
    reactor.listenUDP(port, dns.DNSDatagramProtocol(factory), interface="127.0.0.1")
    reactor.callWhenRunning(ready)
    reactor.run()


def with_dnslib(port: int, names: int) -> None:
    dnslib, servers = untyped("dnslib"), untyped("dnslib.server")

    class Resolver(servers.BaseResolver):  # type: ignore[misc, name-defined]  # see untyped()
        def __init__(self) -> None:
            mname, rname = f"ns.{zones.ORIGIN}", f"host.{zones.ORIGIN}"
            data = dnslib.SOA(mname, rname, (1, 3600, 600, 86400, 60))
            self.soa = dnslib.RR(zones.ORIGIN, dnslib.QTYPE.SOA, ttl=zones.TTL, rdata=data)
            self.records = {
                (f"{name}.{zones.ORIGIN}.", dnslib.QTYPE.A): dnslib.RR(
                    f"{name}.{zones.ORIGIN}", dnslib.QTYPE.A, ttl=zones.TTL, rdata=dnslib.A(address)
                )
                for name, address in zones.hosts(names)
            }

        def resolve(self, request: Any, handler: Any) -> Any:
            reply = request.reply()
            record = self.records.get((str(request.q.qname), request.q.qtype))
            if record is None:
                reply.header.rcode = dnslib.RCODE.NXDOMAIN
                reply.add_auth(self.soa)
            else:
                reply.add_answer(record)
            return reply

    silent = servers.DNSLogger(log="-request,-reply")
    server = servers.DNSServer(Resolver(), port=port, address="127.0.0.1", logger=silent)
    ready()
    server.server.serve_forever()


def main(kind: str, port: int, names: int) -> None:
    servers = {"twisted": with_twisted, "dnslib": with_dnslib}
    servers[kind](port, names)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
