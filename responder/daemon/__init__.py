"""A process that runs for years: the configuration, signals, reloads, and what operators look at.

daemon.py           start, serve, end
orders.py           stop and reload, from signals and from the control channel
reload.py           the one rule of a reload: prepare, then commit or abandon, over members
member.py           the only member of a daemon without workers: its own server
workers/            several processes that serve the same ports
control.py          the channel that `status`, `trace`, `top` and `reload` speak to
status.py           what a daemon is doing, as data
rates.py            the same by the second, from one look to the next
recent_datagrams.py some of the last datagrams, for those who look
exporter.py         HTTP: /health, /ready, /metrics (prometheus.py) and the page (page/)
logs.py             where log lines go, and in which form
query_log.py        a line for each answer
capture.py          datagrams as a pcap file
collector.py        how often Python looks for cycles
service_manager.py  what systemd is told
progress.py         it is told too what is being read
"""
