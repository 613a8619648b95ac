"""`responderd completion SHELL`: what a shell needs to complete its command line."""

# ruff: noqa: PLC0415 - imports within functions: `--help` is to be quick

from __future__ import annotations

import click

PROGRAM = "responderd"
VARIABLE = "_RESPONDERD_COMPLETE"
"""With it the program answers a shell's questions in place of running: click's convention."""


@click.command(short_help="Print what a shell needs to complete commands.")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print what a shell needs to complete commands, options and names.

    \b
        bash   responderd completion bash > /etc/bash_completion.d/responderd
        zsh    responderd completion zsh > "${fpath[1]}/_responderd"
        fish   responderd completion fish > ~/.config/fish/completions/responderd.fish
    """
    from click.shell_completion import get_completion_class

    cls = get_completion_class(shell)
    assert cls is not None  # noqa: S101 - click has the three
    click.echo(cls(context.find_root().command, {}, PROGRAM, VARIABLE).source())


def plugin_names(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
    """For an argument that names an installed plugin."""
    from ..config.registry import installed

    return [name for name in installed() if name.startswith(incomplete)]
