"""The examples of mDNS are accepted, with what is in the folder of services; the program is run in the lab."""

from __future__ import annotations

from pathlib import Path

from responder import Context
from responder.testing import instances

FOLDER = Path(__file__).parents[2] / "examples" / "mdns"


def test_the_config_and_its_folder_of_services() -> None:
    (instance,) = instances((FOLDER / "printer.toml").read_text(encoding="utf-8"), folder=FOLDER)
    context = Context("mdns", FOLDER)
    handler = instance.plugin.prepare(context)
    assert context.complaints == []
    assert {file.name for file in context.files} == {"services", "page.toml", "files.service"}
    assert handler is not None
