"""The command `responderd interfaces`: the interface table as the daemon sees it, and its changes as plugins see them.

It looks and listens for itself, so no daemon need run.
"""

# ruff: noqa: PLC0415 - imports within functions, so that each command pays for what it uses alone

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import click

from ..errors import NetworkError
from ..log import printable
from .output import exit_with, json_option, print_json, print_table

if TYPE_CHECKING:
    from ..datagram import Interface, InterfaceAddress, InterfaceChange


@click.command()
@click.option("--watch", is_flag=True, help="Go on with each change, once it has settled, until interrupted.")
@json_option
def interfaces(watch: bool, as_json: bool) -> None:
    """Show the interface table as the daemon sees it.

    With --watch and --json each line is an object: first one of kind "present" for each interface, then each change.
    """
    import trio

    from ..net import platform

    if watch:
        _watch_until_interrupted(as_json)
        return
    try:
        found = sorted(trio.run(platform().interfaces), key=lambda interface: interface.index)
    except NetworkError as error:
        exit_with([error])
    if as_json:
        print_json([_as_json(interface) for interface in found])
    else:
        _print_interfaces(found)


def _watch_until_interrupted(as_json: bool) -> None:
    import trio

    try:
        trio.run(_watch, as_json)
    except* (KeyboardInterrupt, BrokenPipeError):
        # Ctrl-C, or a reader that has seen enough: either is how this ends.  What is still to be written has no reader.
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115 - until the process ends
    except* NetworkError as group:
        exit_with([error for error in group.exceptions if isinstance(error, NetworkError)])


async def _watch(as_json: bool) -> None:
    import trio

    from ..net import platform
    from ..server.interfaces import open_following

    async with open_following(platform()) as following, trio.open_nursery() as nursery:
        changes = following.subscribe()
        nursery.start_soon(following.run)
        if as_json:
            for interface in following.table:
                _print_line({"kind": "present", "interface": _as_json(interface)})
        else:
            _print_interfaces(following.table)
        async for change in changes:
            if as_json:
                _print_line(_change_as_json(change))
            else:
                click.echo(printable(_change_as_text(change)))


def _print_line(value: Any) -> None:
    click.echo(json.dumps(value))


def _as_json(interface: Interface) -> dict[str, Any]:
    return {
        "index": interface.index,
        "name": interface.name,
        "flags": sorted(interface.flags),
        "mtu": interface.mtu,
        "link_address": interface.link_address.hex(":"),
        "addresses": [_address_as_json(own) for own in interface.addresses],
    }


def _address_as_json(own: InterfaceAddress) -> dict[str, Any]:
    row: dict[str, Any] = {"address": str(own.address), "prefix_length": own.prefix_length}
    return row if own.peer is None else {**row, "peer": str(own.peer)}


def _change_as_json(change: InterfaceChange) -> dict[str, Any]:
    row: dict[str, Any] = {"kind": str(change.kind)}
    if change.address is not None:
        row["address"] = _address_as_json(change.address)
    if change.old_name is not None:
        row["old_name"] = change.old_name
    return {**row, "interface": _as_json(change.interface)}


def _change_as_text(change: InterfaceChange) -> str:
    """ "address-added eth0 (2): 10.0.0.1/24" """
    interface = change.interface
    if change.address is not None:
        detail = _address(change.address)
    elif change.old_name is not None:
        detail = f"was {change.old_name}"
    else:
        detail = " ".join([*sorted(interface.flags), *map(_address, interface.addresses)])
    return f"{change.kind} {interface} ({interface.index}): {detail}"


def _address(own: InterfaceAddress) -> str:
    return f"{own.address}/{own.prefix_length}" if own.peer is None else f"{own.address} to {own.peer}"


def _print_interfaces(interfaces: Iterable[Interface]) -> None:
    print_table(
        ("index", "name", "flags", "MTU", "addresses"),
        (
            (
                str(interface.index),
                interface.name,
                " ".join(sorted(interface.flags)),
                str(interface.mtu),
                "\n".join(map(_address, interface.addresses)),
            )
            for interface in interfaces
        ),
        numbers=("index", "MTU"),
    )
