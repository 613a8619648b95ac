"""`responderd service`: the daemon as a Windows service."""

# ruff: noqa: PLC0415 - imports within functions: `--help` is to be quick

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..errors import ResponderError
from ..log import printable
from .output import exit_with, json_option, print_json

if TYPE_CHECKING:
    from ..net.windows.service import ServiceControl

NAME = "responderd"

name_option = click.option(
    "--name", default=NAME, show_default=True, help="The service's name, where there are several."
)


@click.group()
def service() -> None:
    """Serve as a Windows service."""


@contextmanager
def _refusals_told() -> Iterator[None]:
    try:
        yield
    except ResponderError as error:
        exit_with([error])


@service.command(short_help="Have Windows start the daemon.")
@click.argument("config", required=False, type=click.Path(path_type=Path))
@click.option(
    "--account",
    type=click.Choice(["LocalService", "NetworkService", "LocalSystem"]),
    default="LocalService",
    show_default=True,
    help="What the service may do.",
)
@name_option
def install(config: Path | None, account: str, name: str) -> None:
    """Have Windows start the daemon with CONFIG when it starts itself.  Needs an administrator.

    CONFIG is checked first; by default it is %ProgramData%\\responderd\\responderd.toml.  Logs and state go to that
    folder.
    """
    import trio

    from ..config.reading import load_prepared
    from ..net.folders import windows_folder
    from ..net.windows.service import command_line, prepare_folder, service_control

    with _refusals_told():
        control = service_control()
        folder = windows_folder(for_all_users=True)
        file = (folder / "responderd.toml" if config is None else config).absolute()
        trio.run(load_prepared, file)
        command = command_line(["service", "serve-as", name, str(file)])
        control.install(name, command, account=account, description=f"UDP responders, as {file} says.")
        try:
            prepare_folder(folder, account)
        except ResponderError:
            control.remove(name)
            raise
    click.echo(f"service {name}: installed; `responderd service start` starts it now")


@service.command()
@name_option
def remove(name: str) -> None:
    """Have Windows forget the service.  One that runs goes on until it is stopped."""
    _order(name, "removed", lambda control: control.remove(name))


@service.command()
@name_option
def start(name: str) -> None:
    """Start the service, and wait until it serves."""
    _order(name, "running", lambda control: control.start(name))


@service.command()
@name_option
def stop(name: str) -> None:
    """Stop the service, and wait until its goodbyes are said."""
    _order(name, "stopped", lambda control: control.stop(name))


def _order(name: str, done: str, order: Callable[[ServiceControl], None]) -> None:
    from ..net.windows.service import service_control

    with _refusals_told():
        order(service_control())
    click.echo(f"service {name}: {done}")


@service.command()
@name_option
@json_option
def status(name: str, as_json: bool) -> None:
    """Say how the service is, as its manager sees it (`responderd status` asks the daemon)."""
    from ..net.windows.service import ERROR_SERVICE_NEVER_STARTED, service_control

    with _refusals_told():
        info = service_control().query(name)
    if as_json:
        import attrs

        print_json({"name": name, **attrs.asdict(info)})
        return
    if info.process:
        process = f"process {info.process}"
    elif info.exit_status == ERROR_SERVICE_NEVER_STARTED:
        process = "never started since it was installed or the system started"
    else:
        process = f"last exit status {info.exit_status}"
    runs = f"{info.state}, {process}; runs as {info.account or 'LocalSystem'}: {info.command}"
    click.echo(printable(f"service {name}: {runs}"))


@service.command("serve-as", hidden=True)
@click.argument("name")
@click.argument("config", type=click.Path(path_type=Path))
def serve_as(name: str, config: Path) -> None:
    """What the service manager starts."""
    from ..net.windows.service import ServiceLine, run_as_service

    def serve(line: ServiceLine) -> int:
        # Imported when the manager has been answered: it gives a process 30 seconds for that.
        from ..daemon import windows_service

        return windows_service.serve(name, config, line)

    status = 1
    with _refusals_told():
        status = run_as_service(name, serve)
    exit_with([], status)
