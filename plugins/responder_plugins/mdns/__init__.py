"""mDNS and DNS-SD: a host and services that are found on each link, with that link's addresses (see README.md).

The design, from the inside out; time comes from outside wherever something waits:

    responder_plugins.shared.dns_message    messages as bytes: reader, writer
    names       text <-> names, the next name when one is taken
    records     what a link is told: claims (names that are wanted) and entries (records), a zone that finds answers
    message     answers, probes, goodbyes, within the MTU
    answering   Channel, one family on a link: which answers, to whom, when
    beside      what another program on this host tells, for which a link makes room
    link        Link: probing, announcing, conflicts; has a channel for each family
    announcer   links that come and go, a clock for them, the folder of service files, goodbyes
    handler     a datagram goes to its link
    querier, publisher, commands    what the commands do, without a daemon
    options, service_files, numbers, host    what is configured, and what is kept

A link shares nothing with another: names, conflicts, known answers and rates are its own, so that nothing of one link
is heard of on another.  A datagram's way: `handler.respond` reads it, `Link.receive` sees whether it touches a name of
ours, `Channel.query` answers it at once or puts the answer off; `Announcer` wakes when something is due.  At a
reload the new handler takes the links over from the old one, so that names stay established.

The options stand here; all else is imported by `prepare`, so that a command that only lists plugins need not pay for
it.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import attrs

from responder import Plugin, Service

from .names import composed
from .options import ServiceOptions, are_services, is_host_label

if TYPE_CHECKING:
    from responder import Context, Handler

__all__ = ["Mdns", "ServiceOptions"]


@attrs.frozen
class Mdns(Plugin):
    """Makes this host and its services found on every link (RFC 6762, RFC 6763).

    host          its name: "lab" is lab.local; this host's own where it is left out, none where it is ""
    services      what can be found (DNS-SD)
    services_dir  a folder of more: such tables (*.toml), and Avahi's service files (*.service)
    """

    host: str | None = attrs.field(default=None, converter=attrs.converters.optional(composed), validator=is_host_label)
    offered: tuple[ServiceOptions, ...] = attrs.field(default=(), alias="services", validator=are_services)
    services_dir: Path | None = None

    services: ClassVar[tuple[Service, ...]] = (
        Service(
            port=5353,
            groups=["224.0.0.251", "ff02::fb"],
            hop_limit=255,  # RFC 6762 section 11
            shared=True,
            on_link=True,
        ),
    )

    def __attrs_post_init__(self) -> None:
        if self.host == "" and any(not service.host for service in self.offered):
            raise ValueError('services: one without `host` is on this host, which has no name (host = "")')

    def prepare(self, context: Context) -> Handler:
        """The handler; complains of service files that are wrong."""
        from .handler import MdnsHandler  # noqa: PLC0415 - see the module's docstring

        return MdnsHandler.of(self, context)
