"""A headless Chromium: what a page is in it, as text and as a picture."""

from __future__ import annotations

import json
import struct
import subprocess
import zlib
from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import trio

BOUND = 120.0
"""Seconds that a browser has, on a loaded machine too."""

OPTIONS = (
    "--headless",
    # Its sandbox needs what a container does not give.
    *("--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"),
    # It is to speak with us alone.
    *("--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update"),
    *("--disable-sync", "--disable-extensions", "--disable-default-apps", "--no-proxy-server"),
)

NO_SCRIPT = {"profile": {"default_content_setting_values": {"javascript": 2}}}
"""Preferences of who lets no page run scripts."""


async def run(profile: Path, url: str, *options: str, script: bool = True, under: Sequence[str] = ()) -> str:
    """What it says at its end; `profile` is a folder that does not exist yet, `under` a command that runs it."""
    (profile / "Default").mkdir(parents=True)
    (profile / "Default" / "Preferences").write_text(json.dumps({} if script else NO_SCRIPT))
    with trio.fail_after(BOUND):
        done: subprocess.CompletedProcess[bytes] = await trio.run_process(
            [*under, "chromium", *OPTIONS, f"--user-data-dir={profile}", *options, url],
            capture_stdout=True,
            stderr=subprocess.DEVNULL,
        )
    return done.stdout.decode()


async def document(profile: Path, url: str, *, script: bool = True, after: int = 0) -> str:
    """The page as markup after so many milliseconds of the page's own time, which passes while nothing else happens."""
    budget = (f"--virtual-time-budget={after}",) if after else ()
    return await run(profile, url, "--dump-dom", *budget, script=script)


async def picture(
    profile: Path,
    url: str,
    file: Path,
    *options: str,
    size: tuple[int, int] = (1280, 1600),
    after: int = 0,
    under: Sequence[str] = (),
) -> Counter[bytes]:
    """Write what is seen to a file, and give how many of its points have each colour (three bytes)."""
    budget = (f"--virtual-time-budget={after}",) if after else ()
    shot = (f"--screenshot={file}", f"--window-size={size[0]},{size[1]}", "--hide-scrollbars")
    await run(profile, url, *shot, *budget, *options, under=under)
    return await trio.to_thread.run_sync(partial(colours, file.read_bytes()))


def colours(png: bytes) -> Counter[bytes]:
    """The points of a PNG of 8 bits a channel, by colour; see the PNG specification, sections 5, 7 and 9."""
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    at, data = 8, b""
    while at < len(png):
        length, kind = struct.unpack_from("!I4s", png, at)
        if kind == b"IHDR":
            width, height, depth, colour_type = struct.unpack_from("!IIBB", png, at + 8)
        elif kind == b"IDAT":
            data += png[at + 8 : at + 8 + length]
        at += 12 + length
    assert (depth, colour_type) in {(8, 2), (8, 6)}
    channels = 3 if colour_type == 2 else 4
    raw, row_length = zlib.decompress(data), width * channels
    above = bytearray(row_length)
    found: Counter[bytes] = Counter()
    for row in range(height):
        start = row * (row_length + 1)
        line = _unfiltered(raw[start], bytearray(raw[start + 1 : start + 1 + row_length]), above, channels)
        found.update(bytes(line[index : index + 3]) for index in range(0, row_length, channels))
        above = line
    return found


def _unfiltered(kind: int, line: bytearray, above: bytearray, channels: int) -> bytearray:
    for index in range(len(line)):
        left = line[index - channels] if index >= channels else 0
        up, corner = above[index], above[index - channels] if index >= channels else 0
        if kind == 1:
            more = left
        elif kind == 2:
            more = up
        elif kind == 3:
            more = (left + up) // 2
        elif kind == 4:
            estimate = left + up - corner
            more = min((left, up, corner), key=lambda each: abs(estimate - each))
        else:
            break
        line[index] = (line[index] + more) & 0xFF
    return line
