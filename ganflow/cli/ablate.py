"""The command that runs variants of an experiment and compares them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ganflow.cli.app import Set, command, program


@command
def ablate(
    file: Annotated[Path, typer.Argument(help="A gin file with Ablation bindings.", metavar="FILE")],
    set_: Set = [],  # noqa: B006
    only: Annotated[
        list[str], typer.Option("--only", metavar="VARIANT", help="Run only this one; may be repeated.")
    ] = [],  # noqa: B006
    jobs: Annotated[int, typer.Option("--jobs", "-j", min=1, max=1024, help="Runs at a time.")] = 1,
    runs: Annotated[Path, typer.Option(help="Where runs lie: in RUNS/FILE/VARIANT/seed-N.")] = Path("runs"),
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check, plan and count; train nothing.")] = False,
    report: Annotated[bool, typer.Option("--report", help="Only make the tables again from what has run.")] = False,
) -> None:
    """Train variants of an experiment with several seeds each, and compare them with honest uncertainty.

    Every variant is checked and planned before the first one trains. What has run is not run again, what was
    interrupted goes on. Exit status: 0, 1 a run failed, 2 the input is wrong, 130 and 143 interrupted.
    """
    from ganflow.ablation import driver

    ablation = driver.reading.read(file, overrides=set_)
    if report and (dry_run or only):
        raise driver.options("--report runs nothing", "leave out --dry-run and --only")
    if report:
        driver.report(ablation, runs)
        return
    again = " ".join([program(), "ablate", str(file), *driver.as_typed(set_, jobs, runs, only)])
    failed = driver.ablate(ablation, runs, jobs=jobs, only=only, dry_run=dry_run, again=again)
    if failed:
        raise typer.Exit(1)
