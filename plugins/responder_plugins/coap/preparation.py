"""From the options to the handler: which resources there are, checked."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from responder import ConfigError, ConfigErrors, Context

from ..shared.file_threads import FileThreads
from . import OWN_PATH, ResourceTable, segments_of
from .handler import CoapHandler, Links
from .observing import Observers
from .resources import FORMATS, OCTET_STREAM, TEXT_PLAIN, Content, FileResource, Resource, TextResource, Unavailable

if TYPE_CHECKING:
    from . import Coap


def prepare(options: Coap, context: Context) -> CoapHandler:
    """Raises ConfigErrors."""
    threads = FileThreads()
    resources: dict[tuple[bytes, ...], Resource] = {
        segments_of(path): _resource(path, entry, context, threads) for path, entry in options.resources.items()
    }
    errors = []
    for path, resource in options.more_resources(context).items():
        try:
            segments = segments_of(path)
        except ValueError as error:
            raise TypeError(f"more_resources: {error}") from None
        if segments in resources:
            errors.append(ConfigError("is what the plugin serves by itself", path=f'resources."{path}"'))
        resources[segments] = resource
    if errors:
        raise ConfigErrors(errors)
    resources[OWN_PATH] = Links(resources)
    return CoapHandler(
        resources,
        exponent_of(options.block_size),
        exponent_of(min(options.block_size, options.unproved_block_size)),
        options.leisure,
        Observers(options.max_observers, options.max_per_peer),
    )


def exponent_of(block_size: int) -> int:
    """As Block2 has it: 16 bytes are 0 (RFC 7959 section 2.2)."""
    return block_size.bit_length() - 5


def _resource(path: str, entry: Path | ResourceTable, context: Context, threads: FileThreads) -> Resource:
    table = entry if isinstance(entry, ResourceTable) else ResourceTable(file=entry)
    content_format = table.content_format
    if content_format is None:
        content_format = TEXT_PLAIN if table.file is None else FORMATS.get(table.file.suffix.lower(), OCTET_STREAM)
    named = {"rt": table.rt, "if": table.if_, "title": table.title, "ct": content_format, "sz": table.sz}
    attributes: Mapping[str, str | int | bool] = {name: value for name, value in named.items() if value is not None}
    max_age = int(table.max_age)
    if table.file is None:
        assert table.text is not None  # noqa: S101 - one of the two is there
        return TextResource(Content(table.text.encode(), content_format, max_age), attributes)
    # Not by `Context.path`: a change of the file is no change of the config.
    file = Path(os.path.abspath(context.folder / table.file))
    resource = FileResource(file, content_format, max_age, attributes, table.obs is not False, threads)
    try:
        resource.read()
    except Unavailable as error:
        message = f"{error}: until it can be read, it is answered with an error"
        context.complain(ConfigError(message, path=f'resources."{path}"', file=file))
    return resource
