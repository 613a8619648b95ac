"""Which configuration a command reads: CONFIG or `--config CONFIG`, `-` being standard input."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

import click


def config_argument(*, required: bool) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Gives a command the parameter `config`, a path, or None where none is required."""

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        @click.argument("argument", metavar="CONFIG" if required else "[CONFIG]", required=False, type=PATH)
        @click.option("--config", "option", type=PATH, help="The same as CONFIG.")
        @wraps(command)
        def with_config(argument: Path | None, option: Path | None, **others: Any) -> Any:
            if argument is not None and option is not None:
                raise click.UsageError("CONFIG and --config are one: give it once.")
            config = argument or option
            if required and config is None:
                raise click.UsageError("Missing argument 'CONFIG'.")
            return command(config=config, **others)

        return with_config

    return decorate


PATH = click.Path(path_type=Path, allow_dash=True)
