"""UDP responders on hosts with many interfaces and addresses: the public names, nothing else.

`responder.plugin` is the contract of plugins, `responder.datagram` what they see, `responder.errors` what is raised.
`serve`, `Instance` and `Server` are for programs that embed the framework; what they need is imported when they are
first asked for, so that a plugin does not pay for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .config.option_types import Duration, Secret, Size
from .datagram import (
    ChangeKind,
    Conversation,
    Datagram,
    Group,
    Interface,
    InterfaceAddress,
    InterfaceChange,
    IPAddress,
    IPNetwork,
    Peer,
    Reply,
    SourceGroup,
    Stranger,
    Via,
    is_link_scope_group,
)
from .errors import (
    BindError,
    ConfigError,
    ConfigErrors,
    MessageTooLong,
    NetworkError,
    PeerError,
    PluginError,
    RateExceeded,
    ResponderError,
    SendError,
    SendRefused,
    SourceUnavailable,
    Unreachable,
)
from .files import Stamp, stamp_of
from .log import Repeated, get_logger
from .plugin import (
    API_VERSION,
    PASS,
    Answer,
    Connection,
    Context,
    Exchange,
    Handler,
    Network,
    Pass,
    Plugin,
    Service,
    Stopping,
    StopReason,
)

if TYPE_CHECKING:
    from .config.instance import Instance, InstanceKeys
    from .config.reading import read_instances
    from .config.structuring import structure
    from .daemon.state import read_contexts
    from .net.clock import KernelClock, kernel_clock, wall_time
    from .net.shared_files import FileLock, private_opener
    from .server.embedding import Server, serve

    __version__: str

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
    "Exchange",
    "FileLock",
    "Group",
    "Handler",
    "IPAddress",
    "IPNetwork",
    "Instance",
    "InstanceKeys",
    "Interface",
    "InterfaceAddress",
    "InterfaceChange",
    "KernelClock",
    "MessageTooLong",
    "Network",
    "NetworkError",
    "Pass",
    "Peer",
    "PeerError",
    "Plugin",
    "PluginError",
    "RateExceeded",
    "Repeated",
    "Reply",
    "ResponderError",
    "Secret",
    "SendError",
    "SendRefused",
    "Server",
    "Service",
    "Size",
    "SourceGroup",
    "SourceUnavailable",
    "Stamp",
    "StopReason",
    "Stopping",
    "Stranger",
    "Unreachable",
    "Via",
    "__version__",
    "get_logger",
    "is_link_scope_group",
    "kernel_clock",
    "private_opener",
    "read_contexts",
    "read_instances",
    "serve",
    "stamp_of",
    "structure",
    "wall_time",
]

_WHEN_ASKED = {
    "serve": "server.embedding",
    "Instance": "config.instance",
    "InstanceKeys": "config.instance",
    "Server": "server.embedding",
    "structure": "config.structuring",
    "read_instances": "config.reading",
    "read_contexts": "daemon.state",
    "KernelClock": "net.clock",
    "kernel_clock": "net.clock",
    "wall_time": "net.clock",
    "FileLock": "net.shared_files",
    "private_opener": "net.shared_files",
}
"""Names that are imported when they are first asked for, with their modules."""

if not TYPE_CHECKING:  # a type checker would take any name for an attribute

    def __getattr__(name: str) -> Any:
        if name == "__version__":
            from importlib.metadata import version  # noqa: PLC0415 - reading the metadata is slow

            value = version("responderd")
        elif name in _WHEN_ASKED:
            from importlib import import_module  # noqa: PLC0415 - as these names are: when asked for

            value = getattr(import_module(f".{_WHEN_ASKED[name]}", __name__), name)
        else:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
