"""Zones on their way to other servers and from them, and their changes by updates.

outgoing  a zone as messages: AXFR, and IXFR with what has changed; `tsig` signs them
upstream  asks primaries for theirs, over a `connection`; `primary` is one of them
incoming  what the messages of a transfer bring
notify    tells other servers that a zone has changed; `servers` knows them
update    dynamic updates: who may change what; `draft` is the zone as it would be
versions  changes made one after the other, for all processes that serve an instance; `turn` is whose turn it is
journal   the changes of a zone in a file
"""
