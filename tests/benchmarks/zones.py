"""The zone of the DNS rows, and what is asked of it.  The same each time."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Final

ORIGIN: Final = "example.test"
TTL: Final = 300  # seconds
HEAD = f"$TTL {TTL}\n@ SOA ns host 1 3600 600 86400 60\n@ NS ns\nns A 192.0.2.53\n"


def hosts(names: int) -> Iterator[tuple[str, str]]:
    """Names, relative to the origin, with an address each."""
    for n in range(names):
        yield f"host{n}", f"10.{n >> 16 & 255}.{n >> 8 & 255}.{n & 255}"


def write_zone(path: Path, names: int) -> None:
    """A master file (RFC 1035 section 5) with so many A records."""
    with path.open("w") as file:
        file.write(HEAD)
        file.writelines(f"{name} A {address}\n" for name, address in hosts(names))


def write_fresh_queries(folder: Path, names: int, count: int, files: int) -> list[Path]:
    """Files with `count` distinct questions each, none of which is in two; in all else as `write_queries`."""
    rng = random.Random(54)  # noqa: S311 - the same ones each time
    absent = count // 10
    present = rng.sample(range(names), (count - absent) * files)
    paths = []
    for number in range(files):
        own = present[number * (count - absent) : (number + 1) * (count - absent)]
        asked = [f"host{n}" for n in own] + [f"none{number * absent + n}" for n in range(absent)]
        rng.shuffle(asked)
        paths.append(folder / f"fresh{number}")
        paths[-1].write_text("".join(f"{name}.{ORIGIN} A\n" for name in asked))
    return paths


def write_queries(path: Path, names: int, count: int) -> None:
    """`count` distinct questions in random order, as dnsperf(1) reads them: nine of ten of the zone's `names` names,
    the others of names that do not exist."""
    rng = random.Random(53)  # noqa: S311 - the same ones each time
    absent = count // 10
    asked = [f"host{n}" for n in rng.sample(range(names), count - absent)] + [f"none{n}" for n in range(absent)]
    rng.shuffle(asked)
    path.write_text("".join(f"{name}.{ORIGIN} A\n" for name in asked))
