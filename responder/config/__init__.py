"""The configuration: a TOML file becomes checked instances.

source.py        the files: standard input, `include`, environment variables, the line of each key (key_lines.py)
reading.py       their tables: the keys of `[daemon]`, the instances, all mistakes at once
instance.py      a plugin with its options, and the keys that every instance has, laid over its services
registry.py      entry points -> plugin classes
structuring.py   tables -> attrs classes, strictly
option_types.py  the leaf types: what each accepts, and how a message names it
type_names.py    what all types are called, examples of them, and what can't be an option's type
reference.py     what can be written, in words: descriptions, defaults, examples
hints.py         what is no mistake, but hardly meant
key_paths.py     the paths of keys in messages, and the nearest known key to a wrong one
endpoint.py      ADDRESS:PORT of what the daemon itself listens on
divisible.py     what several worker processes can serve together
"""
