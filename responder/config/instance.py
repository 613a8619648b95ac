"""An instance: a plugin with its options, and the keys that every plugin's table may have, laid over its services.

The keys (`InstanceKeys`) say where and for whom the plugin answers; they are the framework's, so no plugin has an
option of such a name.  `Instance.of` makes an instance from Python, by the same rules as a config file does.

`responder.config.reading` makes instances of TOML, by the plugins that are installed.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterable, Mapping
from ipaddress import IPv6Address, ip_address
from pathlib import Path
from typing import Annotated, Any, Final, TypeAlias

import attrs

from .. import datagram
from ..datagram import IPAddress, IPNetwork, SourceGroup, to_group, unscoped
from ..errors import ConfigError, ConfigErrors, PluginError
from ..files import Stamp, stamp_of
from ..log import get_logger
from ..plugin import Context, Handler, Plugin, Service
from ..threads import in_thread
from . import secrets
from .key_paths import concatenate, did_you_mean, is_under, join
from .option_types import (
    ADDRESSES,
    LEAVES,
    Kind,
    NonNegativeNumber,
    PositiveDuration,
    PositiveInteger,
    PositiveSize,
    integer,
    quiet,
)

_log = get_logger(__name__)


def _read_group(value: datagram.Group | str) -> datagram.Group:
    if isinstance(value, SourceGroup) or (isinstance(value, str) and "@" in value):
        return to_group(value)
    return to_group(_ADDRESS.read(value))


def _read_listen(value: IPAddress | str) -> IPAddress:
    """Only a link-local IPv6 address has a scope, and it has no meaning without one (RFC 4007 section 6)."""
    address = ip_address(value) if isinstance(value, str) else value
    scoped = isinstance(address, IPv6Address) and address.scope_id is not None
    plain: IPAddress = _ADDRESS.read(unscoped(address) if scoped else value)
    if plain.is_multicast:
        raise ValueError("it is a multicast address, which belongs in groups")
    if (isinstance(plain, IPv6Address) and plain.is_link_local) is not scoped:
        raise ValueError(
            "only a link-local address has a scope (%)" if scoped else f"it needs its interface, as in '{plain}%eth0'"
        )
    return address


def _read_pattern(value: str) -> str:
    if not value.removeprefix("!"):
        raise ValueError("")
    return value


_ADDRESS = LEAVES[frozenset(ADDRESSES)]

PortNumber: TypeAlias = Annotated[int, integer("port", 0, 0xFFFF)]
ConnectionsPerPeer: TypeAlias = Annotated[int, integer("number of connections", 0, 0xFFFF)]
HopLimit: TypeAlias = Annotated[int, integer("hop limit", 1, 0xFF)]
InterfacePattern: TypeAlias = Annotated[
    str, Kind("pattern of interface names", _read_pattern, example="'eth*' or '!docker*'")
]
MulticastGroup: TypeAlias = Annotated[
    datagram.Group,
    Kind("multicast address", _read_group, (*_ADDRESS.raw, SourceGroup), example="239.255.0.1 or ff02::1234"),
]
ListenAddress: TypeAlias = Annotated[IPAddress, attrs.evolve(_ADDRESS, read=quiet(_read_listen, ADDRESSES))]


@attrs.frozen(kw_only=True)
class InstanceKeys:
    """The keys of every `[plugins.NAME]` table, beside the plugin's own options.

    use              the plugin, where the table's name is not the plugin's
    port, ports      the port of a plugin's one service, or of its service "default"; `ports.NAME` of others
    groups           the multicast groups to join, in place of the service's own; `groups.NAME` with several services;
                     "GROUP@SOURCE" hears that source only (RFC 4607)
    hop_limit        IPv4's TTL and IPv6's hop limit of what is sent; `hop_limit.NAME` with several services
    listen           addresses to bind in place of the wildcard; IPv6 link-local ones with their interface (`%eth0`)
    interfaces       shell patterns of interface names; `!pattern` excludes; none: all interfaces
    allow            prefixes of the peers that may ask; none: all
    deny             prefixes of the peers that may not
    on_link          only peers on the arrival interface's own links
    rate             answers a second to a source prefix (/24, /56), with a burst of as many; 0: no bound
    amplification    bytes out to a source prefix for each byte in; 0: no bound
    max_answer       the size of one answer; a longer one is dropped and counted
    max_pending      asynchronous answers in flight; a datagram beyond it is dropped and counted
    answer_timeout   how long an asynchronous answer may take
    max_connections  TCP connections at a time; beyond it the one that is idle for longest ends, of who holds most
    connections_per_peer  those of an IPv4 address or an IPv6 /64; beyond it one of its own ends; 0: no bound
    """

    use: str | None = attrs.field(default=None, metadata={"such_as": "dns"})
    port: PortNumber | None = attrs.field(default=None, metadata={"such_as": 5353})
    ports: dict[str, PortNumber] | None = attrs.field(default=None, metadata={"such_as": {"device": 49200}})
    groups: tuple[MulticastGroup, ...] | dict[str, tuple[MulticastGroup, ...]] | None = attrs.field(
        default=None, metadata={"such_as": ["239.255.0.1"]}
    )
    hop_limit: HopLimit | dict[str, HopLimit] | None = attrs.field(default=None, metadata={"such_as": 4})
    listen: tuple[ListenAddress, ...] = attrs.field(default=(), metadata={"such_as": ["192.0.2.1", "fe80::1%eth0"]})
    interfaces: tuple[InterfacePattern, ...] = attrs.field(default=(), metadata={"such_as": ["eth*", "!eth9"]})
    allow: tuple[IPNetwork, ...] = attrs.field(default=(), metadata={"such_as": ["192.0.2.0/24", "2001:db8::/32"]})
    deny: tuple[IPNetwork, ...] = attrs.field(default=(), metadata={"such_as": ["192.0.2.66/32"]})
    on_link: bool | None = None
    rate: NonNegativeNumber | None = attrs.field(default=None, metadata={"such_as": 20})
    amplification: NonNegativeNumber | None = attrs.field(default=None, metadata={"such_as": 1.5})
    max_answer: PositiveSize | None = attrs.field(default=None, metadata={"such_as": "1k"})
    max_pending: PositiveInteger | None = attrs.field(default=None, metadata={"such_as": 1000})
    answer_timeout: PositiveDuration | None = attrs.field(default=None, metadata={"such_as": "5s"})
    max_connections: PositiveInteger | None = attrs.field(default=None, metadata={"such_as": 500})
    connections_per_peer: ConnectionsPerPeer | None = attrs.field(default=None, metadata={"such_as": 20})


INSTANCE_KEYS = frozenset(field.name for field in attrs.fields(InstanceKeys))

DEFAULT: Final = "default"
"""The name of a service that was given none; `port` is its port."""

# Of one service, by its name where there are several.
_ONE_SERVICES_KEYS = {"use", "port", "ports", "groups", "hop_limit"}
# For all services of the instance; None keeps each service's own value.
_ALL_SERVICES_KEYS = (
    *("on_link", "rate", "amplification", "max_answer"),
    *("max_pending", "answer_timeout", "max_connections", "connections_per_peer"),
)
# Of the instance.
_OWN_KEYS = INSTANCE_KEYS - _ONE_SERVICES_KEYS - set(_ALL_SERVICES_KEYS)


def is_of_all_services(key: str) -> bool:
    """Does the key hold for all services of an instance, each having a default of its own?"""
    return key in _ALL_SERVICES_KEYS


@attrs.frozen
class Instance:
    """One table of the config, checked; the fields without a word here are those of `InstanceKeys`.

    name      the instance's name
    plugin    with its options
    services  the plugin's, with the instance's keys laid over them
    folder    what relative files start from
    """

    name: str
    plugin: Plugin
    services: tuple[Service, ...]
    listen: tuple[IPAddress, ...] = ()
    interfaces: tuple[str, ...] = ()
    allow: tuple[IPNetwork, ...] = ()
    deny: tuple[IPNetwork, ...] = ()
    folder: Path = attrs.field(factory=Path.cwd)

    @classmethod
    def of(cls, plugin: Plugin, name: str | None = None, *, folder: Path | None = None, **keys: Any) -> Instance:
        """An instance from Python: `Instance.of(Echo(), port=7007, groups=["239.255.70.7"], interfaces=["eth*"])`.

        `name` is the class' in small letters unless given, `keys` are those of `InstanceKeys` without `use`; values
        may be as in TOML or of their Python types.  Raises ConfigErrors.
        """
        name = name or type(plugin).__name__.lower()
        path = join("plugins", name)
        folder = folder or Path.cwd()
        if "use" in keys:
            raise ConfigErrors([ConfigError("the plugin is given already", path=join(path, "use"))])
        read = read_keys(keys, path=path, folder=folder)
        services = overlaid(plugin.chosen_services(), read, path=path)
        return cls.with_keys(name, plugin, services, read, folder=folder)

    @classmethod
    def with_keys(
        cls, name: str, plugin: Plugin, services: tuple[Service, ...], keys: InstanceKeys, *, folder: Path
    ) -> Instance:
        """An instance with those of the keys that `overlaid` has not laid over the services already."""
        others = attrs.asdict(keys, recurse=False, filter=lambda field, _value: field.name in _OWN_KEYS)
        return cls(name, plugin, services, folder=folder, **others)


def read_keys(table: Mapping[str, Any], *, path: str, folder: Path) -> InstanceKeys:
    """Raises ConfigErrors."""
    from .structuring import structure  # noqa: PLC0415 - cattrs is slow to import, and the embedded default needs none

    return structure(table, InstanceKeys, path=path, folder=folder)


def overlaid(services: tuple[Service, ...], keys: InstanceKeys, *, path: str) -> tuple[Service, ...]:
    """The services as the keys change them.  Raises ConfigErrors."""
    errors: list[ConfigError] = []
    names = [service.name for service in services]
    changes: dict[str, dict[str, Any]] = {name: {} for name in names}

    def lay(key: str, field: str, value: Any) -> None:
        """`value` is for the one service, or, being a table, for each by name."""
        here = join(path, key)
        by_name = "ports" if field == "port" else field
        if value is None:
            return
        if not names:
            errors.append(ConfigError("the plugin has no service that this could be for", path=here))
        elif isinstance(value, dict) and len(names) > 1:
            for name, own in value.items():
                if name in changes and field in changes[name]:
                    errors.append(ConfigError(f"given twice: {field} is this one's too", path=join(here, name)))
                elif name in changes:
                    changes[name][field] = own
                else:
                    hint = did_you_mean(name, names) or f"there are: {', '.join(names)}"
                    errors.append(ConfigError(f"no such service; {hint}", path=join(here, name)))
        elif isinstance(value, dict):
            errors.append(ConfigError(f"the plugin has one service: write {field} = ...", path=here))
        elif len(names) > 1 and field == "port" and DEFAULT in names:
            changes[DEFAULT][field] = value
        elif len(names) > 1:
            wanted = ", ".join(f"{by_name}.{name}" for name in names)
            errors.append(ConfigError(f"the plugin has several services: write {wanted}", path=here))
        else:
            changes[names[0]][field] = value

    lay("port", "port", keys.port)
    lay("ports", "port", keys.ports)
    lay("groups", "groups", keys.groups)
    lay("hop_limit", "hop_limit", keys.hop_limit)
    common = {key: getattr(keys, key) for key in _ALL_SERVICES_KEYS if getattr(keys, key) is not None}
    result = tuple(attrs.evolve(service, **common, **changes[service.name]) for service in services)
    grouped = [service.name for service in result if service.groups]
    if keys.listen and grouped:
        own = ", ".join(f"groups.{name} = []" for name in grouped) if len(names) > 1 else "groups = []"
        hint = "" if keys.groups else f"; {own} switches the plugin's own off"
        message = f"not together with groups: a socket bound to an address hears none{hint}"
        errors.append(ConfigError(message, path=join(path, "listen")))
    if errors:
        raise ConfigErrors(errors)
    return result


@attrs.frozen(eq=False)
class Prepared:
    """An instance with its handler, the files that its plugin read, each as it was then, what is served without, and
    what the operator is warned of.

    Where its plugin failed (`failure`) the handler is one that passes everything on.
    """

    instance: Instance
    handler: Handler
    files: Mapping[Path, Stamp] = attrs.field(factory=dict)
    complaints: tuple[ConfigError, ...] = ()
    warnings: tuple[ConfigError, ...] = ()
    failure: PluginError | None = None

    def is_current(self, instance: Instance) -> bool:
        """Would preparing that instance give the same again?  Looks at the files; a failure may have passed."""
        return (
            self.failure is None
            and self.instance == instance
            and all(stamp_of(path) == stamp for path, stamp in self.files.items())
        )


def context_of(instance: Instance, state: Path | None) -> Context:
    """What a plugin prepares with; `state` is the folder below which each instance has one for its state."""
    return Context(instance.name, instance.folder, None if state is None else state / instance.name)


def prepare(instance: Instance, state: Path | None = None) -> Prepared:
    """Let the plugin prepare its handler, in this thread: it may read files, so call it in one of its own.

    `state` is as in `context_of`.  Raises ConfigErrors with paths under the
    instance's, PluginError for whatever else the plugin raises.
    """
    context = context_of(instance, state)
    path = join("plugins", instance.name)
    try:
        handler = instance.plugin.prepare(context)
    except ConfigErrors as error:
        raise ConfigErrors(_under(instance, error.errors)) from error
    except ConfigError as error:
        raise ConfigErrors(_under(instance, [error])) from error
    except PluginError as error:
        failure = _failure(instance, str(error), error)
        raise failure from failure.__cause__
    except (Exception, SystemExit) as error:
        failure = _failure(instance, f"prepare failed: {type(error).__name__}: {error}", error)
        raise failure from failure.__cause__
    missing = [name for name in ("respond", "converse", "run") if not callable(getattr(handler, name, None))]
    if missing:
        raise PluginError(f"{path}: prepare returned {handler!r}, which is no handler: it has no {', '.join(missing)}")
    complaints = tuple(_under(instance, context.complaints))
    warnings = tuple(_under(instance, context.warnings))
    return Prepared(instance, handler, dict(context.files), complaints, warnings)


def failed(instance: Instance, error: PluginError) -> Prepared:
    """What stands for an instance whose plugin failed; logs why."""
    _log.error("the plugin can't start", exc_info=error.__cause__ or error, plugin=instance.name)
    return Prepared(instance, Handler(), failure=error)


def no_one(_name: str) -> bool:
    return False


async def prepare_all(
    instances: Iterable[Instance],
    present: Iterable[Prepared] = (),
    *,
    may_fail: Callable[[str], bool] = no_one,
    state: Path | None = None,
) -> list[Prepared]:
    """Each instance, prepared in a thread; one of `present` where it is still what it would be.

    `state` is as in `context_of`.
    A plugin that fails, through no mistake of the configuration, is logged and kept as failed where `may_fail` says so
    of the instance's name, so that the others serve.  A cancelled call leaves a `prepare` that hangs to itself: it must
    not hold up the end.

    Raises ConfigErrors with the mistakes of all of them.
    """
    by_name = {each.instance.name: each for each in present}
    prepared: list[Prepared] = []
    errors: list[ConfigError] = []
    for instance in instances:
        old = by_name.get(instance.name)
        try:
            if old is not None and await in_thread(old.is_current, instance, abandon_on_cancel=True):
                prepared.append(old)
            else:
                prepared.append(await in_thread(prepare, instance, state, abandon_on_cancel=True))
        except ConfigErrors as several:
            errors.extend(several.errors)
        except PluginError as error:
            if may_fail(instance.name):
                prepared.append(failed(instance, error))
            else:
                path = join("plugins", instance.name)
                errors.append(ConfigError(str(error).removeprefix(f"{path}: "), path=path))
    if errors:
        raise ConfigErrors(errors)
    return prepared


def _under(instance: Instance, errors: Iterable[ConfigError]) -> Iterable[ConfigError]:
    """A plugin knows its options' names, but not the instance's; its messages may repeat its secrets."""
    path = join("plugins", instance.name)
    hide = secrets.hiding(secrets.secrets_of(instance.plugin), instance.plugin)
    for error in errors:
        where = error.path if is_under(error.path, path) else concatenate(path, error.path)
        yield ConfigError(hide(error.message), path=where, file=error.file, line=error.line)


def _failure(instance: Instance, message: str, cause: BaseException) -> PluginError:
    """What `prepare` raised, without the plugin's secrets; with its cause unless that would show one."""
    hide = secrets.hiding(secrets.secrets_of(instance.plugin), instance.plugin)
    failure = PluginError(hide(f"{join('plugins', instance.name)}: {message}"))
    shown = "".join(traceback.format_exception(cause))
    failure.__cause__ = cause if hide(shown) == shown else None
    return failure
