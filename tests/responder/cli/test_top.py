"""`responderd top`: a view of a running daemon, on a terminal as wide and high as it is."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest
from rich.console import Console

from responder.cli import top as command
from responder.cli.top import PAUSE, Watch
from responder.cli.top_view import view
from responder.daemon import control_client
from responder.daemon.figures import BARS
from responder.daemon.rates import Looks, Rates
from responder.daemon.recent_errors import ErrorStatus
from responder.daemon.status import (
    BuildStatus,
    GroupStatus,
    InstanceStatus,
    InterfaceStatus,
    LatencyStatus,
    ReloadStatus,
    Status,
    TrafficStatus,
    WorkerStatus,
)
from responder.errors import NetworkError
from responder.net import keyboard

from .support import FakeDaemon, call

HOSTILE = "\x1b[31m\x07<script>"
ERROR = ErrorStatus(1_700_000_000.0, "error", "dns", f"respond failed: {HOSTILE}")

STATUS = Status(
    build=BuildStatus("1.2", "3.12.1", "Linux 6.1"),
    pid=77,
    uptime=90061.0,
    config="/etc/a.toml",
    ready=True,
    failed=False,
    lingering=(),
    instances=(
        InstanceStatus("dns", "Dns", "ready", 0, 3, 1, 0.0021, ERROR),
        InstanceStatus("echo", "Echo", "restarting", 5, 0, 0, 0.0, None),
    ),
    ports=(),
    groups=(GroupStatus(53, "lan", ("224.0.0.251",), ("ff02::fb",)), GroupStatus(53, "vpn", ("224.0.0.251",), ())),
    group_failures=1,
    counters={"dns": {"lan": {"answered": 100, "denied": 2}}},
    latencies=(LatencyStatus("dns", "default", ((0.001, 50), (1.0, 50)), 50, 0.01),),
    errors=(ERROR,),
    traffic=(TrafficStatus(53, "udp", 4000, 9000),),
    reload=ReloadStatus(0.0, True, 0.0),
    interfaces=(InterfaceStatus("lan", True, ("10.0.0.1",)), InterfaceStatus("vpn", False, ())),
)
LATER = attrs.evolve(
    STATUS,
    uptime=90063.0,
    counters={"dns": {"lan": {"answered": 4100, "denied": 3}, "vpn": {"denied": 6}}},
    latencies=(LatencyStatus("dns", "default", ((0.001, 150), (1.0, 150)), 150, 0.03),),
    traffic=(TrafficStatus(53, "udp", 8000, 19000),),
)


def rates(*statuses: Status) -> Rates:
    looks = Looks()
    return [looks.look(each) for each in statuses][-1]


def shown(status: Status, seen: Rates, note: str = "", *, width: int = 120, height: int | None = None) -> list[str]:
    console = Console(width=width, markup=False, emoji=False, highlight=False)
    with console.capture() as capture:
        console.print(view(status, seen, note, width=width, height=height))
    return [" ".join(line.split()) for line in capture.get().splitlines()]


def test_what_it_shows() -> None:
    lines = shown(LATER, rates(STATUS, LATER))
    assert lines[:3] == [
        "responderd 1.2, process 77, /etc/a.toml",
        "up 1 d 1 h, not ready: echo is restarting",
        "2,000 answered/s, 3.5 otherwise/s; 2 kB/s in, 5 kB/s out; over 2 s",
    ]
    assert "dns ready 2,000 denied 3.5 3 2.1 ms █" in lines
    assert "echo restarting 0 0 ▁" in lines
    assert not any("says of itself" in line for line in lines)
    # A link that lacks a group goes first.
    assert lines.index("lan up 2,000 denied 0.5 1 ff02::fb") < lines.index("vpn down 0 denied 3.0 1")
    assert "answered 2,000 4,100" in lines
    assert "denied 3.5 9" in lines
    assert "dns 50 200 us 1 ms" in lines
    assert any("error respond failed: \\x1b[31m\\x07<script>" in line for line in lines)


def test_what_plugins_say_of_themselves() -> None:
    dns, echo = STATUS.instances
    noted = attrs.evolve(dns, notes=("example.test: SERVFAIL since 12:00", HOSTILE))
    lines = shown(attrs.evolve(STATUS, instances=(noted, echo)), rates(STATUS))
    at = lines.index("plugin says of itself")
    assert lines[at + 2 : at + 4] == ["dns example.test: SERVFAIL since 12:00", r"dns \x1b[31m\x07<script>"]


def test_the_first_look_is_about_the_time_since_the_start() -> None:
    assert shown(STATUS, rates(STATUS))[2].endswith("since the start")


def test_workers_are_shown() -> None:
    status = attrs.evolve(STATUS, workers=(WorkerStatus(0, 4711, "restarting", 3),))
    assert "0 4711 restarting 3" in shown(status, rates(status))


def test_nothing_of_others_reaches_the_terminal_raw() -> None:
    status = attrs.evolve(
        LATER,
        config=HOSTILE,
        counters={HOSTILE: {HOSTILE: {"answered": 1}}},
        interfaces=(InterfaceStatus(HOSTILE, True, ()),),
        groups=(GroupStatus(1, HOSTILE, (), (HOSTILE,)),),
        instances=(attrs.evolve(LATER.instances[0], name=HOSTILE, state=HOSTILE),),
        latencies=(attrs.evolve(LATER.latencies[0], plugin=HOSTILE, service=HOSTILE),),
    )
    console = Console(width=200, markup=False, emoji=False, highlight=False)
    with console.capture() as capture:
        console.print(view(status, rates(status), HOSTILE, width=200, height=None))
    assert all(character.isprintable() for line in capture.get().split("\n") for character in line)
    assert "<script>" in capture.get()  # it was there


@pytest.mark.parametrize("width", [20, 40, 79, 80, 200])
@pytest.mark.parametrize("height", [1, 8, 12, 24, 60])
def test_it_fits_the_terminal(width: int, height: int) -> None:
    many = {f"plugin{number}": {f"link{number}": {"answered": number}} for number in range(50)}
    status = attrs.evolve(LATER, counters=many, errors=(ERROR,) * 20)
    console = Console(width=width, markup=False, emoji=False, highlight=False)
    with console.capture() as capture:
        console.print(view(status, rates(status), width=width, height=height))
    lines = capture.get().splitlines()
    # The screen of a terminal lower than that is cut off below.
    assert len(lines) <= max(height, 3 + 3 + 1)
    assert max(map(len, lines)) <= width


def test_in_ascii_there_are_no_bars() -> None:
    console = Console(width=120, markup=False, emoji=False, highlight=False)
    with console.capture() as capture:
        console.print(view(LATER, rates(STATUS, LATER), width=120, height=None, ascii_only=True))
    assert "two minutes" not in capture.get()
    assert not set(BARS) & set(capture.get())


def test_rows_that_have_no_room_are_counted() -> None:
    many = {f"plugin{number:02}": {"lan": {"answered": 100 - number}} for number in range(50)}
    status = attrs.evolve(STATUS, counters=many, instances=())
    lines = shown(status, rates(status), height=24)
    assert "plugin00 0.0" in lines
    assert any(line.endswith(" more") for line in lines)


# The command


@pytest.fixture
def key_presses(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is typed, a key at each wait."""
    pressed: list[str] = []

    def wait(_timeout: float) -> str:
        return pressed.pop(0)

    class Pressed:
        def __enter__(self) -> Any:
            return wait

        def __exit__(self, *_: object) -> None:
            pass

    monkeypatch.setattr(keyboard, "keys_pressed", Pressed)
    return pressed


