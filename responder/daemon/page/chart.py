"""Rates of the last two minutes as a line, in SVG within the page."""

from __future__ import annotations

from collections.abc import Sequence

from ..figures import rate
from ..rates import WINDOW
from .markup import Markup, tag

HEIGHT = 30.0
"""The drawing's own units; the style sheet says how large it is shown."""


def chart(points: Sequence[tuple[float, float]], now: float, what: str) -> Markup:
    """A line through (seconds, rate a second), of the time until `now`; `what` is told to who does not see it."""
    highest = max((value for _, value in points), default=0.0)
    line = " ".join(
        f"{WINDOW - (now - at):.1f},{HEIGHT - 1 - (HEIGHT - 2) * (value / highest if highest else 0.0):.1f}"
        for at, value in points
    )
    return tag(
        "svg",
        tag("polyline", points=line),
        class_="chart",
        viewBox=f"0 0 {WINDOW:g} {HEIGHT:g}",
        preserveAspectRatio="none",
        role="img",
        aria_label=f"{what}: up to {rate(highest)} a second in the last two minutes",
    )
