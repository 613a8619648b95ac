"""Zones that are taken from other servers (the option `secondary`), and catalog zones (RFC 9432).

secondaries   looks after all of them: checks, transfers, expiry, NOTIFY
kept          one of them; `schedule` when each is due, `timers` what its SOA record says of that
storage       what is kept of them in the state folder; `copies` the files
leadership    several processes that serve the same zones: one takes them over, the others follow; `board` their files
catalog_zone  a catalog zone read, and one made
members       which zone belongs to which catalog: they come, go, and change hands
lister        keeps the catalog zone that lists the zones of this instance
"""
