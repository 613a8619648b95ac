"""`responderd dns export`: a zone with its updates as a master file that is read as the same zone."""

from __future__ import annotations

from pathlib import Path

import dns.name
import pytest
from click.testing import CliRunner, Result
from responder_plugins.dns.commands import dns as command
from responder_plugins.dns.zone import master_file
from responder_plugins.dns.zone.master_text import lines

from responder import Context
from tests.plugins.dns.support import ZONE
from tests.plugins.dns.test_tcp import SECRET
from tests.plugins.dns.transfer.test_update import rcode_of, served, update
from tests.plugins.dns.transfer.test_versions import again
from tests.plugins.dns.zone.comparing import assert_same

ORIGIN = dns.name.from_text("example.test")
CONFIG = """
[daemon]
state = "states"

[plugins.dns]
zones = {{ "example.test" = "a.zone" }}
transfer_keys = {{ "key.test" = {{ secret = "{secret}" }} }}
{more}
[plugins.dns.update."example.test"]
keys = ["key.test"]
"""
ODD = """
ninfo NINFO "one"
rkey RKEY 0 3 8 AQIDBA==
talink TALINK a b
nxt NXT b A NXT
null TYPE10 \\# 0
wks WKS 192.0.2.1 tcp smtp
svcbport SVCB 1 . port=53 alpn="f\\\\\\\\oo\\\\,bar"
"""


def export(folder: Path, *arguments: str, more: str = "") -> Result:
    (folder / "responderd.toml").write_text(CONFIG.format(secret=SECRET, more=more))
    return CliRunner().invoke(command, ["export", *arguments, "--config", str(folder / "responderd.toml")])


def test_every_record_is_read_as_the_same(tmp_path: Path) -> None:
    (tmp_path / "a.zone").write_text(ZONE.read_text() + ODD)
    zone = master_file.load(ORIGIN, tmp_path / "a.zone", Context("dns", tmp_path))
    text = [*lines(zone)]
    assert " SOA " in text[0]
    (tmp_path / "b.zone").write_text("\n".join(text) + "\n")
    other = master_file.load(ORIGIN, tmp_path / "b.zone", Context("dns", tmp_path))
    assert_same(zone, other)
    assert sum(r"\#" in line for line in text) < 10


async def test_updates_are_among_it_while_a_daemon_runs_or_not(tmp_path: Path) -> None:
    (tmp_path / "states" / "dns").mkdir(parents=True)
    (tmp_path / "state").symlink_to(tmp_path / "states" / "dns")
    handler = served(tmp_path)
    message = update()
    message.add("dynamic", 60, "A", "192.0.2.1")
    message.delete("www")
    assert await rcode_of(handler, message) == "NOERROR"
    result = export(tmp_path, "EXAMPLE.test.")
    assert result.exit_code == 0, result.output
    told = result.stdout.splitlines()
    assert told[0] == "example.test. 300 IN SOA ns.example.test. h.example.test. 8 2 3 4 60"
    assert "dynamic.example.test. 60 IN A 192.0.2.1" in told
    assert not any(line.startswith("www") for line in told)
    del handler
    assert export(tmp_path, "example.test").stdout == result.stdout
    # In the place of the file it is the same zone.
    (tmp_path / "a.zone").write_text(result.stdout)
    zone = again(tmp_path).catalog.zones[ORIGIN.to_digestable()]
    assert zone is not None
    assert [*lines(zone)] == told


@pytest.mark.parametrize(
    ("arguments", "more", "status", "said"),
    [
        (["other.test"], "", 2, "no zone other.test (plugins.dns.zones)"),
        (["a..b"], "", 2, "a label is empty"),
        (["example.test"], "", 2, "is not served: can't be read: No such file"),
        (
            ["example.test"],
            '[plugins.two]\nuse = "dns"\nzones = { "example.test" = "a.zone" }',
            2,
            "example.test is in several instances (dns, two): choose by --instance",
        ),
    ],
)
def test_what_is_wrong_is_said(arguments: list[str], more: str, status: int, said: str, tmp_path: Path) -> None:
    result = export(tmp_path, *arguments, more=more)
    assert result.exit_code == status
    assert said in result.output
