"""The configuration: a TOML file becomes checked instances.

reading.py       the file: tables, the keys of `[daemon]`, all mistakes at once
instance.py      a plugin with its options, and the keys that every instance has, laid over its services
registry.py      entry points -> plugin classes
structuring.py   tables -> attrs classes, strictly
option_types.py  the leaf types: what each accepts, and how a message names it
key_paths.py     the paths of keys in messages, and the nearest known key to a wrong one
endpoint.py      ADDRESS:PORT of what the daemon itself listens on
divisible.py     what several worker processes can serve together
"""
