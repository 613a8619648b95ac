"""What a configuration says that is no mistake, but hardly meant."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from fnmatch import fnmatch
from ipaddress import ip_network
from itertools import combinations

from ..datagram import IPNetwork
from .instance import Instance
from .key_paths import join
from .reading import Config

EVERYBODY = (ip_network("0.0.0.0/0"), ip_network("::/0"))


def unmatched_patterns(config: Config, names: Collection[str]) -> list[tuple[str, str]]:
    """The paths and patterns of `interfaces` that match none of the names: no mistake, since a link may come later."""
    return [
        (f"{join('plugins', instance.name)}.interfaces[{index}]", pattern)
        for instance in config.instances
        for index, pattern in enumerate(instance.interfaces)
        # An exclusion that matches no interface is fine.
        if not pattern.startswith("!") and not any(fnmatch(name, pattern) for name in names)
    ]


def unreachable(config: Config) -> Iterator[tuple[str, str]]:
    """The paths of what lets nobody ask, whatever the network does, each with the reason."""
    for instance in config.instances:
        path = join("plugins", instance.name)
        yield from _never_asked(instance, path)
        for index, prefix in enumerate(instance.allow):
            if (covering := _covering(prefix, instance.deny)) is not None:
                yield f"{path}.allow[{index}]", f"{prefix} lets nobody ask: deny has {covering}"
    yield from _never_connected(config.instances)


def _never_connected(instances: Sequence[Instance]) -> Iterator[tuple[str, str]]:
    """Services whose connections another instance in front of them has, which passes none on."""
    for (first, one), (second, other) in combinations([(each, one) for each in instances for one in each.services], 2):
        if (
            first is not second
            and one.tcp
            and other.tcp
            and one.port == other.port != 0
            and not one.may_pass
            and _has_all_of(first, second)
            and (not one.on_link or other.on_link)
        ):
            reason = f"it gets no connection: {first.name} has all of port {one.port}, and passes none on"
            yield join("plugins", second.name), reason


def _has_all_of(first: Instance, second: Instance) -> bool:
    """Is everyone whom the second would hear the first one's?"""
    return {*first.listen} == {*second.listen} and all(
        mine in ((), others)
        for mine, others in (
            (first.interfaces, second.interfaces),
            (first.allow, second.allow),
            (first.deny, second.deny),
        )
    )


def _never_asked(instance: Instance, path: str) -> Iterator[tuple[str, str]]:
    if "!*" in instance.interfaces:
        yield path, "it is never asked: interfaces excludes every one ('!*')"
    # Without `allow` everybody may ask.
    if all(_covering(prefix, instance.deny) is not None for prefix in instance.allow or EVERYBODY):
        yield path, "it is never asked: deny has all that might"


def _covering(prefix: IPNetwork, others: Iterable[IPNetwork]) -> IPNetwork | None:
    return next((other for other in others if _is_within(prefix, other)), None)


def _is_within(prefix: IPNetwork, other: IPNetwork) -> bool:
    if prefix.version != other.version or prefix.prefixlen < other.prefixlen:
        return False
    return prefix.network_address in other
