"""What the page shows, and that nothing of others is anything but text in it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from html import unescape
from typing import Any

import attrs
import pytest

from responder.daemon.page import HEADERS, Page
from responder.daemon.page.sections import MAX_ROWS, SECTIONS
from responder.daemon.recent_datagrams import KEPT
from responder.daemon.recent_errors import ErrorStatus
from responder.daemon.status import GroupStatus, InterfaceStatus, Status, WorkerStatus

from ..support import STATUS

HOSTILE = "</td><script>alert(1)</script>\x1b[31m'\"&"

DATAGRAM: dict[str, Any] = {
    "time": 1_700_000_000.5,
    "transport": "tcp",
    "port": 53,
    "peer": "fe80::9",
    "peer_port": 40000,
    "scope_id": 2,
    "destination": "fe80::1",
    "interface": "lan",
    "via": "unicast",
    "plugin": "dns",
    "outcome": "denied",
    "reason": "the peer may not ask (allow, deny)",
    "bytes": 3,
    "further": False,
    "words": {"name": "www.example.test.", "type": "A"},
    "answers": [{"bytes": 40}, {"bytes": 2}],
}
UNASKED = {**DATAGRAM, "bytes": None, "destination": None, "transport": "udp", "words": {}, "answers": []}


def text(markup: str) -> str:
    return " ".join(unescape(re.sub(r"<[^>]*>", " ", markup)).split())


def page(datagrams: list[dict[str, Any]] | None = None) -> Page:
    return Page(lambda: datagrams or [])


def taking(status: Status) -> Callable[[], Any]:
    async def take() -> Status:
        return status

    return take


async def live(of: Page, status: Status) -> dict[str, str]:
    """What the script gets, as words by section."""
    content = await of.content("/live.json", "", taking(status))
    assert content.type == "application/json"
    found: dict[str, str] = json.loads(content.body)["sections"]
    return found


async def document(of: Page, status: Status, query: str = "") -> str:
    content = await of.content("/", query, taking(status))
    assert content.type == "text/html; charset=utf-8"
    return content.body.decode()


async def test_what_it_shows() -> None:
    of = page([DATAGRAM, UNASKED])
    before = attrs.evolve(STATUS, uptime=58.5, counters={"dns": {"lan": {"answered": 4, "off-link": 2}}}, traffic=())
    status = attrs.evolve(
        STATUS,
        errors=(ErrorStatus(1_700_000_000.0, "warning", "dns", "a zone is old"),),
        interfaces=(InterfaceStatus("lan", True, ("10.0.0.1", "fd00::1")), InterfaceStatus("vpn", False, ())),
        groups=(*STATUS.groups, GroupStatus(53, "vpn", (), ())),
    )
    await live(of, before)
    found = {name: text(markup) for name, markup in (await live(of, status)).items()}
    assert [*found] == [name for name in SECTIONS if name != "workers"]
    assert "State ready Up 1 min 0 s Configuration the embedded default, refused at " in found["state"]
    assert "Version 1.2, compiled Runs on Python 3.12.1, Linux Process 7" in found["state"]
    assert (
        "Answered a second 3.0 Otherwise a second 0.5 Bytes a second, in 535 B Bytes a second, out 2.54 kB"
        in (found["rates"])
    )
    assert "dns Dns ready 3.0 2 1 250 ms 0" in found["plugins"]
    assert "- 0 denied 0.5" in found["plugins"]
    assert "echo Dns ready 0 2 1 250 ms 3" in found["plugins"]
    assert "lan up 10.0.0.1 fd00::1 3.0 224.0.0.251 ff02::fb" in found["interfaces"]
    assert found["interfaces"].index("guest0") < found["interfaces"].index("lan")  # it lacks a group
    assert "vpn down" in found["interfaces"]
    assert "warning dns a zone is old" in found["errors"]
    assert "off-link 0 2 the peer is not on the interface's own link (on_link)" in found["outcomes"]
    assert "53 * udp dns 1.07 kB 5.08 kB 5" in found["ports"]
    assert (
        "[fe80::9%2]:40000 [fe80::1]:53 tcp lan dns denied (the peer may not ask (allow, deny)) "
        "name=www.example.test. type=A 3 42" in found["datagrams"]
    )
    assert "[fe80::9%2]:40000 port 53 lan dns denied" in found["datagrams"]


async def test_what_plugins_say_of_themselves() -> None:
    assert text((await live(page(), STATUS))["notes"]) == "Nothing."
    first, *others = STATUS.instances
    noted = attrs.evolve(first, notes=("a zone is too old", HOSTILE))
    markup = (await live(page(), attrs.evolve(STATUS, instances=(noted, *others))))["notes"]
    assert f"{first.name} a zone is too old {first.name} </td><script>" in text(markup)
    assert "<script" not in markup


async def test_the_page_has_what_the_script_gets() -> None:
    of = page([DATAGRAM])
    html = await document(of, STATUS)
    for name, markup in (await live(of, STATUS)).items():
        assert f'<div id="{name}">{markup}</div>' in html
        assert f'<h2 id="{name}-title">{SECTIONS[name]}</h2>' in html


async def test_workers_are_shown_where_there_are_any() -> None:
    status = attrs.evolve(STATUS, workers=(WorkerStatus(0, 4711, "ready", 0), WorkerStatus(1, 4712, "restarting", 3)))
    found = await live(page(), status)
    assert "0 ready 4711 0 1 restarting 4712 3" in text(found["workers"])
    assert "worker 1 is restarting" in text(found["state"])
    assert 'id="workers"' in await document(page(), status)
    assert 'id="workers"' not in await document(page(), STATUS)


async def test_nothing_of_others_is_anything_but_text() -> None:
    error = ErrorStatus(0.0, HOSTILE, HOSTILE, HOSTILE)
    status = attrs.evolve(
        STATUS,
        config=HOSTILE,
        build=attrs.evolve(STATUS.build, version=HOSTILE, python=HOSTILE, system=HOSTILE),
        errors=(error,),
        instances=(attrs.evolve(STATUS.instances[0], name=HOSTILE, plugin=HOSTILE, state=HOSTILE, last_error=error),),
        interfaces=(InterfaceStatus(HOSTILE, True, (HOSTILE,)),),
        groups=(GroupStatus(1, HOSTILE, (HOSTILE,), (HOSTILE,)),),
        ports=tuple(attrs.evolve(each, address=HOSTILE, plugins=(HOSTILE,)) for each in STATUS.ports),
        counters={HOSTILE: {HOSTILE: {HOSTILE: 1}}},
        latencies=(attrs.evolve(STATUS.latencies[0], plugin=HOSTILE, service=HOSTILE),),
        workers=(WorkerStatus(0, 1, HOSTILE, 0),),
    )
    strange = {**DATAGRAM, **dict.fromkeys(("interface", "plugin", "outcome", "reason", "transport"), HOSTILE)}
    strange["words"] = {HOSTILE: HOSTILE}
    of = page([strange])
    await live(of, attrs.evolve(status, uptime=10.0))
    html = await document(of, status)
    assert html.count("<script") == 1  # our own
    assert "\x1b" not in html
    assert "'" not in html.partition("<body>")[2]
    assert text(html).count("alert(1)") > 20  # it was there
    for markup in (await live(of, status)).values():
        assert "<script" not in markup
        assert "\x1b" not in markup


async def test_tables_are_bounded() -> None:
    many = tuple(InterfaceStatus(f"link{number:04}", True, ("10.0.0.1",)) for number in range(3000))
    status = attrs.evolve(STATUS, interfaces=many, groups=(), counters={})
    found = await live(page([DATAGRAM] * KEPT), status)
    assert found["interfaces"].count("<tr>") == 1 + MAX_ROWS
    assert "2900 more: `responderd status` shows all." in text(found["interfaces"])
    assert len(json.dumps(found)) < 200_000


async def test_a_browser_without_script_loads_it_again_unless_it_is_held() -> None:
    html = await document(page(), STATUS)
    assert '<noscript><meta http-equiv="refresh" content="5"></noscript>' in html
    assert '<a href="?hold">' in html
    held = await document(page(), STATUS, "hold")
    assert "http-equiv" not in held
    assert '<a href="./">' in held


@pytest.mark.parametrize("path", sorted(page().paths))
async def test_nothing_comes_from_elsewhere(path: str) -> None:
    content = await page().content(path, "", taking(STATUS))
    assert content.body
    assert b"//" not in re.sub(rb"http://www.w3.org/2000/svg|^//.*$", b"", content.body, flags=re.MULTILINE)
    policy = dict(content.headers)["content-security-policy"]
    assert policy.startswith("default-src 'none';")
    assert "unsafe" not in policy
    assert content.headers == HEADERS


async def test_its_markup_has_neither_style_nor_script_within() -> None:
    html = await document(page([DATAGRAM]), STATUS)
    assert " style=" not in html
    assert "<style" not in html
    assert re.findall(r"\son\w+=", html) == []


async def test_tables_have_heads() -> None:
    html = await document(page([DATAGRAM]), STATUS)
    for table in re.findall(r"<table>.*?</table>", html):
        columns = re.findall(r'<th scope="col"', table)
        rows = re.findall(r"<tr>(.*?)</tr>", table)
        assert len(columns) > 1
        for row in rows[1:]:
            assert row.startswith('<th scope="row"')
            assert len(re.findall(r"<t[hd][ >]", row)) == len(columns)


async def test_recent_datagrams_may_have_to_be_waited_for() -> None:
    async def recent() -> list[dict[str, Any]]:
        return [DATAGRAM]

    assert "name=www.example.test." in text((await live(Page(recent), STATUS))["datagrams"])
