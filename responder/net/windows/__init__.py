"""Windows: one dual-stack socket a port, `WSARecvMsg` and `WSASendMsg`.

platform.py     opens and sets up sockets         udp.py               receives and sends
interfaces.py   adapters                          change_callbacks.py  the system's calls when they change
memberships.py  multicast groups                  private_file.py      files for their owner alone
winsock*.py     the border to the foreign functions: structures, errors, calls
console.py, session_window.py  what ends the process     service*.py, event_log.py  a service
"""