class Ticking(FakeDaemon):
    """A daemon whose answers come one a question."""

    def __call__(self, path: Path, request: Any, *, timeout: float | None = None) -> Iterator[dict[str, Any]]:
        self.asked.append((path, request))
        if not self.answers:
            raise self.error or AssertionError("asked once too often")
        answer = self.answers.pop(0)
        if "error" in answer:
            raise NetworkError(1, answer["error"])
        yield answer


@pytest.fixture
def ticking(monkeypatch: pytest.MonkeyPatch) -> Ticking:
    fake = Ticking()
    monkeypatch.setattr(control_client, "ask", fake)
    return fake


def answer(status: Status) -> dict[str, Any]:
    return {"status": {**status.as_json(), "control": {"clients": 1}}}


def test_one_view_where_no_terminal_reads_it(ticking: Ticking, key_presses: list[str]) -> None:
    ticking.answers = [answer(STATUS), answer(LATER)]
    key_presses.append("")
    result = call("top", "--control", "a.sock")
    assert result.exit_code == 0
    assert "2,000 answered/s" in result.stdout
    assert result.stdout.isascii() or "█" in result.stdout
    assert "\x1b" not in result.stdout
    assert [path for path, _ in ticking.asked] == [Path("a.sock")] * 2


def test_a_daemon_that_is_not_there(ticking: Ticking) -> None:
    ticking.error = NetworkError(2, "there is no daemon")
    result = call("top")
    assert (result.exit_code, result.stderr) == (1, "error: there is no daemon\n")


