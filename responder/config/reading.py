"""The configuration: a TOML file into checked instances, with all its mistakes at once.

`load` answers for everything that the file and the options' types can tell; what only a plugin knows (the files that
its options name) is `prepare`'s.  An unknown key is an error that names its path and the nearest key.

Nothing is bound, and no plugin runs.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs

from ..errors import ConfigError, ConfigErrors, PluginError
from ..plugin import Plugin
from ..threads import in_thread
from . import registry
from .daemon_options import DaemonOptions, StateRoot, no_state
from .divisible import undividable, undividable_work
from .instance import (
    INSTANCE_KEYS,
    Instance,
    InstanceKeys,
    Prepared,
    failed,
    no_one,
    overlaid,
    prepare,
    prepare_all,
    read_keys,
)
from .key_paths import did_you_mean, join, key_of, option_key, unknown_keys
from .option_types import mismatch
from .source import INCLUDE, Source

TOP_LEVEL = ("daemon", "plugins", INCLUDE)

# The name is also a folder's (`Network.state_dir`) and a metric's label.
INSTANCE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")

EMBEDDED_PORT = 5300

MAX_INSTANCES = 1000

MAX_TOLD = 100
"""Mistakes that are told one by one."""


@attrs.frozen
class Config:
    """A whole configuration, checked; the instances in the order of the file, which is the order they are asked in."""

    daemon: DaemonOptions
    instances: tuple[Instance, ...]
    file: Path | None = None


@attrs.frozen
class BrokenPlugin:
    """What stands for an instance whose plugin can't be loaded: `error` names it by its place in the configuration."""

    name: str
    error: ConfigError
    cause: PluginError

    def prepared(self, folder: Path) -> Prepared:
        """Logs why, as for one that can't prepare."""
        return failed(Instance(self.name, Plugin(), (), folder=folder), self.cause)


@attrs.frozen
class Reading:
    """What a file says: its mistakes, and what is sound beside them.

    `doubtful` are instances whose plugin has sound options, but whose keys are wrong: they can't be served, but their
    plugin can look at its files, so that their mistakes are told at once too.  `broken` are those whose plugin is
    installed but can't be loaded, which is not the configuration's fault.
    """

    daemon: DaemonOptions
    instances: tuple[Instance, ...]
    doubtful: tuple[Instance, ...]
    broken: tuple[BrokenPlugin, ...]
    errors: tuple[ConfigError, ...]
    sources: tuple[Source, ...]

    @property
    def file(self) -> Path | None:
        return self.sources[0].file

    @property
    def folder(self) -> Path:
        return self.sources[0].folder

    def located(self, error: ConfigError) -> ConfigError:
        """The error with the place of its key: the file that has the instance's table, and the line."""
        return _located(self.sources, error)

    def config(self) -> Config:
        """Raises ConfigErrors."""
        errors = (*self.errors, *(each.error for each in self.broken))
        if errors:
            raise ConfigErrors(errors)
        return Config(self.daemon, self.instances, self.file)


def read(file: Path) -> Reading:
    """Read and check a file and those that it includes; relative names in each start from its folder.

    `-` is standard input.  Raises ConfigErrors where the file can't be read, or is not TOML.
    """
    return _read_with_included(Source.read(file))


def read_instances(file: Path) -> tuple[Instance, ...]:
    """The instances of a file and of those that it includes, for commands that plugins bring.

    Raises ConfigErrors, all mistakes at once.
    """
    return read(file).config().instances


def read_text(text: str, *, file: Path | None, folder: Path) -> Reading:
    """Check a configuration's text; `file` is only for messages.  Raises ConfigErrors where it is not TOML."""
    return _read_with_included(Source.parse(text, file=file, folder=folder))


def _read_with_included(main: Source) -> Reading:
    included, mistakes = main.included()
    return read_sources([main, *included], mistakes)


