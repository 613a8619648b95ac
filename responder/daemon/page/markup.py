"""HTML elements whose content and attributes are escaped.  Nothing reaches a page by another way.

What a browser would show as something else (control characters, changes of the writing direction) is shown as Python
writes it, as on a terminal.
"""

from __future__ import annotations

from html import escape

from ...log import printable

_VOID = frozenset({"meta", "link"})
"""Elements that have no content, and so no end."""


class Markup(str):
    """A text that is HTML already.  Only this file makes any, of what is escaped."""

    __slots__ = ()


def text(value: object) -> Markup:
    """A text, as it is to be read."""
    return value if isinstance(value, Markup) else Markup(escape(printable(str(value)), quote=True))


def tag(name: str, /, *content: object, **attributes: object) -> Markup:
    """An element.  `class_` is the attribute class, `aria_label` is aria-label; one that is None is left out."""
    shown = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(printable(str(value)), quote=True)}"'
        for key, value in attributes.items()
        if value is not None
    )
    inner = "".join(map(text, content))
    return Markup(f"<{name}{shown}>" if name in _VOID else f"<{name}{shown}>{inner}</{name}>")


def joined(parts: list[Markup], between: str = "") -> Markup:
    """Several, one after the other, with a text between them."""
    return Markup(text(between).join(parts))
