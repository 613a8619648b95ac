"""Zones: master files read into tables of bytes, from which answers are copied.

master_file   reads a zone, and tells each mistake by file and line; `plain_lines` reads most lines of a large zone
tables        a zone in memory: what is found by a lookup
catalog       all zones of an instance: which zone is nearest to a name
zone_files    the zone files of an instance, read again where a file has changed
"""
