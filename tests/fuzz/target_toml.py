"""Configuration files: each is read, or all its mistakes are told, each by a path or a line."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

from responder.config import reference, registry
from responder.config.daemon_options import DaemonOptions
from responder.config.instance import InstanceKeys
from responder.config.reading import read
from responder.errors import ConfigErrors

SEEDS = (
    b'[daemon]\nlog = "info"\ngrace = "2s"\nmetrics = "127.0.0.1:9153"\nworkers = 2\n[plugins.echo]\nport = 7\n',
    b'[plugins.a]\nuse = "echo"\nport = 7007\ngroups = ["239.255.70.7", "232.1.2.3@10.0.0.9"]\nlisten = ["::1"]\n'
    b'allow = ["10.0.0.0/8"]\ndeny = ["10.1.0.0/16"]\ninterfaces = ["eth*", "!eth1"]\nrate = 5\n',
    b'[plugins.whoami]\nname = "whoami.lan"\nmax_answer = "1k"\nanswer_timeout = "500ms"\non_link = true\n',
    b'[plugins.ssdp]\nports.device = 49200\n[[plugins.ssdp.devices]]\nuuid = "2fac1234-31f8-11b4-a222-08002b34c003"\n'
    b'type = "urn:schemas-upnp-org:device:Basic:1"\nfriendly_name = "x"\n',
    b'[plugins.dns]\nzones = { "example.test" = "example.zone" }\ntransfer_keys = { "k.test" = "c2VjcmV0" }\n',
    b"\xef\xbb\xbf[plugins.echo]\n",
)


def _keys() -> Iterator[str]:
    """Each table and key that the program and its plugins know, with an example."""
    options = [*reference.options_of(DaemonOptions), *reference.options_of(InstanceKeys)]
    for name, entry in registry.installed().items():
        plugin = entry.load()
        yield f'[plugins.{name}]\nuse = "{name}"\n'
        options += reference.options_of(plugin)
        for path, keys in reference.tables_of(plugin):
            yield f"[plugins.{name}.{path}]\n"
            options += keys
    for option in options:
        yield f"{option.name} = "
        yield f"{option.name} = {reference.as_toml(option.example)}\n"


WORDS = (
    *dict.fromkeys(key.encode() for key in _keys()),
    *b"[daemon]\n|include = [|[[plugins.| = |{ |{}|[]|true|1e9|-1|nan|0x7fffffffffffffff|1979-05-27|07:32:00".split(
        b"|"
    ),
    *rb""" ''' "\u0000" "127.0.0.1" "::1" "fe80::1%eth0" "!eth*" "1.5GiB" "1h" """.split(),
)
_FOLDER = tempfile.TemporaryDirectory()


def answered(data: bytes) -> bytes | None:
    """The names of its instances, where it is sound."""
    file = Path(_FOLDER.name) / "config.toml"
    file.write_bytes(data)
    try:
        config = read(file).config()
    except ConfigErrors as error:
        mistakes = error.errors
    else:
        return " ".join(instance.name for instance in config.instances).encode()
    assert mistakes
    assert all(each.message and (each.path or each.line or each.file) for each in mistakes), mistakes
    return None
