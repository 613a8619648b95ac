"""A port that the Windows server shares with another program of its host, which is heard."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from tests.lab.changing import many_links
from tests.lab.namespaces import Lab
from tests.lab.test_shared import search_beside
from tests.lab.test_ssdp import config

from .wine import WindowsPython

pytestmark = [pytest.mark.windows, pytest.mark.lab]


def test_another_program_on_the_port_searches_and_is_answered(windows: WindowsPython, tmp_path: Path) -> None:
    with Lab() as lab:
        host, _ = many_links(lab, 1)
        with windows.machine(host) as machine, machine.daemon(config(tmp_path)) as child:
            search_beside(host, (socket.AF_INET, socket.AF_INET6))
            assert child.stop() == 0, "\n".join(child.said)
        assert child.totals("ssdp")["own-source"] > 0
