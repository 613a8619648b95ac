"""The lab of two links with the server, then server and clients, being Windows: every answer from the address asked.

And without control data, as plain Wine has it, it is not: so it is the source that is measured.  A request to the other
link's address, and one to a service address, shows what Linux's weak host model below Wine lets through.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.lab.multihomed import CLIENT_LINK_LOCAL, ECHO_CONFIG, Multihomed, Way, all_ways
from tests.lab.test_right_source import SECOND_LINK, UNKNOWABLE

from .wine import Machine, WindowsPython

pytestmark = [pytest.mark.windows, pytest.mark.lab]

ASK = Path(__file__).with_name("ask.py")
Serving = Callable[[bool], contextlib.AbstractContextManager[Multihomed]]


@pytest.fixture(scope="module")
def serving(windows: WindowsPython, tmp_path_factory: pytest.TempPathFactory) -> Serving:
    @contextlib.contextmanager
    def serve(control_data: bool) -> Iterator[Multihomed]:
        config = tmp_path_factory.mktemp("windows") / "echo.toml"
        config.write_text(ECHO_CONFIG)
        with (
            Multihomed() as network,
            windows.machine(network.host, control_data=control_data) as machine,
            machine.daemon(config) as child,
        ):
            yield network
            assert child.stop() == 0, "\n".join(child.said)

    return serve


@pytest.fixture(scope="module")
def network(serving: Serving) -> Iterator[Multihomed]:
    """With a Windows server on the host."""
    with serving(True) as network:
        yield network


@pytest.mark.parametrize("way", all_ways(), ids=str)
def test_a_windows_server_answers_right(network: Multihomed, way: Way) -> None:
    with network.hears_nothing(3 - way.client):
        assert network.ask(way) == ""


def test_windows_clients_hear_a_windows_server_right(
    network: Multihomed, windows: WindowsPython, tmp_path: Path
) -> None:
    verdicts = windows_clients(network, windows, tmp_path)
    assert verdicts == dict.fromkeys(map(str, all_ways()), "")


def test_without_control_data_these_ways_fail(serving: Serving, windows: WindowsPython, tmp_path: Path) -> None:
    """The same ways for clients on Linux and on Windows."""
    with serving(False) as network:
        heard_by = {"linux": linux_clients(network), "windows": windows_clients(network, windows, tmp_path)}
    for system, verdicts in heard_by.items():
        assert {way for way, verdict in verdicts.items() if verdict} == WITHOUT_CONTROL_DATA, (system, verdicts)


def linux_clients(network: Multihomed) -> dict[str, str]:
    """Verdicts by way.  All are asked before the first answer is waited for, so that silence costs its time once."""
    with contextlib.ExitStack() as stack:
        asked = []
        for way in all_ways():
            sock, token = stack.enter_context(network.client_socket(way)), network.token()
            sock.settimeout(0.5)
            sock.sendto(token, network.address_of(way))
            asked.append((way, sock, token))
        return {str(way): network.verdict(way, sock, token) for way, sock, token in asked}


def windows_clients(network: Multihomed, windows: WindowsPython, folder: Path) -> dict[str, str]:
    """Verdicts by way."""
    verdicts = {}
    for number, namespace in network.clients.items():
        ways = [way for way in all_ways() if way.client == number]
        requests = folder / f"client{number}.json"
        requests.write_text(json.dumps([request(network, way) for way in ways]))
        with windows.machine(namespace) as machine:
            answers = heard(machine, requests)
        for way, source in zip(ways, answers, strict=True):
            verdicts[str(way)] = "silence" if source is None else network.verdict_on_source(way, source)
    return verdicts


def request(network: Multihomed, way: Way) -> dict[str, object]:
    return {
        "to": network.address_of(way),
        "token": network.token().decode(),
        "source": way.source,
        "link": way.source if way.source == CLIENT_LINK_LOCAL[4] else f"10.7{way.client}.0.9",
    }


def heard(machine: Machine, requests: Path) -> list[list[object] | None]:
    done = machine.run(ASK, requests, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    answers: list[list[object] | None] = json.loads(done.stdout)
    return answers


WITHOUT_CONTROL_DATA = UNKNOWABLE | SECOND_LINK | {"client1-own-primary-v6", "client2-own-primary-v6"}
"""The last two: of two addresses with one prefix, Linux sends from the one that was added last."""
