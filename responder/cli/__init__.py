"""The command `responderd`: one file a command, and what they share.

run.py check.py plugins.py interfaces.py new.py      work alone
status.py trace.py reload.py                         ask a running daemon (daemon_address.py finds it)
plugin_commands.py                                   commands that plugins bring
config_argument.py  output.py                        which configuration; tables, JSON, errors and the exit status

Exit status: 2 for the configuration or the command line, 1 for what the system refuses.  `--json` prints JSON and
nothing else on standard output.

Each command imports only what it uses, within its functions, so that `--help` and the first answer of `run` are quick.
"""

from __future__ import annotations

import click

from . import check, interfaces, new, plugins, reload, run, service, status, trace
from .plugin_commands import PluginCommand, plugin_commands

__all__ = ["main"]


class _Main(click.Group):
    """Our own commands first, so that no plugin can take one's place; then those that plugins bring."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*super().list_commands(ctx), *sorted(set(plugin_commands()) - set(self.commands))]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        own = super().get_command(ctx, cmd_name)
        if own is not None:
            return own
        entries = plugin_commands().get(cmd_name)
        return None if entries is None else PluginCommand(entries)


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
    reload.reload,
    new.new,
    service.service,
):
    main.add_command(command)
