"""What a client hears that asks for the room, and that observes it."""

from __future__ import annotations

import shutil
from pathlib import Path
from unittest import mock

import pytest
from responder.testing import bench, exchange
from trio.testing import MockClock

from responder_coap_disk import CoapDisk

GET_DISK = b"\x40\x01\x00\x01\xb4disk"
OBSERVE_DISK = b"\x41\x01\x00\x02t\x60\x54disk"


def usage(free: int) -> mock.Mock:
    return mock.Mock(return_value=mock.Mock(free=free))


async def test_the_room_is_told(tmp_path: Path) -> None:
    (heard,) = await exchange(CoapDisk(folder=tmp_path), GET_DISK)
    assert heard.payload.startswith(b"\x60\x45\x00\x01"), "2.05 in the acknowledgment"
    assert int(heard.payload.rpartition(b"\xff")[2]) > 0


async def test_no_such_folder(tmp_path: Path) -> None:
    (heard,) = await exchange(CoapDisk(folder=tmp_path / "missing"), GET_DISK)
    assert heard.payload == b"\x60\xa3\x00\x01\xffno such folder"


async def test_observers_are_told_of_changes(autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch) -> None:
    async with bench(CoapDisk()) as at:
        monkeypatch.setattr(shutil, "disk_usage", usage(5_000_000))
        (heard,) = await at.exchange(OBSERVE_DISK)
        assert heard.payload.endswith(b"\xff5")
        monkeypatch.setattr(shutil, "disk_usage", usage(7_000_000))
        (told,) = await at.collect(within=3)
        assert told.payload.endswith(b"\xff7")
        assert told.payload[4:5] == b"t", "the token of the request"


async def test_it_is_found(tmp_path: Path) -> None:
    (heard,) = await exchange(CoapDisk(folder=tmp_path), b"\x40\x01\x00\x03\xbb.well-known\x04core")
    assert heard.payload.endswith(b'</disk>;obs;rt="disk-room";title="MB left";ct=0')
