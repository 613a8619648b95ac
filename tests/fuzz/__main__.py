"""Hostile input led by coverage (atheris, libFuzzer) or by chance, for as long as wanted.

    python -m tests.fuzz                                      the targets
    python -m tests.fuzz TARGET [-max_total_time=1800]        led by coverage; the options are libFuzzer's
    python -m tests.fuzz TARGET --mutating [COUNT] [SEED]     mutated seeds, always the same ones for a seed number

A target is a module with `SEEDS`, inputs as they should be, and `answered`, which takes any bytes, raises for what must
not happen, and gives back what was answered (None: nothing); `WORDS`, where it has them, are of the language that it
reads, since chance alone would seldom spell them.  Those of plugins stand beside their tests, as `fuzz_target`; the
others are here.  `test_fuzz` runs a bounded part of each.  What is found becomes a test of its own.

Coverage needs `pip install atheris`, which is no dependency of the tests.
"""

from __future__ import annotations

import importlib
import logging
import sys
import tempfile
from pathlib import Path

from .mutation import mutating, words_of

HERE = Path(__file__).parent
MAX_LENGTH = 4096
"""Bytes of an input: all that is found by shorter ones is, and longer ones take longer."""

TARGETS = {
    path.stem.removeprefix("target_"): f"tests.fuzz.{path.stem}" for path in sorted(HERE.glob("target_*.py"))
} | {
    path.parent.name: f"tests.plugins.{path.parent.name}.fuzz_target"
    for path in sorted(HERE.parent.glob("plugins/*/fuzz_target.py"))
}
"""Name -> module."""


def guided(name: str, options: list[str]) -> None:
    """libFuzzer's loop, which ends the process."""
    try:
        import atheris  # noqa: PLC0415 - optional, and not on every platform
    except ImportError:
        sys.exit("coverage needs `pip install atheris`; without it: python -m tests.fuzz TARGET --mutating")
    # With the libraries that read bytes for us: their unexpected exceptions are ours too.
    with atheris.instrument_imports(
        include=["responder", "responder_plugins", "dns", "h11", "h2", "hpack", "hyperframe", "tomllib"]
    ):
        target = importlib.import_module(TARGETS[name])
    # Nothing runs after libFuzzer's end, so that the folder stays: with all that found new code.
    folder = Path(tempfile.mkdtemp(prefix=f"fuzz-{name}-"))
    for number, seed in enumerate(target.SEEDS):
        (folder / str(number)).write_bytes(seed)
    if words := words_of(target):
        dictionary = folder.with_suffix(".dict")
        spelled = ("".join(map("\\x{:02x}".format, word)) for word in words)
        dictionary.write_text("".join(f'"{word}"\n' for word in spelled))
        options = [f"-dict={dictionary}", *options]
    print(f"what finds new code is kept in {folder}; named as an option, another run goes on from there", flush=True)
    found = f"-artifact_prefix={tempfile.gettempdir()}/{name}-"
    atheris.Setup([sys.argv[0], str(folder), f"-max_len={MAX_LENGTH}", found, *options], target.answered)
    atheris.Fuzz()


def main() -> None:
    name, *rest = sys.argv[1:] or [""]
    if name not in TARGETS:
        sys.exit(f"python -m tests.fuzz TARGET, of: {', '.join(TARGETS)}")
    logging.disable()  # what is logged of hostile input is not what is looked at
    if rest[:1] == ["--mutating"]:
        target = importlib.import_module(TARGETS[name])
        mutating(target, int(rest[1]) if len(rest) > 1 else 1_000_000, int(rest[2]) if len(rest) > 2 else 0)
        return
    guided(name, rest)


if __name__ == "__main__":
    main()
