"""An ablation from its file to its tables: check all, say what is there, run the rest, compare.

failed = ablate(reading.read("table1.gin"), Path("runs"), jobs=2, again="ganflow ablate table1.gin")
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from ganflow.ablation import reading
from ganflow.ablation.data import Ablation, Run, Variant, of_variant
from ganflow.ablation.pictures import draw
from ganflow.ablation.planning import Plan, plan_of, reference_of, runs_of
from ganflow.ablation.processes import Job, run_all, threads_for
from ganflow.ablation.progress import Work, progress
from ganflow.ablation.results import results_of
from ganflow.ablation.shown import print_plan, print_results
from ganflow.ablation.states import State, checked
from ganflow.ablation.tables import write
from ganflow.errors import GanflowError, Terminated, did_you_mean
from ganflow.settings import settings_of

__all__ = ["ablate", "as_typed", "options", "reading", "report"]


def ablate(
    ablation: Ablation, runs: Path, *, jobs: int = 1, only: Sequence[str] = (), dry_run: bool = False, again: str
) -> bool:
    """Check every variant, run what has not run, and write the tables.

    Args:
        runs: the folder of folders of runs.
        again: the command that goes on where this one was stopped.

    Returns:
        Whether a run failed.

    Raises:
        GanflowError: before anything trains: a variant that cannot run, a directory with another experiment in it.
        KeyboardInterrupt, Terminated: stopped by a signal, with everything saved.
    """
    root = runs / ablation.name
    chosen = _chosen(ablation, only)
    plan = plan_of(ablation)
    print_plan(plan)
    all_ = runs_of(ablation, root, ablation.variants)
    states = {run: _state(run, plan) for run in all_ if run.variant in chosen}
    _say_states(states)
    if dry_run:
        return False
    todo = [run for run, state in states.items() if state.kind != "finished"]
    failed = _train(plan, {run: states[run] for run in todo}, jobs=jobs, again=again) if todo else {}
    _tables(ablation, all_, root, reference=plan.reference, metrics=plan.metrics)
    for run, said in failed.items():
        print(f"failed: {run}: {said}\n  all that it printed: {run.log}")
    if failed:
        print(f"{len(failed)} of {len(states)} runs failed; the others are done. To try again: {again}")
    return bool(failed)


def report(ablation: Ablation, runs: Path) -> None:
    """The tables, from what lies in the run directories."""
    root = runs / ablation.name
    all_ = runs_of(ablation, root, ablation.variants)
    experiments = {run.variant.name: run.experiment for run in all_ if run.seed == ablation.seeds[0]}
    known = list(settings_of(all_[0].experiment).metrics)
    metrics = reading.metrics_of(ablation, known)
    if not root.is_dir():
        raise GanflowError(f"{root} does not exist: nothing of this ablation has run", code="not-a-run",
                           hint="run it without --report, or say where its runs lie with --runs")  # fmt: skip
    _tables(ablation, all_, root, reference=reference_of(ablation, experiments), metrics=metrics)


def options(message: str, hint: str) -> GanflowError:
    """Options that do not go together."""
    return GanflowError(message, hint=hint, code="options")


def as_typed(set_: Sequence[str], jobs: int, runs: Path, only: Sequence[str]) -> list[str]:
    """The options that matter where an ablation goes on."""
    found = [word for line in set_ for word in ("--set", shlex.quote(line))]
    found += [word for name in only for word in ("--only", shlex.quote(name))]
    found += ["--jobs", str(jobs)] if jobs > 1 else []
    return [*found, *(["--runs", shlex.quote(str(runs))] if runs != Path("runs") else [])]


def _chosen(ablation: Ablation, only: Sequence[str]) -> tuple[Variant, ...]:
    names = [n for v in ablation.variants for n in (v.name, v.folder)]
    for name in only:
        if name not in names:
            known = ", ".join(v.name for v in ablation.variants)
            raise GanflowError(f"--only {name!r} is no variant", code="options",
                               hint=did_you_mean(name, names) or f"variants: {known}")  # fmt: skip
    wanted = [ablation.named(name) for name in only]
    return tuple(v for v in ablation.variants if v in wanted) if only else ablation.variants


def _state(run: Run, plan: Plan) -> State:
    try:
        return checked(run, plan.of(run.variant).inspection)
    except GanflowError as error:
        raise of_variant(error, run.variant) if error.location else error from None


def _say_states(states: dict[Run, State]) -> None:
    kinds = [state.kind for state in states.values()]
    done, begun, new = (kinds.count(k) for k in ("finished", "begun", "new"))
    print(f"{len(states)} runs: {done} finished, which are not run again; {begun} begun, which go on; {new} to begin")


def _train(plan: Plan, todo: dict[Run, State], *, jobs: int, again: str) -> dict[Run, str]:
    costs = {run: plan.of(run.variant).side.cost.total for run in todo}
    known = all(costs.values())
    left = {run: None if s.total is None else s.total - s.step for run, s in todo.items()}
    work = Work(left, {run: float(cost) if known else 1.0 for run, cost in costs.items()})
    jobs = min(jobs, len(todo))
    threads = threads_for(jobs)
    print(f"{jobs} at a time, {threads} thread{'s' * (threads != 1)} each")
    listed = [Job(run, plan.ablation.path, state, threads) for run, state in todo.items()]
    try:
        with progress(work) as shown:
            return run_all(listed, jobs=jobs, shown=shown).failed
    except (KeyboardInterrupt, Terminated):
        print(f"stopped; what was done is saved. To go on: {again}", flush=True)
        raise


def _tables(
    ablation: Ablation, runs: Sequence[Run], root: Path, *, reference: str, metrics: Sequence[str]
) -> None:  # fmt: skip
    results = results_of(ablation, runs, reference=reference, metrics=metrics)
    print_results(results)
    written = write(results, root)
    try:
        written += draw(results, runs, root)
    except GanflowError as error:
        if error.code != "missing-package":
            raise
        print(f"no pictures: {error.message}; {error.hint}")
    for path in written:
        print(path)
