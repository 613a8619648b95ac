"""Zones that are taken from other servers (the option `secondary`), and catalog zones (RFC 9432).

secondaries   looks after all of them: checks, transfers, expiry, NOTIFY; one task, one heap of times
timers        when to check a zone, and when it is too old, by its SOA record
copies        the last copy of each zone in the state folder
catalog_zone  a catalog zone read, and one made of the zones of this instance
members       which zone belongs to which catalog: they come, go, and change hands
"""
