"""Windows: one dual-stack socket a port, `WSARecvMsg` and `WSASendMsg`.

platform.py     opens and sets up sockets         udp.py       receive and send
interfaces.py   adapters and their changes        memberships.py  multicast groups
winsock*.py     the border to the foreign functions: structures, errors, calls
overlapped.py   operations that wait              private_file.py  a file for its owner alone
console.py, session_window.py  what ends the process service*.py, event_log.py  a service
"""
