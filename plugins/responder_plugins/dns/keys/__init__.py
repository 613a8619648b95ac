"""Zones that are signed here (DNSSEC): their keys, and the records made with them.

algorithms   the keys' mathematics: made, read, and signing; of the extra `responderd[dnssec]`
key          a key: its place in the zone and its times
key_files    the keys of a folder, in the files of BIND's dnssec-keygen
timeline     when keys are made, published, used and withdrawn (RFC 7583)
records      the records of a signed zone: RRSIG, NSEC, NSEC3, DNSKEY, CDS, CDNSKEY
signing      a whole zone, signed
amendment    a change of a signed zone, signed
zone_signer  one zone by its policy: its keys, and what is due
signed_copy  a signed zone in the state folder
maintenance  all zones of an instance: signed when they are loaded, and kept signed while they are served
"""
