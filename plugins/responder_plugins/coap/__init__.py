"""CoAP: small resources that can be asked for, found and observed (see README.md)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final
from urllib.parse import unquote_to_bytes

import attrs

from responder import ConfigError, ConfigErrors, Duration, Plugin, Service

if TYPE_CHECKING:
    from responder import Context, Handler

    from .resources import Content, Resource, Unavailable

__all__ = ["Coap", "Content", "Resource", "ResourceTable", "Unavailable"]

MAX_OBSERVERS: Final = 10_000

BLOCK_SIZES: Final = (16, 32, 64, 128, 256, 512, 1024)
"""Bytes (RFC 7959 section 2.2)."""

OWN_PATH: Final = (b".well-known", b"core")
"""RFC 6690 section 4."""

MAX_SEGMENT: Final = 255
"""Bytes (RFC 7252 section 5.10.1)."""


def segments_of(path: str) -> tuple[bytes, ...]:
    """A URI's path as Uri-Path options have it (RFC 7252 section 6.4).  Raises ValueError."""
    if not path.startswith("/") or "?" in path or "#" in path:
        raise ValueError(f"expected a path such as '/sensors/1', got {path!r}")
    segments = () if path == "/" else tuple(unquote_to_bytes(part) for part in path[1:].split("/"))
    if any(each in (b".", b"..") or len(each) > MAX_SEGMENT for each in segments):
        raise ValueError(f"a part of the path is '.' or '..', or longer than {MAX_SEGMENT} bytes: {path!r}")
    if segments == OWN_PATH:
        raise ValueError("this resource tells of the others, and is always there")
    return segments


def _are_resources(_instance: object, _attribute: object, value: Mapping[str, object]) -> None:
    errors: list[ConfigError] = []
    seen: set[tuple[bytes, ...]] = set()
    for path in value:
        try:
            segments = segments_of(path)
            if segments in seen:
                raise ValueError("the same path is there twice, written in another way")  # noqa: TRY301 - one list
            seen.add(segments)
        except ValueError as error:
            errors.append(ConfigError(str(error), path=f'"{path}"'))
    if errors:
        raise ConfigErrors(errors)


def _is_at_most(limit: int) -> Any:
    def check(_instance: object, attribute: attrs.Attribute[Any], value: int | None) -> None:
        if value is not None and not 0 <= value <= limit:
            raise ValueError(f"{attribute.name}: expected 0..{limit}, got {value}")

    return check


def _is_attribute(_instance: object, attribute: attrs.Attribute[Any], value: str | None) -> None:
    if value is not None and not (value and value.isprintable()):
        raise ValueError(f"{attribute.name.removesuffix('_')}: expected text without control characters, got {value!r}")


def _is_relation(instance: object, attribute: attrs.Attribute[Any], value: str | None) -> None:
    _is_attribute(instance, attribute, value)
    # RFC 6690 section 3.1: one or more relation types, separated by a space each.
    if value is not None and ('"' in value or "\\" in value or "" in value.split(" ")):
        raise ValueError(
            f"{attribute.name.removesuffix('_')}: expected names separated by single spaces, got {value!r}"
        )


def _is_block_size(_instance: object, attribute: attrs.Attribute[Any], value: int) -> None:
    if value not in BLOCK_SIZES:
        raise ValueError(f"{attribute.name}: expected one of {', '.join(map(str, BLOCK_SIZES))}, got {value}")


@attrs.frozen(kw_only=True)
class ResourceTable:
    """One of `resources`, where more is to be said than its file's name: `file` or `text`.

    file            what it is, as it is when it is asked for
    text            what it is, always the same
    content_format  by its number at IANA; by default 0 (text) for a text, for a file what its suffix says
    max_age         how long a client may keep it, in whole seconds
    rt              resource types, separated by spaces
    if              interface descriptions, separated by spaces
    title           for people
    sz              the largest size in bytes that it may have
    obs             whether peers may observe the file; they may by default
    """

    file: Path | None = None
    text: str | None = None
    content_format: int | None = attrs.field(default=None, validator=_is_at_most(0xFFFF))
    max_age: Duration = attrs.field(default=60, validator=_is_at_most(0xFFFFFFFF))
    rt: str | None = attrs.field(default=None, validator=_is_relation)
    if_: str | None = attrs.field(default=None, validator=_is_relation)
    title: str | None = attrs.field(default=None, validator=_is_attribute)
    sz: int | None = attrs.field(default=None, validator=_is_at_most(0xFFFFFFFF))
    obs: bool | None = None

    def __attrs_post_init__(self) -> None:
        if (self.file is None) == (self.text is None):
            raise ValueError("expected either a file or a text")
        if self.obs and self.text is not None:
            raise ValueError("a text never changes: nobody can observe it")


@attrs.frozen
class Coap(Plugin):
    """Serves small files and texts by CoAP (RFC 7252), and tells observers of their changes (RFC 7641).

    resources            path -> a file's name, or a table: `file` or `text`, and what is to be said of it
    block_size           bytes of a block, at most
    unproved_block_size  ... for who has not shown that it is where its requests say (by Echo, RFC 9175)
    max_observers        observations at a time
    max_per_peer         observations at a time for one address
    leisure              the time that answers to a group are spread over
    """

    resources: dict[str, Path | ResourceTable] = attrs.field(
        factory=dict, validator=_are_resources, metadata={"example": {"/hello": {"text": "hello"}}}
    )
    block_size: int = attrs.field(default=1024, validator=_is_block_size)
    unproved_block_size: int = attrs.field(default=128, validator=_is_block_size)
    max_observers: int = attrs.field(default=100, validator=_is_at_most(MAX_OBSERVERS))
    max_per_peer: int = attrs.field(default=10, validator=_is_at_most(MAX_OBSERVERS))
    leisure: Duration = attrs.field(default=5.0, validator=_is_at_most(3600))

    services: ClassVar[tuple[Service, ...]] = (
        # A resource's time, and that of a separate response (MAX_TRANSMIT_WAIT, RFC 7252 section 4.8.2).
        Service(port=5683, groups=["224.0.1.187", "ff02::fd", "ff05::fd"], answer_timeout=120.0),
    )
    in_each_worker: ClassVar[bool] = True  # its `run` tells those who observe by this process

    def more_resources(self, context: Context) -> Mapping[str, Resource]:
        """Resources by path beside those of the config: what a plugin that builds on this one overrides.

        It runs as `prepare` does, and may raise what that may.
        """
        del context
        return {}

    def prepare(self, context: Context) -> Handler:
        """The handler.  A file that can't be read is told, and answered with an error until it can."""
        from .preparation import prepare  # noqa: PLC0415 - a command that only lists plugins need not pay for it

        return prepare(self, context)


def __getattr__(name: str) -> Any:
    if name in ("Content", "Resource", "Unavailable"):
        from . import resources  # noqa: PLC0415 - as above

        return getattr(resources, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
