"""UDP responders on hosts with many interfaces and addresses: the public names, nothing else.

`responder.plugin` is the contract of plugins, `responder.datagram` what they see, `responder.errors` what is raised.
"""

from __future__ import annotations

from .datagram import Conversation, Datagram, Interface, InterfaceAddress, IPAddress, IPNetwork, Peer, Reply, Via
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
    Stopping,
)

__all__ = [
    "API_VERSION",
    "PASS",
    "Answer",
    "BindError",
    "ConfigError",
    "ConfigErrors",
    "Connection",
    "Context",
    "Conversation",
    "Datagram",
    "Handler",
    "IPAddress",
    "IPNetwork",
    "Interface",
    "InterfaceAddress",
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
    "Service",
    "SourceUnavailable",
    "Stopping",
    "Unreachable",
    "Via",
]
