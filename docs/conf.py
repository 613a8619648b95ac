"""Sphinx's configuration: `sphinx-build -W docs build/manual` makes the manual."""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent / ".build")]

import docstrings  # noqa: E402 - these three are found by the path
import generate  # noqa: E402

import responder  # noqa: E402

generate.write()

project = "responderd"
author = "the authors of responderd"
version = release = responder.__version__
extensions = ["myst_parser", "sphinx.ext.autodoc"]
exclude_patterns = ["generated/*.rst", "generated/plugins/*.rst", "generated/[adkmops]*.md"]
html_theme = "furo"
html_title = f"responderd {release}"
html_static_path: list[str] = []
html_copy_source = False
html_show_copyright = False

myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_class_signature = "mixed"
toc_object_entries = False
smartquotes = False  # an option begins with two hyphens
# What is written is Python and TOML; other blocks are shown as they are.
highlight_language = "none"


def setup(app):
    def process(_app, _what, _name, _object, _options, lines):
        lines[:] = docstrings.as_rst(lines)

    def rewrite(_app, page, content):
        folder = (HERE / page).parent
        content[0] = generate.inner_links(content[0], folder)

    app.connect("autodoc-process-docstring", process)
    app.connect("source-read", rewrite)
