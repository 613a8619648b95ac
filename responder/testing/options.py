"""Options and configs as an operator writes them, for tests of a plugin's messages.

`bench` serves.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

from ..config.instance import Instance
from ..config.reading import parse
from ..config.registry import require_contract
from ..config.structuring import structure
from ..plugin import Plugin

P = TypeVar("P", bound=Plugin)


def options(plugin: type[P], /, *, folder: Path | None = None, **values: Any) -> P:
    """A plugin from options as TOML gives them: `options(Greeter, greeting="moin", idle="5m")`.

    `folder` is what relative file names start from.  Raises ConfigErrors for the values, each with the option's path,
    and PluginError where the class breaks a rule of the contract.
    """
    require_contract(plugin, plugin.__name__)
    return structure(values, plugin, folder=folder or Path.cwd())


def instances(config: str, *, folder: Path | None = None) -> tuple[Instance, ...]:
    """The instances of a config, given as its text, by the rules of `responderd check`; its plugins must be installed.

    Raises ConfigErrors.
    """
    return parse(config, file=None, folder=folder or Path.cwd()).instances
