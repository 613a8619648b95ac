"""The results as an SVG picture: a bar for each server with its spread, and each goal's ratio below.

Written by hand, so that it needs no library; the colours follow the reader's light or dark scheme.  Pure.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from html import escape

from . import report
from .comparing import CPU_FIELDS, Result, Summary

WIDTH, LABEL, BAR, ROW = 860, 190, 470, 22
"""Pixels: the picture, the names, the longest bar, a line."""

STYLE = """
  text { font: 13px system-ui, sans-serif; fill: #1f2328 }
  .title { font-weight: 600; font-size: 15px }
  .small { font-size: 12px; fill: #59636e }
  .ours { fill: #0969da } .peer { fill: #afb8c1 } .whisker { stroke: #59636e; stroke-width: 1.5 }
  .reached { fill: #1a7f37 } .missed { fill: #cf222e; font-weight: 600 } .page { fill: #ffffff }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3 } .small { fill: #9198a1 } .peer { fill: #5d656e } .whisker { stroke: #9198a1 }
    .ours { fill: #4493f8 } .reached { fill: #3fb950 } .missed { fill: #f85149 } .page { fill: #0d1117 }
  }
"""


def text(x: float, y: float, words: str, cls: str = "", anchor: str = "start") -> str:
    return f'<text x="{x:g}" y="{y:g}" class="{cls}" text-anchor="{anchor}">{escape(words)}</text>'


def figure(result: Result) -> tuple[str, Mapping[str, Summary]]:
    """The field that a group's bars show, and its summary for each server."""
    field = "median_us" if any(goal.field == "median_us" for goal in result.goals) else "cpu_us"
    return field, {server: result.summary(server, field) for server in result.runs}


def bars(result: Result, top: float) -> Iterator[str]:
    field, summaries = figure(result)
    longest = max((summary.high for summary in summaries.values()), default=0.0) or 1.0
    ours = {goal.ours for goal in result.goals if goal.bound}
    for number, (server, summary) in enumerate(summaries.items()):
        y = top + number * ROW
        length, low, high = (BAR * value / longest for value in (summary.median, summary.low, summary.high))
        words = f"{summary.median:,.2f} us" + (" of CPU" if field == "cpu_us" else "")
        middle = y + 10.5
        yield text(LABEL - 8, y + 14, server, anchor="end")
        yield (
            f'<rect x="{LABEL}" y="{y + 3:g}" width="{length:.1f}" height="{ROW - 7}" rx="2"'
            f' class="{"ours" if server in ours or server.startswith("ours") else "peer"}"/>'
        )
        yield (
            f'<line x1="{LABEL + low:.1f}" x2="{LABEL + high:.1f}" y1="{middle:g}" y2="{middle:g}" class="whisker"/>'
        )
        yield text(LABEL + high + 8, y + 14, words)


def verdicts(result: Result, top: float) -> Iterator[str]:
    line = 0
    for goal in result.goals:
        ratio = result.ratio(goal)
        if ratio is None or not goal.bound or not result.is_compared(goal):
            continue
        reached = goal.reached(ratio.median)
        y = top + line * ROW + 14
        line += 1
        yield text(LABEL, y, goal.what, "small")
        yield text(
            LABEL + 330,
            y,
            f"{ratio.median:.2f}  ({ratio.low:.2f} to {ratio.high:.2f})",
            "reached" if reached else "missed",
        )
        yield text(LABEL + 500, y, f"goal {goal.bound}, {report.VERDICTS[reached]}", "small")


def svg(results: Sequence[Result], machine: Mapping[str, str | int], command: str) -> str:
    """The whole picture; `command` repeats it."""
    parts: list[str] = []
    y = 12.0
    for result in results:
        if result.disturbed and figure(result)[0] not in CPU_FIELDS:
            continue
        parts.append(text(12, y + 14, result.title, "title"))
        y += ROW + 4
        parts += bars(result, y)
        y += ROW * len(result.runs) + 2
        lines = list(verdicts(result, y))
        parts += lines
        # Three texts a line.
        y += ROW * (len(lines) // 3) + 18
    words = (
        f"{machine['cpu']}, one core each for server and load; Linux {machine['kernel']}, Python {machine['python']}"
    )
    last = (
        f"{words}; {machine['date']}",
        "Bars: medians, for each answer; lines: lowest to highest run.",
        f"To repeat: {command}",
    )
    parts += [text(12, y + 8 + ROW * number, line, "small") for number, line in enumerate(last)]
    height = y + 8 + ROW * len(last)
    body = "\n".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:g}" width="{WIDTH}" height="{height:g}"'
        f' role="img" aria-label="{escape("Benchmarks of responderd", quote=True)}">\n<style>{STYLE}</style>\n'
        f'<rect width="{WIDTH}" height="{height:g}" class="page"/>\n{body}\n</svg>\n'
    )
