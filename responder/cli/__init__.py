"""The command `responderd`: one file a command, and what they share.

run.py check.py plugins.py interfaces.py new.py      work alone
unit.py service.py completion.py                     have systemd, Windows and a shell know the program
status.py trace.py top.py top_view.py reload.py      ask a running daemon (daemon_address.py finds it)
plugin_commands.py                                   commands that plugins bring
config_argument.py  output.py  progress.py           which configuration; tables, JSON, errors and the exit status;
                                                     a bar while configurations are read

Exit status: 2 for the configuration or the command line, 1 for what the system refuses.  `--json` prints JSON and
nothing else on standard output.

Each command imports only what it uses, within its functions, so that `--help` and the first answer of `run` are quick.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import sys
from typing import Any

import click

from ..errors import NetworkError, ResponderError
from ..log import printable
from . import check, completion, interfaces, new, plugins, reload, run, service, status, top, trace, unit
from .output import SYSTEM_REFUSES, escape_tracebacks, exit_with
from .plugin_commands import PluginCommand, plugin_commands

__all__ = ["main"]

UNWRITABLE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EBADF)
"""A full disk, a quota, a terminal or a descriptor that is gone.  click itself ends in silence for a closed pipe."""


class _Main(click.Group):
    """Our own commands first, so that no plugin can take one's place; then those that plugins bring."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*super().list_commands(ctx), *sorted(set(plugin_commands()) - set(self.commands))]

    def main(self, *args: Any, **extra: Any) -> Any:
        """Run a command; where its output can't be written, that is one line and no traceback."""
        # Python has none where the descriptor is closed.
        sys.stdout = sys.stdout or open(os.devnull, "w")  # noqa: SIM115 - until the process ends
        escape_tracebacks()
        if isinstance(sys.stdout, io.TextIOWrapper):
            # A name that its encoding lacks, as that of a pipe on Windows does many, is no reason to fail.
            sys.stdout.reconfigure(errors="backslashreplace")
        try:
            return super().main(*args, **extra)
        except OSError as error:
            if error.errno not in UNWRITABLE:
                raise
            # What is left in the buffer would raise once more when Python ends.
            sys.stdout = open(os.devnull, "w")  # noqa: SIM115 - until the process ends
            with contextlib.suppress(OSError):
                click.echo(f"error: the output can't be written: {error.strerror}", err=True)
            sys.exit(SYSTEM_REFUSES)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        own = super().get_command(ctx, cmd_name)
        if own is not None:
            return own
        entries = plugin_commands().get(cmd_name)
        return None if entries is None else PluginCommand(entries)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except click.ClickException as error:
            vars(error)["message"] = "\n".join(map(printable, error.message.split("\n")))
            raise
        except (OSError, BaseExceptionGroup) as error:
            if _no_descriptor_is_free(error):
                message = "too few files may be open at a time (ulimit -n; systemd: LimitNOFILE=)"
                exit_with([NetworkError(errno.EMFILE, message)])
            raise


def _no_descriptor_is_free(error: BaseException) -> bool:
    """Is that all that is wrong?  Where we ask for a descriptor ourselves the error says what for."""
    if isinstance(error, BaseExceptionGroup):
        return all(map(_no_descriptor_is_free, error.exceptions))
    return isinstance(error, OSError) and not isinstance(error, ResponderError) and error.errno == errno.EMFILE


@click.group(cls=_Main, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="responderd")
def main() -> None:
    """UDP responders on hosts with many interfaces and addresses."""


for command in (
    run.run,
    check.check,
    plugins.plugins,
    interfaces.interfaces,
    status.status,
    trace.trace,
    top.top,
    reload.reload,
    new.new,
    unit.unit,
    service.service,
    completion.completion,
):
    main.add_command(command)
