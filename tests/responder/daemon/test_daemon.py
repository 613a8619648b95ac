"""The daemon's parts that need no process: reloading, the invitation, where state goes."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import attrs
import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from responder import InterfaceAddress
from responder.config.daemon_options import DaemonOptions
from responder.config.instance import prepare, prepare_all
from responder.config.reading import Config, embedded_default, load
from responder.daemon.daemon import Daemon, invitation
from responder.daemon.member import LocalMember
from responder.daemon.orders import Orders
from responder.daemon.service_manager import Notifier
from responder.daemon.status import About
from responder.net import notify
from responder.server.server import open_server
from tests.fakes import GUEST, LAN, LOOPBACK, FakePlatform, FakeReceived, flow

ECHO = "[plugins.echo]\nport = 7007\n"


@asynccontextmanager
async def running(
    file: Path, text: str, platform: FakePlatform, notifier: Notifier | None = None
) -> AsyncIterator[Daemon]:
    file.write_text(text)
    config = load(file)
    async with (
        open_server(await prepare_all(config.instances), platform=platform) as server,
        trio.open_nursery() as nursery,
    ):
        daemon = Daemon(LocalMember(config, server, About(file)), notifier or Notifier())
        nursery.start_soon(server.run)
        nursery.start_soon(daemon.announce, Orders(daemon.stop))
        await wait_all_tasks_blocked()
        yield daemon
        nursery.cancel_scope.cancel()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "config.toml"


async def answered(platform: FakePlatform, position: int = -1) -> bool:
    socket = platform.sockets[position]
    before = len(socket.sent)
    socket.deliver(FakeReceived(b"x", flow()))
    await wait_all_tasks_blocked()
    return len(socket.sent) == before + 1


class TestReload:
    async def test_a_new_configuration_is_served(self, file: Path) -> None:
        platform = FakePlatform()
        async with running(file, ECHO, platform) as daemon:
            file.write_text(ECHO + '[plugins.other]\nuse = "echo"\nport = 7008\n')
            assert await daemon.reload() == []
            assert [socket.port for socket in platform.sockets] == [7007, 7008]
            assert await answered(platform)
            assert [each.name for each in daemon.member.config.instances] == ["echo", "other"]

    async def test_how_the_last_one_went_is_kept(self, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        async with running(file, ECHO, FakePlatform()) as daemon:
            started = daemon.status()["reload"]
            assert (started["successful"], started["attempted"]) == (True, started["in_force"])
            monkeypatch.setattr("responder.daemon.status.time.time", lambda: started["attempted"] + 60)
            file.write_text("[plugins.echo")
            await daemon.reload()
            assert daemon.status()["reload"] == {**started, "successful": False, "attempted": started["attempted"] + 60}
            file.write_text(ECHO)
            await daemon.reload()
            again = started["attempted"] + 60
            assert daemon.status()["reload"] == {"successful": True, "attempted": again, "in_force": again}

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("[plugins.echo]\nprot = 7007\n", "plugins.echo.prot: unknown key; did you mean 'port'?"),
            ("[plugins.echo", "config.toml:1: "),
            ('[plugins.whoami]\nport = "x"\n', "plugins.whoami.port: expected a port"),
            ("[plugins.echo]\nport = 9\n", "UDP port 9 is taken"),
        ],
    )
    async def test_a_wrong_one_changes_nothing(
        self, file: Path, text: str, message: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        platform = FakePlatform(taken={9})
        async with running(file, ECHO, platform) as daemon:
            before = daemon.server.instances
            file.write_text(text)
            (said,) = await daemon.reload()
            assert message in said
            assert daemon.server.instances == before
            assert await answered(platform)
        assert "the new configuration is refused" in caplog.text

    async def test_the_service_manager_is_told_that_it_is_refused_and_why(
        self, file: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        told: list[str] = []
        monkeypatch.setattr(notify, "send", lambda _address, message, timeout: told.append(message))
        async with running(file, ECHO, FakePlatform(), Notifier("/its/socket")) as daemon:
            told.clear()
            file.write_text("[plugins.echo]\nprot = 7007\nraet = 1\n")
            await daemon.reload()
            began, refused, ready = told
            assert began.startswith("RELOADING=1")
            assert refused.startswith("STATUS=reload refused: ")
            assert refused.endswith("plugins.echo.prot: unknown key; did you mean 'port'? (and 1 more)")
            assert ready == "READY=1"
            file.write_text(ECHO)
            assert await daemon.reload() == []
            assert told[4:] == ["STATUS=serving echo", "READY=1"]

    async def test_the_mistakes_of_keys_and_of_files_are_told_together(self, file: Path) -> None:
        async with running(file, ECHO, FakePlatform()) as daemon:
            file.write_text("[plugins.echo]\nprot = 7\n[plugins.other]\nuse = 'file-reader'\n")
            said = await daemon.reload()
            assert len(said) == 2

    @pytest.mark.parametrize(
        ("line", "message"),
        [('port = "x"', "plugins.dns.port: expected a port"), ("prot = 7", "plugins.dns.prot: unknown key")],
    )
    async def test_also_where_one_instance_has_both(self, file: Path, line: str, message: str) -> None:
        async with running(file, ECHO, FakePlatform()) as daemon:
            file.write_text(f'[plugins.dns]\n{line}\nzones = {{ "example.test" = "missing.zone" }}\n')
            said = await daemon.reload()
            assert len(said) == 2
            assert message in said[0]
            assert "missing.zone: plugins.dns.zones" in said[1]

    async def test_a_plugin_does_not_complain_of_what_a_mistyped_option_was_to_say(self, file: Path) -> None:
        async with running(file, ECHO, FakePlatform()) as daemon:
            file.write_text('[plugins.dns]\nzonez = { "example.test" = "missing.zone" }\n')
            (said,) = await daemon.reload()
            assert "plugins.dns.zonez: unknown key; did you mean 'zones'?" in said

    @pytest.mark.parametrize(
        "form", ['{{ "key.test" = {{ secret = "{} }} }}', '{{ "key.test" = "{}" }}', '"{}"', '["{}"']
    )
    async def test_no_secret_is_repeated_wherever_the_mistake_is(
        self, file: Path, form: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        key = "c2VjcmV0IG9mIHRoZSB0ZXN0cw=="
        told: list[str] = []
        monkeypatch.setattr(notify, "send", lambda _address, message, timeout: told.append(message))
        async with running(file, ECHO, FakePlatform(), Notifier("/its/socket")) as daemon:
            file.write_text(ECHO + f"[plugins.dns]\ntransfer_keys = {form.format(key)}\n")
            said = await daemon.reload()
            assert said
            status = json.dumps(daemon.status(), default=str)
        assert not [text for text in (*said, *told, status, caplog.text) if key[:8] in text]

    async def test_without_a_thread_what_runs_is_kept(
        self, file: Path, request: pytest.FixtureRequest, caplog: pytest.LogCaptureFixture
    ) -> None:
        platform = FakePlatform()
        async with running(file, ECHO, platform) as daemon:
            request.getfixturevalue("no_thread")
            (said,) = await daemon.reload()
            assert said.startswith("no thread can be had: ")
            assert await answered(platform)
        assert [record.exc_info for record in caplog.records if record.levelname == "ERROR"] == [None]

    async def test_a_missing_file_changes_nothing(self, file: Path) -> None:
        platform = FakePlatform()
        async with running(file, ECHO, platform) as daemon:
            file.unlink()
            (said,) = await daemon.reload()
            assert "No such file" in said
            assert await answered(platform)

    async def test_what_did_not_change_is_untouched(self, file: Path) -> None:
        platform = FakePlatform()
        async with running(file, ECHO, platform) as daemon:
            before = daemon.server.instances
            assert await daemon.reload() == []
            assert daemon.server.instances == before
            assert len(platform.sockets) == 1

    async def test_options_of_the_daemon_follow(self, file: Path, caplog: pytest.LogCaptureFixture) -> None:
        level = logging.getLogger().level
        async with running(file, ECHO, FakePlatform()) as daemon:
            assert not daemon.observers
            file.write_text('[daemon]\nqueries = true\ngrace = 7\nlog = "error"\nsettle = 2\n' + ECHO)
            assert await daemon.reload() == []
            assert daemon.observers
            assert daemon.server.grace == 7
            assert not logging.getLogger().isEnabledFor(logging.INFO)
            file.write_text('[daemon]\nsettle = 2\nlog = "info"\n' + ECHO)
            assert await daemon.reload() == []
            assert not daemon.observers
            assert logging.getLogger().isEnabledFor(logging.INFO)
            assert daemon.waiting_for_restart() == ["daemon.settle"]
        logging.getLogger().setLevel(level)
        assert "this key is changed by a restart only key=daemon.settle" in caplog.text

    async def test_without_a_file_there_is_nothing_to_read(self) -> None:
        async with open_server([], platform=FakePlatform()) as server:
            server.ready.set()
            daemon = Daemon(LocalMember(Config(DaemonOptions(), ()), server, About(None)), Notifier())
            assert await daemon.reload() == ["there is no configuration file to read again"]


@pytest.mark.usefixtures("no_thread")
async def test_without_a_thread_there_is_no_invitation() -> None:
    config = embedded_default()
    prepared = [prepare(each) for each in config.instances]
    async with open_server(prepared, platform=FakePlatform()) as server, trio.open_nursery() as nursery:
        daemon = Daemon(LocalMember(config, server, About(None)), Notifier())
        nursery.start_soon(server.run)
        nursery.start_soon(daemon.announce, Orders(daemon.stop))
        await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()


def test_the_invitation_names_addresses_that_others_can_ask_first() -> None:
    assert invitation([LOOPBACK, LAN], 5300).splitlines()[1:] == [
        "  dig @10.71.0.1 -p 5300 whoami.test TXT",
        "  dig @10.71.0.2 -p 5300 whoami.test TXT",
        "  dig @fd71::1 -p 5300 whoami.test TXT",
        "  dig @127.0.0.1 -p 5300 whoami.test TXT",
        "  ... or at any other address of 2 more: see `responderd interfaces`",
    ]


def test_the_invitation_of_a_host_with_many_addresses_is_short() -> None:
    many = attrs.evolve(GUEST, addresses=[InterfaceAddress(f"10.72.0.{n}", 24) for n in range(1, 200)])
    lines = invitation([LOOPBACK, many], 5300).splitlines()
    assert len(lines) == 10
    assert lines[-2] == "  dig @127.0.0.1 -p 5300 whoami.test TXT"


def test_the_invitation_of_a_host_without_any() -> None:
    assert "no interface is up" in invitation([attrs.evolve(LAN, flags=())], 5300)
