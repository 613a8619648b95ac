"""Which instances several worker processes can serve together, and what each of them gets of an instance's bounds.

The kernel gives each unicast datagram to one of the workers.  What goes to all, or is the whole daemon's business,
can't be divided: a group's datagrams, background work, a port that others share.  `rate` is divided: a network's
datagrams come to every worker, so each may answer its part.  `amplification` needs no division: each worker gives out
by what it took in.

`responder.daemon.workers` does the dividing.
"""

from __future__ import annotations

from collections.abc import Iterable

import attrs

from ..errors import ConfigError
from ..plugin import Handler, Service
from .instance import Instance, Prepared
from .key_paths import join

WORKERS_KEY = "daemon.workers"


def undividable(instances: Iterable[Instance], workers: int) -> list[ConfigError]:
    """The keys that prevent so many workers, each with its reason, as far as the services tell."""
    if workers == 1:
        return []
    return [
        ConfigError(f"{reason} ({WORKERS_KEY} = {workers})", path=_key(instance, service, key))
        for instance in instances
        for service in instance.services
        for key, reason in _reasons(service)
    ]


def _reasons(service: Service) -> Iterable[tuple[str, str]]:
    """The key, and why not."""
    if service.groups:
        yield "groups", "not with several workers: each of them would get, and answer, what is sent to a group"
    elif service.shared:
        yield "", "not with several workers: a port that other programs share can't be divided"
    if not service.port:
        yield "port", "not 0 with several workers: the system would choose another port for each"


def undividable_work(prepared: Iterable[Prepared], workers: int) -> list[ConfigError]:
    """The same for background work, which is known once the plugins have prepared their handlers."""
    if workers == 1:
        return []
    return [
        ConfigError(
            f"not with several workers: the plugin's background work (run) would be done by each of them, "
            f"and it does not say that it may (in_each_worker; {WORKERS_KEY} = {workers})",
            path=join("plugins", each.instance.name),
        )
        for each in prepared
        if getattr(type(each.handler), "run", None) is not Handler.run and not each.instance.plugin.in_each_worker
    ]


def part_of(instance: Instance, workers: int) -> Instance:
    """The instance as one of so many workers serves it."""
    services = tuple(
        attrs.evolve(service, rate=service.rate / workers) if service.rate else service for service in instance.services
    )
    return attrs.evolve(instance, services=services)


def _key(instance: Instance, service: Service, key: str) -> str:
    path = join("plugins", instance.name)
    if not key:
        return path
    if len(instance.services) == 1:
        return join(path, key)
    return join(join(path, "ports" if key == "port" else key), service.name)
