"""The command `responderd`: one file a command, and `output`, which they share."""

from .commands import main

__all__ = ["main"]
