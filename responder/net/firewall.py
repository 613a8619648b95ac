"""The command that lets requests through this machine's own firewall, where one is on by default: on Windows.

The rule names ports.  One that names the program would have to name the base interpreter, since a virtual environment's
python.exe only starts that, and would open the port for every Python program.  This file runs nothing.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable


def opening_commands(udp: Iterable[int], tcp: Iterable[int]) -> list[str]:
    """For an administrator's PowerShell; none where nothing has to be opened."""
    return windows_commands(udp, tcp) if sys.platform == "win32" else []


def windows_commands(udp: Iterable[int], tcp: Iterable[int]) -> list[str]:
    """The rules of Windows' firewall for these ports; 0, which the system chooses, can't be in a rule."""
    commands = []
    for protocol, numbers in (("UDP", udp), ("TCP", tcp)):
        ports = ",".join(str(number) for number in sorted(set(numbers)) if number)
        if ports:
            name = f'"responderd {protocol}"'
            commands.append(
                f"New-NetFirewallRule -DisplayName {name} -Direction Inbound -Action Allow"
                f" -Protocol {protocol} -LocalPort {ports}"
            )
    return commands