def test_a_daemon_of_another_version(ticking: Ticking) -> None:
    ticking.answers = [{"status": {"version": "0.1.0", "instances": []}}]
    result = call("top", "--control", "a.sock")
    assert result.stderr == "error: the daemon at a.sock is of another version (0.1.0)\n"


class Screen:
    """In place of rich's Live: what was shown."""

    def __init__(self) -> None:
        self.views: list[str] = []

    def __call__(self, *, console: Console, screen: bool, auto_refresh: bool) -> Screen:
        assert screen
        self.console = console
        return self

    def __enter__(self) -> Screen:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def update(self, renderable: Any, *, refresh: bool) -> None:
        with self.console.capture() as capture:
            self.console.print(renderable)
        self.views.append(capture.get())


def test_it_goes_on_until_q_and_can_be_held(ticking: Ticking, monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Screen()
    monkeypatch.setattr("rich.live.Live", screen)
    watch = Watch(Path("a.sock"))
    ticking.answers = [answer(STATUS), answer(LATER), answer(attrs.evolve(LATER, uptime=90064.0))]
    watch.look()
    keys = ["", PAUSE, "", PAUSE, "q"]
    command._follow(watch, 1.0, lambda _timeout: keys.pop(0))
    assert ["held" in each for each in screen.views] == [False, False, True, True, False]
    assert ["2,000 answered/s" in each for each in screen.views] == [False, True, True, True, False]
    assert ticking.answers == []


def test_a_daemon_that_is_restarted_is_waited_for(ticking: Ticking, monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Screen()
    monkeypatch.setattr("rich.live.Live", screen)
    watch = Watch(Path("a.sock"))
    anew = attrs.evolve(STATUS, pid=78, uptime=1.0, counters={"dns": {"lan": {"answered": 3}}})
    ticking.answers = [answer(STATUS), {"error": f"it is {HOSTILE} gone"}, answer(anew)]
    watch.look()
    keys = ["", "", "q"]
    command._follow(watch, 1.0, lambda _timeout: keys.pop(0))
    assert "it is \\x1b[31m\\x07<script> gone" in screen.views[1]
    assert "process 77" in screen.views[1]
    assert "process 78" in screen.views[2]
    assert "3.0 answered/s" in screen.views[2]


def test_no_color_is_respected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    console = Console(width=120, force_terminal=True, markup=False, emoji=False, highlight=False)
    with console.capture() as capture:
        console.print(view(LATER, rates(STATUS, LATER), width=120, height=None))
    assert "\x1b[1m" in capture.get()  # bold, for what is wrong
    assert "\x1b[3" not in capture.get()
    assert "\x1b[1;3" not in capture.get()
