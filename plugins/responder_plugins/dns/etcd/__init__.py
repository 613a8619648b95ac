"""Zones whose records are in etcd, in SkyDNS' layout, as CoreDNS reads and external-dns writes it.

skydns      a key and its value are a service of a name; what records a name has of the services at and below it
services    all services of the instance's zones: a tree by labels, and the zones that are made of it
client      etcd's version 3 by its JSON gateway, on httpx
follower    lists what is there, watches it, and goes on with the last known answers while etcd is away
last_known  those answers in the state folder, for a restart meanwhile
"""
