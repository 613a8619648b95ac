"""Echo: what comes goes back (RFC 862)."""

from .handler import Echo

__all__ = ["Echo"]
