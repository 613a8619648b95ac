"""`ADDRESS:PORT` as the config has it for what the daemon itself listens on.

No other name than `localhost` is taken: looking one up takes a network.
"""

from __future__ import annotations

from ipaddress import ip_address

import attrs

from ..datagram import IPAddress, unscoped


@attrs.frozen
class Endpoint:
    """Where to listen: an address, None for all of the host's, and a port (0: the system chooses)."""

    address: IPAddress | None
    port: int

    @classmethod
    def parse(cls, text: str) -> Endpoint:
        """Read `192.0.2.1:9153`, `[2001:db8::1]:9153`, `localhost:9153` (127.0.0.1) or `:9153`.

        Raises ValueError with the reason.
        """
        host, colon, port = text.rpartition(":")
        if not colon or not (port.isascii() and port.isdecimal() and len(port) <= 5) or int(port) > 0xFFFF:
            raise ValueError("there is no port (0..65535) after a colon")
        if not host:
            return cls(None, int(port))
        if host == "localhost":  # it needs no look-up (RFC 6761 section 6.3)
            return cls(ip_address("127.0.0.1"), int(port))
        bracketed = host.startswith("[") and host.endswith("]")
        address = ip_address(host[1:-1] if bracketed else host)
        if bracketed != (address.version == 6):
            raise ValueError("an IPv6 address, and no other, stands in brackets")
        if address.version == 6 and address.scope_id is not None:
            raise ValueError("a scope (%) has no meaning here")
        return cls(unscoped(address), int(port))

    def __str__(self) -> str:
        if self.address is None:
            return f":{self.port}"
        return f"[{self.address}]:{self.port}" if self.address.version == 6 else f"{self.address}:{self.port}"
