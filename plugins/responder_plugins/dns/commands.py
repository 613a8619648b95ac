"""The commands `responderd dns keys` and `ds`: what is signed here, by the configuration and the folders of keys; and
`export`: a zone with its updates.

None needs a daemon; a running one notices within two seconds what they change.
"""

# ruff: noqa: PLC0415 - within functions: what each command needs, and cryptography is an extra

from __future__ import annotations

import datetime
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from responder import ConfigError, ConfigErrors, ResponderError, read_contexts, read_instances
from responder_plugins.shared.command import json_option, print_json, print_table

from . import Dns

if TYPE_CHECKING:
    from .keys.key import Key
    from .keys.zone_signer import ZoneSigner


class MistakenConfig(click.ClickException):
    """Something is wrong with the configuration, or a file that it names."""

    exit_code = 2


config_option = click.option(
    "--config", type=click.Path(path_type=Path, allow_dash=True), required=True, help="The daemon's configuration."
)


@click.group()
def dns() -> None:
    """Look after zones and their keys."""


@dns.command()
@click.argument("zone", required=False)
@config_option
@click.option("--roll", type=click.Choice(["csk", "ksk", "zsk"]), help="Begin to exchange the ZONE's key of this role.")
@click.option("--ds-seen", metavar="TAG", type=int, help="The parent of ZONE has the DS record of this key.")
@json_option
def keys(zone: str | None, config: Path, roll: str | None, ds_seen: int | None, as_json: bool) -> None:
    """Show the keys of ZONE, or of all zones that are signed here: what each is, and what is to happen to it.

    A rollover is begun by --roll, or by itself where the key has a lifetime.  That of a KSK or CSK goes on once the
    parent's servers all have the DS record of the new key, which --ds-seen tells: only then does the old key go.
    """
    if zone is None and (roll is not None or ds_seen is not None):
        raise click.UsageError("--roll and --ds-seen need a ZONE.")
    signers = _signers(config, zone)
    now = time.time()
    try:
        if roll is not None:
            _roll(signers[0], roll, now)
        if ds_seen is not None:
            _note_ds(signers[0], ds_seen, now)
        rows = [row for signer in signers for row in _rows(signer, now)]
    except (ResponderError, OSError) as error:
        raise _refused(error) from error
    if as_json:
        print_json(rows)
        return
    for signer in signers:
        if not any(row["zone"] == _name(signer) for row in rows):
            click.echo(f"{_name(signer)} has no keys yet: the daemon makes them when it starts", err=True)
    print_table(
        ("zone", "role", "tag", "algorithm", "state", "next"),
        (
            (row["zone"], row["role"], str(row["tag"]), row["algorithm"], _state(row), "\n".join(_told(row["next"])))
            for row in rows
        ),
    )


@dns.command()
@click.argument("zone")
@config_option
def ds(zone: str, config: Path) -> None:
    """Print the DS records (digest type 2, SHA-256) of ZONE's keys, as for the zone file of its parent.

    Behind each stands the state of its key.  The parent is to have that of the last key that is not just "published".
    """
    from .keys import timeline
    from .keys.key import SYNC_PUBLISH
    from .keys.key import ds as ds_of

    (signer,) = _signers(config, zone)
    now = time.time()
    try:
        loaded = signer.load_keys()
    except (ResponderError, OSError) as error:
        raise _refused(error) from error
    there = [key for key in loaded if key.leads and key.published(now)]
    if not there:
        raise click.ClickException(
            f"{_name(signer)} has no key for a DS record yet: the daemon makes it when it starts"
        )
    for key in there:
        state = timeline.state_at_parent(key, loaded, now)
        if state == "published":
            ready = key.times.get(SYNC_PUBLISH)
            state += ", for the parent " + ("once the daemon has read it" if ready is None else f"from {_date(ready)}")
        rdata = ds_of(key)
        tag, algorithm, kind = int.from_bytes(rdata[:2]), rdata[2], rdata[3]
        ttl = int(signer.policy.parent_ds_ttl)
        click.echo(f"{_name(signer)} {ttl} IN DS {tag} {algorithm} {kind} {rdata[4:].hex().upper()} ; {state}")
    if timeline.requests_ds(there, now) is None:
        click.echo(
            "warning: caches may still lack what it is for: the parent is to have it not before that time", err=True
        )


