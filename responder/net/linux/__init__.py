"""Linux: one dual-stack socket a port, interfaces by rtnetlink.

platform.py     opens and sets up sockets        udp.py      receive and send, in Python
compiled.py     the usual case, compiled         tcp.py      what accept tells of a connection's way in
interfaces.py   rtnetlink: dump and changes      memberships.py  multicast groups
host.py         who has a port                   icmp.py     what ICMP said of what a socket sent
capabilities.py, constants.py
"""
