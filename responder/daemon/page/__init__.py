"""A web page of what the daemon does at the moment: read-only, without anything from elsewhere.

    GET /           the whole page; a browser without script loads it again every `REFRESH` seconds, but for /?hold
    GET /live.json  {"sections": {id: HTML}}: what the script puts in place of what the page has, once a second
    GET /page.css /page.js /icon.svg

    markup.py   elements whose content is escaped, all of it
    chart.py    rates as a line, in SVG
    sections.py what is shown, a section each

A look costs a status and the making of its text; between looks nothing happens (`responder.daemon.rates`,
`responder.daemon.recent_datagrams`).
"""

from __future__ import annotations

import json
import platform
from collections.abc import Awaitable, Callable
from importlib.resources import files
from typing import Any, Final

import attrs

from ...threads import in_thread
from ..rates import Looks
from ..status import Status
from .markup import Markup, tag
from .sections import SECTIONS, Shown, sections

REFRESH = 5
"""Seconds between two pages for a browser without script."""

HTML: Final = "text/html; charset=utf-8"
JSON: Final = "application/json"

_ASSETS: Final = {
    "/page.css": "text/css; charset=utf-8",
    "/page.js": "text/javascript; charset=utf-8",
    "/icon.svg": "image/svg+xml",
}

HEADERS: Final = (
    (
        "content-security-policy",
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    ("x-content-type-options", "nosniff"),
    ("referrer-policy", "no-referrer"),
    ("cross-origin-resource-policy", "same-origin"),
    ("cache-control", "no-store"),
)


@attrs.frozen
class Content:
    """What a path has."""

    type: str
    body: bytes
    headers: tuple[tuple[str, str], ...] = HEADERS


Recent = Callable[[], list[dict[str, Any]] | Awaitable[list[dict[str, Any]]]]


@attrs.frozen(eq=False)
class Page:
    """`recent` gives some of the last datagrams, the newest first."""

    _recent: Recent
    _looks: Looks = attrs.field(factory=Looks, init=False)
    _assets: dict[str, bytes] = attrs.field(init=False)

    @_assets.default
    def _read(self) -> dict[str, bytes]:
        return {path: (files(__name__) / path.removeprefix("/")).read_bytes() for path in _ASSETS}

    @property
    def paths(self) -> frozenset[str]:
        return frozenset({"/", "/live.json", *_ASSETS})

    async def content(self, path: str, query: str, take: Callable[[], Awaitable[Status]]) -> Content:
        """What one of `paths` has; `take` gives the status of the moment."""
        if path in self._assets:
            return Content(_ASSETS[path], self._assets[path])
        status = await take()
        recent = self._recent()
        datagrams = await recent if isinstance(recent, Awaitable) else recent
        shown = Shown(status, self._looks.look(status), datagrams)
        # In a thread: many interfaces make a long text, and the loop has datagrams to answer.
        if path == "/live.json":
            return Content(JSON, await in_thread(_live, shown))
        return Content(HTML, await in_thread(_page, shown, query == "hold"))


def _live(shown: Shown) -> bytes:
    return json.dumps({"sections": sections(shown)}).encode()


def _page(shown: Shown, held: bool) -> bytes:
    title = f"responderd on {platform.node() or 'this host'}"
    refresh = Markup("") if held else tag("noscript", tag("meta", http_equiv="refresh", content=REFRESH))
    other = tag("a", "Load again all the time", href="./") if held else tag("a", "Hold this view", href="?hold")
    parts = sections(shown)
    document = tag(
        "html",
        tag(
            "head",
            tag("meta", charset="utf-8"),
            tag("title", title),
            tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
            tag("meta", name="color-scheme", content="light dark"),
            tag("link", rel="icon", href="icon.svg", type="image/svg+xml"),
            tag("link", rel="stylesheet", href="page.css"),
            tag("script", src="page.js", defer=""),
            refresh,
        ),
        tag(
            "body",
            tag(
                "header",
                tag("h1", title),
                tag("p", "", id="note", role="status"),
                tag("button", "Hold", id="hold", type="button", aria_pressed="false", hidden=""),
                tag("noscript", tag("p", other)),
            ),
            tag("main", *(_section(name, SECTIONS[name], content) for name, content in parts.items())),
        ),
        lang="en",
    )
    return b"<!doctype html>\n" + document.encode()


def _section(name: str, title: str, content: Markup) -> Markup:
    heading = f"{name}-title"
    return tag(
        "section",
        tag("h2", title, id=heading),
        # What is wider than the window is moved within it, by keys too.
        tag("div", tag("div", content, id=name), class_="wide", role="region", aria_labelledby=heading, tabindex=0),
    )
