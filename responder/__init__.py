"""UDP responders on hosts with many interfaces and addresses: the public names, nothing else.

`responder.plugin` is the contract of plugins, `responder.datagram` what they see, `responder.errors` what is raised.
`serve`, `Instance` and `Server` are for programs that embed the framework; what they need is imported when they are
first asked for, so that a plugin does not pay for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .config.option_types import Duration, Size
from .datagram import (
    ChangeKind,
    Conversation,
    Datagram,
    Interface,
    InterfaceAddress,
    InterfaceChange,
    IPAddress,
    IPNetwork,
    Peer,
    Reply,
    SourceGroup,
    Via,
)
from .errors import (
    BindError,
    ConfigError,
    ConfigErrors,
    MessageTooLong,
    NetworkError,
    PeerError,
    PluginError,
    ResponderError,
    SendError,
    SendRefused,
    SourceUnavailable,
    Unreachable,
)
from .plugin import (
    API_VERSION,
    PASS,
    Answer,
    Connection,
    Context,
    Handler,
    Network,
    Pass,
    Plugin,
    Service,
    Stamp,
    Stopping,
    stamp_of,
)

if TYPE_CHECKING:
    from .config.instance import Instance
    from .server.embedding import serve
    from .server.server import Server

__all__ = [
    "API_VERSION",
    "PASS",
    "Answer",
    "BindError",
    "ChangeKind",
    "ConfigError",
    "ConfigErrors",
    "Connection",
    "Context",
    "Conversation",
    "Datagram",
    "Duration",
    "Handler",
    "IPAddress",
    "IPNetwork",
    "Instance",
    "Interface",
    "InterfaceAddress",
    "InterfaceChange",
    "MessageTooLong",
    "Network",
    "NetworkError",
    "Pass",
    "Peer",
    "PeerError",
    "Plugin",
    "PluginError",
    "Reply",
    "ResponderError",
    "SendError",
    "SendRefused",
    "Server",
    "Service",
    "Size",
    "SourceGroup",
    "SourceUnavailable",
    "Stamp",
    "Stopping",
    "Unreachable",
    "Via",
    "serve",
    "stamp_of",
]

_WHEN_ASKED = {"serve": "server.embedding", "Instance": "config.instance", "Server": "server.server"}
"""Names that are imported when they are first asked for, with their modules."""

if not TYPE_CHECKING:  # a type checker would take any name for an attribute

    def __getattr__(name: str) -> Any:
        if name not in _WHEN_ASKED:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from importlib import import_module  # noqa: PLC0415 - as these names are: when asked for

        value = globals()[name] = getattr(import_module(f".{_WHEN_ASKED[name]}", __name__), name)
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
