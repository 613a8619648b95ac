"""The folder of service files: tables, Avahi's files, mistakes in them, and changes while everything runs."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import trio
from responder_plugins.mdns.service_files import MAX_SIZE, Folder
from responder_plugins.shared import dns_message as dns
from trio.testing import MockClock

from responder import ConfigErrors, Context

from .support import mdns, query, serving, to_text

AVAHI = """<?xml version="1.0" standalone='no'?><!--*-nxml-*-->
<!DOCTYPE service-group SYSTEM "avahi-service.dtd">
<service-group>
  <name replace-wildcards="yes">Files on %h</name>
  <service>
    <type>_smb._tcp</type>
    <port>445</port>
  </service>
  <service protocol="ipv6">
    <type>_http._tcp</type>
    <subtype>_printer._sub._http._tcp</subtype>
    <host-name>other.local</host-name>
    <port>80</port>
    <txt-record>path=/a=b</txt-record>
    <txt-record>flag</txt-record>
    <txt-record value-format="binary-hex">hex=00ff</txt-record>
    <txt-record value-format="binary-base64">raw=AP8=</txt-record>
  </service>
</service-group>
"""
TOML = '[[services]]\nname = "A"\ntype = "_http._tcp"\nport = 1\n'


def read(folder: Path, **files: str | bytes) -> tuple[list[str], list[str]]:
    """The services found, and what is wrong."""
    for name, content in files.items():
        file = folder / name.replace("_", ".")
        file.write_bytes(content.encode() if isinstance(content, str) else content)
    found = Folder(folder).read("lab")
    return [f"{each.name} {each.type}" for each in found.services], [str(each) for each in found.errors]


def test_a_file_of_avahi_s(tmp_path: Path) -> None:
    (tmp_path / "smb.service").write_text(AVAHI)
    smb, http = Folder(tmp_path).read("lab").services
    assert (smb.name, smb.type, smb.port, smb.host, smb.txt) == ("Files on lab", "_smb._tcp", 445, "", {})
    assert (http.host, http.subtypes, http.port) == ("other.local", ("_printer",), 80)
    assert http.txt_rdata == b"\x09path=/a=b\4flag\6hex=\0\xff\6raw=\0\xff"


@pytest.mark.parametrize("text", [TOML, TOML.removeprefix("[[services]]\n")])
def test_a_table(text: str, tmp_path: Path) -> None:
    assert read(tmp_path, a_toml=text) == (["A _http._tcp"], [])


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("b_toml", "name = ", "Invalid value"),
        ("b_toml", b"\xff", "can't decode"),
        ("b_toml", "[[services]]\nname = 'B'\ntype = 'x'\nport = 1\n", "services[0].type: expected a type"),
        ("b_toml", "typo = 1\n", "typo"),
        ("b_toml", "x" * (MAX_SIZE + 1), "has more than"),
        ("b_service", "<service-group>", "is no XML"),
        ("b_service", "<other/>", "expected a <service-group>"),
        ("b_service", "<service-group/>", "<service-group> has no <name>"),
        ("b_service", "<service-group><name>B</name><service/></service-group>", "<service> has no <type>"),
        (
            "b_service",
            "<service-group><name>B</name><service><type>_a._tcp</type><port>x</port></service></service-group>",
            "<port>: expected a number",
        ),
        (
            "b_service",
            "<service-group><name>B</name><service><type>_a._tcp</type><domain-name>example.org</domain-name>"
            "</service></service-group>",
            "only local is served",
        ),
        (
            "b_service",
            "<service-group><name>B</name><service><type>_a._tcp</type>"
            "<txt-record value-format='binary-hex'>a=0</txt-record></service></service-group>",
            "<txt-record>a",
        ),
        (
            "b_service",
            '<!DOCTYPE x [<!ENTITY a "b"><!ENTITY c "&a;&a;">]><service-group><name>&c;</name></service-group>',
            "is XML that is not read here",
        ),
        (
            "b_service",
            '<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]><service-group><name>&a;</name></service-group>',
            "is XML that is not read here",
        ),
    ],
)
def test_a_file_that_is_wrong_is_named_and_left_out(
    name: str, content: str | bytes, message: str, tmp_path: Path
) -> None:
    services, (error,) = read(tmp_path, **{"a_toml": TOML, name: content, "c_toml": TOML.replace("A", "C")})
    assert services == ["A _http._tcp", "C _http._tcp"]
    assert message in error
    assert str(tmp_path / name.replace("_", ".")) in error


def test_other_files_are_no_service_files(tmp_path: Path) -> None:
    assert read(tmp_path, README_md="x", a_toml=TOML) == (["A _http._tcp"], [])


def test_a_folder_that_is_missing_is_told(tmp_path: Path) -> None:
    _, (error,) = read_missing(tmp_path / "none")
    assert "is no folder" in error


def read_missing(folder: Path) -> tuple[list[str], list[str]]:
    found = Folder(folder).read("lab")
    return [], [str(each) for each in found.errors]


def test_check_complains_of_what_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text(TOML)
    (tmp_path / "b.toml").write_text("typo = 1")
    (tmp_path / "c.toml").write_text(TOML)
    context = Context("mdns", tmp_path)
    mdns(services_dir=str(tmp_path)).prepare(context)
    assert [str(each.file) for each in context.complaints] == [str(tmp_path / "b.toml"), str(tmp_path)]
    assert "'A' of _http._tcp is there twice" in str(context.complaints[1])
    assert {tmp_path, tmp_path / "a.toml", tmp_path / "b.toml"} <= context.files.keys()


def test_a_host_without_a_name_has_no_services_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text(TOML)
    context = Context("mdns", tmp_path)
    mdns(host="", services=[], services_dir=str(tmp_path)).prepare(context)
    assert "which has no name" in str(context.complaints[0])
    with pytest.raises(ConfigErrors):
        mdns(host="")


async def test_changes_are_seen_within_two_seconds(
    autojump_clock: MockClock, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "services"
    folder.mkdir()
    async with serving(mdns(services=[], services_dir=str(folder)), state=tmp_path) as world:

        async def found() -> set[str]:
            heard = await world.ask(query("_http._tcp.local", dns.PTR))
            return {to_text(each[2]) for one in heard for each in one.answers}

        assert await found() == set()
        (folder / "a.toml").write_text(TOML)
        await trio.sleep(2 + 0.25 + 0.75)
        assert await found() == {"A._http._tcp.local"}
        (folder / "b.toml").write_text("typo = 1")
        (folder / "a.toml").write_text(TOML.replace("port = 1", "port = 99"))
        await trio.sleep(2 + 1.5)
        assert "a service file is left out" in caplog.text
        (heard,) = await world.ask(query("A._http._tcp.local", dns.SRV))
        assert heard.answers[0][2][4:6] == (99).to_bytes(2)
        began = world.now
        (folder / "a.toml").unlink()
        await trio.sleep(3)
        assert [each.is_goodbye for each in world.heard(since=began)] == [True, True]
        assert await found() == set()
        assert len(await world.ask(query("lab.local", dns.A))) == 1


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no FIFOs")
def test_what_is_no_file_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.toml")
    (tmp_path / "endless.toml").symlink_to("/dev/zero")
    services, errors = read(tmp_path, a_toml=TOML)
    assert services == ["A _http._tcp"]
    assert len([error for error in errors if "is no file" in error]) == 2
