"""The commands `responderd mdns browse`, `resolve` and `publish`; none needs a daemon.

What they show is others' words, so nothing of it reaches the terminal raw.
"""

# ruff: noqa: PLC0415 - within functions: JSON has no table, and only one command publishes

from __future__ import annotations

import json
import math
import signal
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import attrs
import click
import trio

from responder import ConfigErrors, ResponderError, serve, structure
from responder_plugins.shared import dns_message as dns
from responder_plugins.shared.command import (
    interface_option,
    json_option,
    no_interface,
    print_json,
    print_table,
    printable,
)
from responder_plugins.shared.dns_text import to_text

from .names import SERVICE_TYPES, local, type_labels
from .options import TYPE
from .querier import Cache, Instance, Querier, question_for


class Seconds(click.FloatRange):
    """A range that "nan" is not in: click compares, and no comparison holds for it."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        seconds = super().convert(value, param, ctx)
        if math.isnan(seconds):
            self.fail(f"{value!r} is no number of seconds", param, ctx)
        return seconds


seconds_option = click.option(
    "--seconds",
    type=Seconds(0.1, 3600),
    default=3.0,
    show_default=True,
    help="Seconds to ask and to listen.",
)


@click.group()
def mdns() -> None:
    """Find what is on the links, and be found."""


@mdns.command()
@click.argument("type_", metavar="[TYPE]", required=False)
@seconds_option
@interface_option
@json_option
def browse(type_: str | None, seconds: float, interfaces: tuple[str, ...], as_json: bool) -> None:
    """Show the services of a TYPE such as _http._tcp, or all there are: where, who, host, port, addresses, TXT."""
    if type_ is None:
        name = SERVICE_TYPES
    else:
        type_ = type_.removesuffix(".").removesuffix(".local")
        if not TYPE.fullmatch(type_):
            raise click.BadParameter(f"expected a type such as _http._tcp, got {type_!r}", param_hint="TYPE")
        name = local(*type_labels(type_)).lower()
    querier = Querier(((name, dns.PTR),), seconds)
    trio.run(ask, querier, interfaces)
    found = sorted({each for cache in querier.caches.values() for each in _instances(cache, name)})
    if as_json:
        print_json([attrs.asdict(each) for each in found])
        return
    rows = [
        (
            each.interface,
            each.name,
            each.type,
            each.host,
            str(each.port or ""),
            "\n".join(each.addresses),
            "\n".join(each.txt),
        )
        for each in found
    ]
    print_table(("interface", "name", "type", "host", "port", "addresses", "TXT"), rows)


def _instances(cache: Cache, name: bytes) -> Iterable[Instance]:
    if name != SERVICE_TYPES:
        yield from cache.instances(name)
        return
    for record in cache.get(name, dns.PTR):
        yield from cache.instances(record.rdata)


@mdns.command()
@click.argument("name")
@seconds_option
@interface_option
@json_option
def resolve(name: str, seconds: float, interfaces: tuple[str, ...], as_json: bool) -> None:
    """Show the addresses of a host, where a service instance is, or the name of an address; status 1: nobody has it.

    NAME is lab.local, 'Lab page._http._tcp.local' (a dot within a label as \\.), or 192.0.2.1.
    """
    try:
        questions = question_for(name)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="NAME") from error
    querier = Querier(questions, seconds, patient=False)
    trio.run(ask, querier, interfaces)
    key, rdtype = questions[0]
    found: list[dict[str, Any]] = []
    for cache in querier.caches.values():
        if rdtype == dns.PTR:
            names = sorted(to_text(record.rdata) for record in cache.get(key, rdtype))
            found += [{"interface": cache.interface.name, "name": each} for each in names]
        elif rdtype == dns.SRV:
            found += [attrs.asdict(each) for each in sorted(cache.instance(key)) if each.host]
        elif addresses := [cache.shown(each) for each in cache.addresses(key)]:
            found.append({"interface": cache.interface.name, "host": to_text(key), "addresses": addresses})
    if as_json:
        print_json(found)
    elif found:
        columns = tuple(found[0])
        print_table(columns, [tuple(_cell(each[column]) for column in columns) for each in found])
    if not found:
        if not as_json:
            click.echo(f"nobody has {name}", err=True)
        sys.exit(1)


def _cell(value: Any) -> str:
    return "\n".join(value) if isinstance(value, (tuple, list)) else str(value)


async def ask(querier: Querier, interfaces: Sequence[str]) -> None:
    """Ask on the interfaces that match; none given: on all.  Raises ClickException where there is none, or no port."""
    try:
        async with serve(querier, interfaces=tuple(interfaces)):
            await querier.done.wait()
    except* ResponderError as group:
        raise click.ClickException("; ".join(map(str, group.exceptions))) from group
    if not querier.caches:
        raise no_interface(interfaces)


@mdns.command()
@click.argument("name")
@click.argument("type_", metavar="TYPE")
@click.argument("port", type=click.IntRange(0, 0xFFFF))
@click.argument("txt", nargs=-1)
@click.option("--host", help="This host's name; default: its own.")
@click.option("--subtype", "subtypes", multiple=True, help="A subtype such as _printer; may be repeated.")
@interface_option
@json_option
def publish(
    name: str,
    type_: str,
    port: int,
    txt: tuple[str, ...],
    host: str | None,
    subtypes: tuple[str, ...],
    interfaces: tuple[str, ...],
    as_json: bool,
) -> None:
    """Have a service on this host found, until interrupted; TXT is key=value, or a key alone."""
    from . import Mdns, ServiceOptions

    values: dict[str, str | bool] = {}
    for each in txt:
        key, equals, value = each.partition("=")
        values[key] = value if equals else True
    try:
        service = structure(
            {"name": name, "type": type_, "port": port, "txt": values, "subtypes": list(subtypes)},
            ServiceOptions,
            folder=Path(),
        )
        plugin = Mdns(host, (service,))
    except ConfigErrors as error:
        raise click.UsageError("; ".join(map(str, error.errors))) from error
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    # What another program took from us is no state to keep: the next time may be another.
    with TemporaryDirectory(prefix="responderd-") as folder:
        trio.run(_publish, plugin, interfaces, as_json, Path(folder))


async def _publish(plugin: Any, interfaces: tuple[str, ...], as_json: bool, folder: Path) -> None:
    from .publisher import Publisher

    def tell(interface: str, instance: str, host: str) -> None:
        if as_json:
            click.echo(json.dumps({"interface": interface, "name": instance, "host": host}))
        else:
            click.echo(f"{printable(interface)}: {printable(instance)} on {printable(host)}")

    publisher = Publisher(plugin, tell)
    try:
        with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            async with serve(publisher, interfaces=interfaces, state=folder), trio.open_nursery() as nursery:
                nursery.start_soon(publisher.watch)
                async for _ in signals:
                    break
                nursery.cancel_scope.cancel()
    except* ResponderError as group:
        raise click.ClickException("; ".join(map(str, group.exceptions))) from group
