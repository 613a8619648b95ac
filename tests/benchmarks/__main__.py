"""One command for every row of the speed table: ours and the peers alternately, in one run.

    python -m tests.benchmarks                                   everything, some ten minutes   (root, Linux)
    python -m tests.benchmarks echo --repeat 3 --seconds 1       one group, quickly
    python -m tests.benchmarks --json results.json --svg results.svg
    python -m tests.benchmarks profile [echo|async|dns]          where our time goes

Groups: see GROUPS, or --help.  What counts is CPU time for each answer, ours and the peers' in turn.  Rates and
latencies stand beside it; on a busy machine they mean nothing and are left out (exit status 1), unless with `--force`.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import click

from . import echo, machine, many, names, picture, profiling, report, running, short, versions
from .comparing import Result

GROUPS: dict[str, Callable[[running.Bench], Result]] = {
    "echo": echo.echo,
    "workers": echo.workers,
    "sources": echo.sources,
    "latency": echo.latency,
    "short": short.short,
    "many": many.many,
    "dns": names.dns,
    "dns-fresh": names.fresh,
    "zone-size": names.zone_size,
    "zone-load": names.zone_load,
}


def say(text: str) -> None:
    """What is going on, beside the results."""
    click.echo(text, err=True)


@click.command(help=__doc__.partition("\n")[0])
@click.argument("groups", nargs=-1, type=click.Choice(list(GROUPS)))
@click.option("--repeat", default=5, show_default=True, type=click.IntRange(1), help="Rounds: runs of each server.")
@click.option("--seconds", default=2.0, show_default=True, type=click.FloatRange(0.1, 600), help="Of each run.")
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Write everything that was measured.")
@click.option("--svg", "svg_file", type=click.Path(path_type=Path), help="Draw it.")
@click.option("--profile", "profiled", is_flag=True, help="Then show where our time goes, as the profile command does.")
@click.option("--force", is_flag=True, help="Show rates and latencies of a busy machine too.")
def main(
    groups: tuple[str, ...],
    repeat: int,
    seconds: float,
    json_file: Path | None,
    svg_file: Path | None,
    profiled: bool,
    force: bool,
) -> None:
    results: list[Result] = []
    try:
        for name in groups or GROUPS:
            say(f"{name} ...")
            with running.bench(seconds, repeat, force=force, say=say) as bench:
                results.append(GROUPS[name](bench))
            click.echo("\n".join(report.lines(results[-1:], force=force)))
    finally:
        # Whole groups are worth keeping where a later one can't be measured.
        write(results, groups, repeat, seconds, json_file, svg_file)
    if profiled:
        for name in profiling.TARGETS:
            show_profile(name, seconds)
    if not all(each.is_compared(goal, force=force) for each in results for goal in each.goals):
        raise click.ClickException("the machine was busy: not everything was compared")


def write(
    results: Sequence[Result],
    groups: Sequence[str],
    repeat: int,
    seconds: float,
    json_file: Path | None,
    svg_file: Path | None,
) -> None:
    described = machine.description() | versions.programs()
    command = " ".join(["python -m tests.benchmarks", *groups, f"--repeat {repeat} --seconds {seconds:g}"])
    if json_file:
        document = {
            "command": command,
            "machine": described,
            "rounds": repeat,
            "seconds": seconds,
            "groups": [each.to_json() for each in results],
        }
        json_file.write_text(json.dumps(document, indent=1) + "\n")
    if svg_file:
        svg_file.write_text(picture.svg(results, described, command))


def show_profile(name: str, seconds: float) -> None:
    # Forced: facts about where time goes are of use on a busy machine too.
    with running.bench(seconds, 1, force=True, say=say) as bench:
        for line in profiling.profile(bench, name):
            click.echo(line)


@click.command(help=profiling.__doc__.partition("\n")[0])
@click.argument("name", default="echo", type=click.Choice(profiling.TARGETS))
@click.option("--seconds", default=5.0, show_default=True, type=click.FloatRange(1, 600), help="Of each look.")
def profile(name: str, seconds: float) -> None:
    show_profile(name, seconds)


if __name__ == "__main__":
    # Not a click group: the names of rows stand where a group would have its commands.
    if sys.argv[1:2] == ["profile"]:
        profile(sys.argv[2:], prog_name="python -m tests.benchmarks profile")
    else:
        main(prog_name="python -m tests.benchmarks")
