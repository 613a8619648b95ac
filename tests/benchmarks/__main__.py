"""One command for every row of the speed table: ours and the peers alternately, in one run.

    python -m tests.benchmarks                                   everything, some twenty minutes   (root, Linux)
    python -m tests.benchmarks echo --repeat 3 --seconds 1       one group, quickly
    python -m tests.benchmarks --json results.json --svg results.svg

Groups: see GROUPS, or --help.  It refuses to compare on a busy machine (exit status 1); `--force` measures all the
same, and marks the result.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import click

from . import echo, machine, names, report, running
from .comparing import Result

GROUPS: dict[str, Callable[[running.Bench], Result]] = {
    "echo": echo.echo,
    "latency": echo.latency,
    "dns": names.dns,
    "zone-size": names.zone_size,
}


@click.command(help=__doc__.partition("\n")[0])
@click.argument("groups", nargs=-1, type=click.Choice(list(GROUPS)))
@click.option("--repeat", default=5, show_default=True, type=click.IntRange(1), help="Rounds: runs of each server.")
@click.option("--seconds", default=2.0, show_default=True, type=click.FloatRange(0.1, 600), help="Of each run.")
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Write everything that was measured.")
@click.option("--force", is_flag=True, help="Measure on a busy machine too; the result says so.")
def main(groups: tuple[str, ...], repeat: int, seconds: float, json_file: Path | None, force: bool) -> None:
    def say(text: str) -> None:
        click.echo(text, err=True)

    if not force and (load := machine.watch(1.0)).disturbs:
        raise click.ClickException(machine.refusal(load))
    results = []
    for name in groups or GROUPS:
        say(f"{name} ...")
        with running.bench(seconds, repeat, force=force, say=say) as bench:
            results.append(GROUPS[name](bench))
        click.echo("\n".join(report.lines(results[-1:])))
    if json_file:
        document = {
            "machine": machine.description(),
            "rounds": repeat,
            "seconds": seconds,
            "groups": [each.to_json() for each in results],
        }
        json_file.write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main()
