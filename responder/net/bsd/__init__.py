"""macOS and FreeBSD: a socket of each family a port.  Written from documentation and sources; never run there.

abi.py   options and control messages, pure      platform.py, udp.py, interfaces.py
"""