@dns.command()
@click.argument("zone")
@config_option
@click.option("--instance", help="The instance that has ZONE, where several have it.")
def export(zone: str, config: Path, instance: str | None) -> None:
    """Print ZONE as a master file: its zone file with all updates that were made, as the daemon would serve it.

    Signatures that the daemon makes are not among it.  A daemon that runs is not asked: what it has answered is on the
    disk.
    """
    from .preparation import stored_zone
    from .zone.master_text import lines

    origin = _origin(zone)
    try:
        found = [
            (each, context)
            for each, context in read_contexts(config)
            if isinstance(each.plugin, Dns) and instance in (None, each.name) and origin in _origins(each.plugin)
        ]
        if len(found) != 1:
            names = ", ".join(each.name for each, _ in found)
            which = f"{zone} is in several instances ({names}): choose by --instance" if found else f"no zone {zone}"
            raise _refused(ConfigError(f"{which} (plugins.dns.zones)", file=config))
        ((each, context),) = found
        assert isinstance(each.plugin, Dns)  # noqa: S101 - chosen above
        stored = stored_zone(each.plugin, context, origin)
        if origin in map(_origin, each.plugin.sign):
            from .keys.signing import unsigned

            stored = unsigned(stored)
        for line in lines(stored):
            click.echo(line)
    except (ResponderError, OSError) as error:
        raise _refused(error) from error


def _origins(options: Dns) -> set[bytes]:
    return {_origin(text) for text in options.zones}


def _origin(zone: str) -> bytes:
    """A zone's name in wire form and lower case.  Raises BadParameter."""
    from .zone.names import NameReader
    from .zone.words import Malformed

    try:
        return NameReader(b"\0").read(zone.encode()).lower()
    except Malformed as error:
        raise click.BadParameter(str(error), param_hint="ZONE") from error


def _signers(config: Path, zone: str | None) -> list[ZoneSigner]:
    """Those of the zones that are signed, or of one.  Raises ClickException."""
    try:
        signers = [
            signer
            for instance in read_instances(config)
            if isinstance(instance.plugin, Dns) and instance.plugin.sign
            for signer in _of_instance(instance.plugin, instance.folder)
        ]
        if zone is not None:
            origin = _origin(zone)
            signers = [signer for signer in signers if signer.origin == origin]
    except (ResponderError, OSError) as error:
        raise _refused(error) from error
    if not signers:
        which = "no zone is signed" if zone is None else f"{zone} is not signed"
        raise _refused(ConfigError(f"{which} here (plugins.dns.sign)", file=config))
    if zone is not None and len(signers) > 1:
        raise _refused(ConfigError(f"{zone} is signed by several instances", file=config))
    return signers


def _of_instance(options: Dns, folder: Path) -> Iterator[ZoneSigner]:
    from .preparation import signers_of

    mistakes: list[ConfigError] = []
    signers = signers_of(options, folder, mistakes)
    if mistakes:
        raise ConfigErrors(mistakes)
    yield from signers.values()


def _roll(signer: ZoneSigner, role: str, now: float) -> None:
    wanted = ["csk"] if signer.policy.csk else ["ksk", "zsk"]
    if role not in wanted:
        raise click.BadParameter(f"the zone has a {' and a '.join(map(str.upper, wanted))}", param_hint="--roll")
    key = signer.succeed(now, leads=role != "zsk", signs=role != "ksk")
    if isinstance(key, str):
        raise click.ClickException(key)
    click.echo(f"key {key.tag} is made", err=True)


def _note_ds(signer: ZoneSigner, tag: int, now: float) -> None:
    if not signer.note_ds(tag, now):
        raise click.BadParameter(f"the zone has no published key {tag} for a DS record", param_hint="--ds-seen")


def _rows(signer: ZoneSigner, now: float) -> Iterator[dict[str, Any]]:
    from .keys import algorithms, timeline

    keys = signer.load_keys()
    for key in keys:
        yield {
            "zone": _name(signer),
            "role": key.role,
            "tag": key.tag,
            "algorithm": algorithms.NAMES[key.algorithm],
            "state": timeline.state(key, now),
            "times": {name: _date(moment) for name, moment in _in_order(key)},
            "next": [
                {"time": None if moment is None else _date(moment), "event": event}
                for moment, event in timeline.events(key, keys, signer.policy, now)
            ],
        }


def _state(row: dict[str, Any]) -> str:
    """With the time of what ends a key."""
    return f"{row['state']} {row['times']['Delete']}" if row["state"] == "removed" else row["state"]


def _in_order(key: Key) -> list[tuple[str, int]]:
    return sorted(key.times.items(), key=lambda item: item[1])


def _told(events: list[dict[str, Any]]) -> Iterator[str]:
    for each in events:
        yield each["event"] if each["time"] is None else f"{each['event']} {each['time']}"


def _date(seconds: float) -> str:
    return f"{datetime.datetime.fromtimestamp(seconds, datetime.UTC):%Y-%m-%d %H:%M:%S}Z"


def _name(signer: ZoneSigner) -> str:
    from .zone.builder import name_text

    return name_text(signer.origin)


def _refused(error: Exception) -> MistakenConfig:
    """Of one error or several."""
    errors = error.errors if isinstance(error, ConfigErrors) else (error,)
    return MistakenConfig("; ".join(map(str, errors)))