def read_sources(sources: Sequence[Source], mistakes: Iterable[ConfigError] = ()) -> Reading:
    """Check the main file and those that it includes; `mistakes` are known already."""
    errors = [*mistakes, *(each for source in sources for each in source.errors)]
    unknown = [error for source in sources for error in _unknown_tables(source, main=source is sources[0])]
    errors += unknown
    daemon = DaemonOptions()
    with _Collected(errors):
        daemon = _read_daemon(sources[0].table.get("daemon", {}), sources[0].folder)
    instances: list[Instance] = []
    doubtful: list[Instance] = []
    broken: list[BrokenPlugin] = []
    installed = registry.installed()  # once: it looks through all distributions
    seen: dict[str, Source] = {}
    for source in sources:
        plugins = source.table.get("plugins", {})
        if isinstance(plugins, dict) and len(seen) + len(plugins) > MAX_INSTANCES:
            raise ConfigErrors([ConfigError(f"more than {MAX_INSTANCES} instances", path="plugins", file=source.file)])
        if not isinstance(plugins, dict):
            errors.append(source.located(ConfigError(str(mismatch("a table", plugins)), path="plugins")))
            continue
        for name, options in plugins.items():
            if seen.setdefault(name, source) is not source:
                message = f"there is an instance of that name in {seen[name].file} already"
                errors.append(source.located(ConfigError(message, path=join("plugins", name))))
                continue
            own: list[ConfigError] = []
            with _Collected(own):
                try:
                    instances.append(_read_instance(name, options, source.folder, installed, doubtful))
                except _CannotLoadError as error:
                    (one,) = error.errors
                    broken.append(BrokenPlugin(name, source.located(one), error.cause))
            errors += map(source.located, own)
    if not seen and not errors:
        errors.append(ConfigError("nothing to serve: no [plugins.NAME] table"))
    errors += undividable(instances, daemon.workers)
    # What a string without its variables would be says nothing.
    undefined = {each.path: each for source in sources for each in source.errors}
    told = _bounded([each for each in errors if undefined.get(each.path, each) is each], sources[0].file)
    located = [_located(sources, each) for each in told]
    return Reading(daemon, tuple(instances), tuple(doubtful), tuple(broken), tuple(located), tuple(sources))


def _unknown_tables(source: Source, *, main: bool) -> Iterator[ConfigError]:
    for key in source.table:
        if key in TOP_LEVEL and not main and key != "plugins":
            yield source.located(ConfigError("only the file that includes this one has it", path=key))
    unknown = [key for key in source.table if key not in TOP_LEVEL]
    yield from map(source.located, unknown_keys("", unknown, TOP_LEVEL if main else {"plugins"}))


def _bounded(errors: list[ConfigError], file: Path | None) -> list[ConfigError]:
    """As many of the errors as people read, and how many more there are."""
    more = len(errors) - MAX_TOLD
    return errors if more <= 0 else [*errors[:MAX_TOLD], ConfigError(f"and {more} more mistakes", file=file)]


def _located(sources: Sequence[Source], error: ConfigError) -> ConfigError:
    """As `Reading.located`."""
    for source in sources[1:]:
        plugins = source.table.get("plugins", {})
        if isinstance(plugins, dict) and key_of(error.path, "plugins") in plugins:
            return source.located(error)
    return sources[0].located(error)


def load(file: Path) -> Config:
    """`read`, for those who want it without mistakes.  Raises ConfigErrors with all of them."""
    return read(file).config()


def parse(text: str, *, file: Path | None, folder: Path) -> Config:
    """`read_text`, for those who want it without mistakes.  Raises ConfigErrors with all of them."""
    return read_text(text, file=file, folder=folder).config()


async def load_prepared(
    file: Path,
    present: Iterable[Prepared] = (),
    *,
    may_fail: Callable[[str], bool] = no_one,
    state_root: StateRoot = no_state,
) -> tuple[Config, list[Prepared]]:
    """Load a file and let its plugins prepare, which are `present` where they are what they were.

    `may_fail` is as in `prepare_all`, and for plugins that can't be loaded too; `state_root` gives the folder below
    which each instance has one for its state.  Raises ConfigErrors with the mistakes
    that either finds, and with the failures where no plugin is left that could serve.
    """
    reading = await in_thread(read, file, abandon_on_cancel=True)
    return await prepare_reading(reading, present, may_fail, state_root)


async def prepare_reading(
    reading: Reading,
    present: Iterable[Prepared] = (),
    may_fail: Callable[[str], bool] = no_one,
    state_root: StateRoot = no_state,
) -> tuple[Config, list[Prepared]]:
    """The same for what is read already."""
    errors = list(reading.errors)
    # With a mistake nothing is served in any case, so that every failure is one more thing to tell.
    spared = no_one if errors else may_fail
    errors += [each.error for each in reading.broken if not spared(each.name)]
    prepared: list[Prepared] = []
    with _Collected(errors):
        prepared = await prepare_all(
            (*reading.instances, *reading.doubtful), present, may_fail=spared, state=state_root(reading.daemon)
        )
    errors += undividable_work(prepared, reading.daemon.workers)
    if errors:
        raise ConfigErrors(map(reading.located, _bounded(errors, reading.file)))
    prepared += [each.prepared(reading.folder) for each in reading.broken]
    failures = [each.failure for each in prepared if each.failure is not None]
    if len(failures) == len(prepared):
        raise ConfigErrors(ConfigError(str(each), file=reading.file) for each in failures)
    return Config(reading.daemon, reading.instances, reading.file), prepared


