"""What is escaped: everything."""

from __future__ import annotations

from html.parser import HTMLParser

from hypothesis import given
from hypothesis import strategies as st

from responder.daemon.page.markup import Markup, joined, tag, text


class Read(HTMLParser):
    """The tags, with their attributes, and the words that a browser sees."""

    def __init__(self, markup: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, list[tuple[str, str | None]]]] = []
        self.words = ""
        self.feed(markup)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, attrs))

    def handle_data(self, data: str) -> None:
        self.words += data


def test_elements() -> None:
    made = tag("p", "a < b", tag("b", 7, class_="x y"), aria_label='"', left_out=None, data_x=0)
    assert made == '<p aria-label="&quot;" data-x="0">a &lt; b<b class="x y">7</b></p>'
    assert tag("meta", charset="utf-8") == '<meta charset="utf-8">'
    assert joined([tag("i"), text("&")], "<") == "<i></i>&lt;&amp;"
    assert isinstance(joined([]), Markup)


def test_what_a_browser_would_show_as_something_else_is_spelled_out() -> None:
    assert text("\x00\x1b[31m\u202e\u200b") == "\\x00\\x1b[31m\\u202e\\u200b"


@given(st.text())
def test_no_text_becomes_anything_but_text(content: str) -> None:
    read = Read(tag("p", content, title=content))
    ((name, ((attribute, value),)),) = read.tags
    assert (name, attribute) == ("p", "title")
    assert value == read.words
    assert read.words.isprintable()
