"""Zones: master files read into tables of bytes, from which answers are copied.

master_file   reads a zone, and tells each mistake by file and line; `plain_lines` reads most lines of a large zone
builder       checks records, and builds the zone from them; `rdata`, `record`, `names`, `words` and `generate` read
tables        a zone in memory: what is found by a lookup
denial        what proves that something is not in a signed zone: NSEC and NSEC3
changes       what makes one version of a zone out of another, and what differs between two
edit          puts a change into a zone; `rules` has what holds of zones that are read and zones that change
catalog       all zones of an instance: which zone is nearest to a name
master_text   a zone as a master file
zone_files    the zone files of an instance, read again where a file has changed
"""