def embedded_default() -> Config:
    """What is served without a configuration: `whoami` on a port that needs no rights.  Raises PluginError."""
    plugin = registry.load("whoami")()
    # Typed values need no structuring, and so no import of cattrs before the first answer.
    keys = InstanceKeys(port=EMBEDDED_PORT)
    services = overlaid(plugin.services, keys, path="plugins.whoami")
    return Config(DaemonOptions(), (Instance.with_keys("whoami", plugin, services, keys, folder=Path.cwd()),))


def _read_daemon(table: Any, folder: Path) -> DaemonOptions:
    if table == {}:
        return DaemonOptions()
    from .structuring import structure  # noqa: PLC0415 - cattrs is slow to import

    return structure(table, DaemonOptions, path="daemon", folder=folder)


def _read_instance(
    name: str, table: Any, folder: Path, installed: Mapping[str, registry.Entry], doubtful: list[Instance]
) -> Instance:
    """One `[plugins.NAME]` table.  What can be prepared although it is wrong is added to `doubtful`.

    Raises ConfigErrors, and _CannotLoadError.
    """
    from .structuring import structure  # noqa: PLC0415 - cattrs is slow to import

    path = join("plugins", name)
    if not INSTANCE_NAME.fullmatch(name):
        raise ConfigErrors([ConfigError("expected a name of letters, digits, '-', '_' and '.'", path=path)])
    if not isinstance(table, dict):
        raise ConfigErrors([ConfigError(str(mismatch("a table", table)), path=path)])
    errors: list[ConfigError] = []
    keys = plugin = services = broken = None
    with _Collected(errors):
        keys = read_keys({key: table[key] for key in table if key in INSTANCE_KEYS}, path=path, folder=folder)
    with _Collected(errors):
        try:
            cls = _plugin_class(name, table, path, installed)
        except _CannotLoadError as error:
            broken = error
            raise
        if cls is not None:
            with _Collected(errors):
                options = {key: table[key] for key in table if key not in INSTANCE_KEYS}
                plugin = structure(options, cls, path=path, folder=folder, also_known=INSTANCE_KEYS)
            if plugin is None:
                with _Collected([]):  # its mistakes are told already
                    plugin = structure(_without_strangers(options, cls), cls, path=path, folder=folder)
            if keys is not None:
                services = overlaid(cls.services if plugin is None else plugin.chosen_services(), keys, path=path)
    if errors or keys is None or plugin is None or services is None:
        if plugin is not None:
            doubtful.append(Instance(name, plugin, plugin.chosen_services(), folder=folder))
        if broken is not None and len(errors) == len(broken.errors):
            raise broken
        places = {key: place for place, key in enumerate(table)}  # what is missing comes last
        raise ConfigErrors(sorted(errors, key=lambda error: places.get(key_of(error.path, path), len(places))))
    return Instance.with_keys(name, plugin, services, keys, folder=folder)


def _without_strangers(options: dict[str, Any], cls: type[Any]) -> dict[str, Any]:
    """Without the unknown keys that are near to none of the plugin's options: it can prepare without them."""
    own = [option_key(field) for field in attrs.fields(cls) if field.init]
    return {key: value for key, value in options.items() if key in own or did_you_mean(key, own)}


def _plugin_class(
    name: str, table: dict[str, Any], path: str, installed: Mapping[str, registry.Entry]
) -> type[Plugin] | None:
    """The class that the table means; None where `use` is no string, which `read_keys` says.

    Raises ConfigErrors where it is not installed, _CannotLoadError where it is broken.
    """
    use = table.get("use", name)
    if not isinstance(use, str):
        return None
    where = join(path, "use") if "use" in table else path
    try:
        entry = registry.find(use, installed)
    except PluginError as error:
        raise ConfigErrors([ConfigError(str(error), path=where)]) from error
    try:
        return entry.load()
    except PluginError as error:
        raise _CannotLoadError(where, error) from error


class _CannotLoadError(ConfigErrors):
    """An installed plugin is broken: `cause` says how, `path` is the key that names it."""

    def __init__(self, path: str, cause: PluginError) -> None:
        super().__init__([ConfigError(str(cause), path=path)])
        self.cause = cause


class _Collected:
    """A `with` that goes on after mistakes, keeping them."""

    def __init__(self, errors: list[ConfigError]) -> None:
        self._errors = errors

    def __enter__(self) -> None: ...

    def __exit__(self, _type: object, error: BaseException | None, _traceback: object) -> bool:
        if isinstance(error, ConfigErrors):
            self._errors += error.errors
        return isinstance(error, ConfigErrors)


__all__ = [
    "Config",
    "DaemonOptions",
    "Instance",
    "embedded_default",
    "load",
    "parse",
    "prepare",
    "read",
    "read_sources",
]
