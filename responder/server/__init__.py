"""Instances on ports, running: what the daemon and embedding programs serve with.

server.py      `Server`: open, run, replace, stop
live_ports.py  the ports that serve, kept through every change of who answers there
ports.py       which ports a set of instances needs, and opening them, all or none
supervisor.py  an instance's background work: started, started again after a crash, stopped
interfaces.py  the interface table, kept as the host is
embedding.py   `serve`, for programs of one's own
"""
