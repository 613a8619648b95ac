"""Times, counts and rates as people read them, in the commands and on the page."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime


def duration(seconds: float) -> str:
    """A time span in its two highest units, or a short one in milli- or microseconds."""
    if seconds < 0.001:
        return f"{seconds * 1e6:.0f} us"
    if seconds < 1:
        return f"{seconds * 1e3:.3g} ms"
    whole = int(seconds)
    units = [(whole // 86400, "d"), (whole // 3600 % 24, "h"), (whole // 60 % 60, "min"), (whole % 60, "s")]
    while len(units) > 1 and not units[0][0]:
        units.pop(0)
    return " ".join(f"{count} {unit}" for count, unit in units[:2])


def clock(timestamp: float, timespec: str = "seconds") -> str:
    """In the reader's own time zone, with the day where it is not today."""
    moment = datetime.fromtimestamp(timestamp).astimezone()
    day = "" if moment.date() == datetime.now().astimezone().date() else f"{moment:%Y-%m-%d} "
    return f"{day}{moment.time().isoformat(timespec)}"


def counts(by_outcome: Mapping[str, int], but: str = "") -> str:
    """Counts in words, the highest first."""
    ordered = sorted(by_outcome.items(), key=lambda item: -item[1])
    return ", ".join(f"{outcome} {count}" for outcome, count in ordered if outcome != but)


def rate(a_second: float) -> str:
    """How many a second: one decimal below ten, none above."""
    return "0" if not a_second else f"{a_second:.1f}" if a_second < 10 else f"{a_second:,.0f}"


def rates(by_outcome: Mapping[str, float], but: str = "") -> str:
    """Rates in words, the highest first."""
    return ", ".join(f"{outcome} {rate(each)}" for outcome, each in by_outcome.items() if outcome != but)


def size(count: float) -> str:
    """Bytes in the largest unit of which there is one."""
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} GB"


BARS = "▁▂▃▄▅▆▇█"


def bars(values: Iterable[float]) -> str:
    """A line of bars, each as high as its part of the highest value."""
    values = list(values)
    highest = max(values, default=0.0)
    if not highest:
        return BARS[0] * len(values)
    return "".join(BARS[min(int(value / highest * len(BARS)), len(BARS) - 1)] for value in values)
