"""What is told of zone files that are read again."""

from __future__ import annotations

from ipaddress import ip_network
from pathlib import Path

import pytest
from responder_plugins.dns import Dns

from responder import Context
from tests.plugins.dns.support import SMALL

COMMENT = "; a comment\n"
MORE = "more A 192.0.2.81\n"


@pytest.mark.parametrize(
    ("before", "after", "more", "told"),
    [
        (7, 8, MORE, None),
        (2**32 - 1, 3, MORE, None),  # serial number arithmetic: this is on
        (7, 7, COMMENT, None),
        (7, 6, MORE, "its serial went back from 7 to 6"),
        (7, 6, "", "its serial went back from 7 to 6"),
        (3, 2**32 - 1, MORE, "its serial went back from 3 to 4294967295"),
        (2026112901, 20261130, MORE, "its serial went back from 2026112901 to 20261130"),
        (7, 7, MORE, "has changed, but its serial is 7 as before"),
        (7, 7, "www 600 A 192.0.2.80\n", "has changed, but its serial is 7 as before"),
    ],
)
@pytest.mark.parametrize("allow_transfer", [(), ("192.0.2.0/24",)])
def test_a_change_that_secondaries_do_not_see(
    before: int, after: int, more: str, told: str | None, allow_transfer: tuple[str, ...], tmp_path: Path
) -> None:
    def read(serial: int, more: str) -> Context:
        file.write_text(SMALL.replace("h 1 2", f"h {serial} 2").replace("www A 192.0.2.80\n", "") + more)
        context = Context("dns", tmp_path, tmp_path / "state")
        handlers.append(options.prepare(context))
        return context

    file = tmp_path / "a.zone"
    options = Dns(zones={"example.test": Path("a.zone")}, allow_transfer=tuple(map(ip_network, allow_transfer)))
    handlers: list[object] = []
    assert read(before, "").warnings == []
    again = read(after, more)
    if before == after and not allow_transfer:
        told = None
    wanted = [] if told is None else [f"{file}: zone example.test.: {told}: secondaries do not transfer it"]
    assert [str(warning) for warning in again.warnings] == wanted
    assert read(after, more).warnings == []


def test_the_soa_record_is_data_too(tmp_path: Path) -> None:
    file = tmp_path / "a.zone"
    handlers = []
    for text, count in ((SMALL, 0), (SMALL.replace("3 4 60", "3 5 60"), 1)):
        file.write_text(text)
        context = Context("dns", tmp_path)
        handlers.append(Dns(zones={"example.test": file}, allow_transfer=(ip_network("::/0"),)).prepare(context))
        assert len(context.warnings) == count
