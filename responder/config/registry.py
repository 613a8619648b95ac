"""What is installed: the entry points of the group `responder.plugins`, and the plugin classes behind them.

Naming what is there imports nothing of it, and loading one plugin does not load the others, so that a broken one is
only a problem for those who use it.  Each rule of `responder.plugin` that can be told from the class alone is checked
when it is loaded.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from importlib.metadata import EntryPoint, entry_points
from typing import Any

import attrs

from ..errors import PluginError
from ..plugin import API_VERSION, Handler, Plugin, Service
from .instance import INSTANCE_KEYS
from .key_paths import did_you_mean, option_key
from .type_names import unsupported

GROUP = "responder.plugins"


@attrs.frozen(slots=False)
class Entry:
    """A plugin's name with the entry points that bring it; more than one is a conflict, told on use."""

    name: str
    entry_points: tuple[EntryPoint, ...]

    @cached_property
    def distribution(self) -> str:
        """The distribution's name; read from its metadata when first asked for, as the version is."""
        return ", ".join(entry.dist.name for entry in self.entry_points if entry.dist is not None)

    @cached_property
    def version(self) -> str:
        """The distribution's version."""
        return ", ".join(entry.dist.version for entry in self.entry_points if entry.dist is not None)

    def __str__(self) -> str:
        return f"plugin {self.name!r} of {self.distribution} {self.version}"

    def load(self) -> type[Plugin]:
        """Import the class and check it.  Raises PluginError."""
        if len(self.entry_points) > 1:
            raise PluginError(f"plugin {self.name!r} is brought by several distributions: {self.distribution}")
        try:
            cls = self.entry_points[0].load()
        except (Exception, SystemExit) as error:
            raise PluginError(f"{self} can't be imported: {type(error).__name__}: {error}") from error
        if not (isinstance(cls, type) and issubclass(cls, Plugin)):
            raise PluginError(f"{self} is no subclass of responder.Plugin: {self.entry_points[0].value}")
        require_contract(cls, str(self))
        return cls


def installed() -> dict[str, Entry]:
    """Every plugin by name, in the order of names; nothing is imported."""
    found: dict[str, list[EntryPoint]] = {}
    for entry in entry_points(group=GROUP):
        found.setdefault(entry.name, []).append(entry)
    return {name: Entry(name, tuple(found[name])) for name in sorted(found)}


def find(name: str, entries: Mapping[str, Entry] | None = None) -> Entry:
    """One of `installed`, or of `entries`.  Raises PluginError, with the nearest name, where none is installed."""
    entries = installed() if entries is None else entries
    if name in entries:
        return entries[name]
    hint = did_you_mean(name, entries)
    near = f"; {hint}" if hint else ""
    raise PluginError(f"no plugin {name!r} is installed{near} (installed: {', '.join(entries) or 'none'})")


def load(name: str) -> type[Plugin]:
    """The class of one plugin, checked; the others stay unloaded.  Raises PluginError."""
    return find(name).load()


def require_contract(cls: type[Plugin], name: str) -> None:
    """Raises PluginError, with the rules of the contract that the class breaks."""
    broken = "; ".join(_broken_rules(cls))
    if broken:
        raise PluginError(f"{name}: {broken}")


def _broken_rules(cls: type[Plugin]) -> Iterator[str]:
    """The rules of the contract that a class breaks, a line each."""
    if cls.api != API_VERSION:
        yield f"it is written for version {cls.api} of the plugin contract, this is version {API_VERSION}"
        return
    # Looked for in the class itself: an inherited one would miss the subclass' fields.
    if "__attrs_attrs__" not in vars(cls):
        yield f"{cls.__name__} is no attrs class: decorate it with attrs.frozen"
        return
    attrs_class: type[Any] = cls
    for field in attrs.fields(attrs_class):
        if field.init and option_key(field) in INSTANCE_KEYS:
            yield f"option {option_key(field)!r} has the name of an instance key; choose another"
    yield from unsupported(cls)
    services = cls.services
    if not isinstance(services, tuple | list):
        yield "its services are no tuple: write (Service(...),), with the comma"
        return
    if not all(isinstance(service, Service) for service in services):
        yield "its services are not all of the class Service"
        return
    names = [service.name for service in services]
    for name in dict.fromkeys(name for name in names if names.count(name) > 1):
        yield f"two of its services have the name {name!r}"
    # A `prepare` of its own may return a handler that has what is missing here.
    if cls.prepare is Plugin.prepare and cls.run is Handler.run:
        if not services:
            yield "it has neither services nor a run of its own, so it would do nothing"
        elif cls.respond is Handler.respond and cls.converse is Handler.converse:
            yield "it has services but no respond, converse, run or prepare of its own, so it would do nothing"
