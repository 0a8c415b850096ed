"""Every variant loaded, checked, scheduled and measured before the first one trains.

plan = plan_of(ablation)
plan.variants[0].side.graph, plan.variants[0].comparison        # StepGraph, and how it differs from the reference
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from ganflow.ablation.data import Ablation, Run, Variant, of_variant, with_seed
from ganflow.ablation.reading import metrics_of
from ganflow.config import load
from ganflow.diff import Comparison, Side, compare
from ganflow.errors import GanflowError
from ganflow.experiment import Diagnostic, Experiment
from ganflow.inspection import Inspection, inspect, refuse
from ganflow.settings import check_length, settings_of
from ganflow.sides import side_from

Made = TypeVar("Made")


@dataclass(frozen=True)
class Planned:
    """One variant that can run.

    Args:
        inspection: its step graph, cost and findings; ``side``: the same, to be compared.
        comparison: with the reference; None for the reference itself.
    """

    variant: Variant
    experiment: Experiment
    inspection: Inspection
    side: Side
    comparison: Comparison | None


@dataclass(frozen=True)
class Plan:
    """All variants in order, the name of the reference, and the metrics that are compared."""

    ablation: Ablation
    variants: tuple[Planned, ...]
    reference: str
    metrics: tuple[str, ...]

    def of(self, variant: Variant) -> Planned:
        return next(p for p in self.variants if p.variant == variant)


def plan_of(ablation: Ablation) -> Plan:
    """Check and schedule every variant.

    Raises:
        GanflowError: of the first variant that cannot run; its hint names the others.
    """
    experiments, wrong = _each(ablation.variants, lambda v: _loaded(ablation, v))
    reference = reference_of(ablation, experiments)
    looked, more = _each(tuple(v for v in ablation.variants if v.name in experiments),
                         lambda v: _inspected(ablation, experiments[v.name]))  # fmt: skip
    _raise_first({v.name: e for v in ablation.variants for e in [{**wrong, **more}.get(v.name)] if e}, ablation)
    sides = {name: side_from(experiments[name], looked[name]) for name in experiments}
    planned = tuple(
        Planned(v, experiments[v.name], looked[v.name], sides[v.name],
                None if v.name == reference else compare(sides[reference], sides[v.name]))
        for v in ablation.variants
    )  # fmt: skip
    metrics = metrics_of(ablation, list(settings_of(experiments[reference]).metrics))
    return Plan(ablation, planned, reference, metrics)


def _each(
    variants: Sequence[Variant], make: Callable[[Variant], Made]
) -> tuple[dict[str, Made], dict[str, GanflowError]]:  # fmt: skip
    """What is made of each variant by its name, and the errors of the others."""
    made: dict[str, Made] = {}
    wrong: dict[str, GanflowError] = {}
    for variant in variants:
        try:
            made[variant.name] = make(variant)
        except GanflowError as error:
            wrong[variant.name] = error
    return made, wrong


def _raise_first(wrong: Mapping[str, GanflowError], ablation: Ablation) -> None:
    if wrong:
        first, *others = wrong
        if len(wrong) == len(ablation.variants) > 1 and len({str(e) for e in wrong.values()}) == 1:
            raise wrong[first]  # it is the base that is wrong
        also = "\n".join(f"and variant {name!r}: {wrong[name].message}" for name in others)
        raise of_variant(wrong[first], ablation.named(first), also=also)


def _loaded(ablation: Ablation, variant: Variant) -> Experiment:
    experiment = load(ablation.path, [*ablation.overrides, *variant.overrides])
    settings = settings_of(experiment)
    check_length(experiment, settings)
    return experiment


def _inspected(ablation: Ablation, experiment: Experiment) -> Inspection:
    """With what ``ganflow check`` calls an error, and a binding of the variant that changes nothing."""
    metrics_of(ablation, list(settings_of(experiment).metrics))
    inspection = inspect(experiment)
    refuse(inspection.findings)
    for f in inspection.findings:
        if f.code == "unused" and _is_override(f, ablation):  # elsewhere a warning; here a run that shows nothing
            raise GanflowError(f.message, location=f.location, hint=f.hint, code=f.code)
    return inspection


def _is_override(finding: Diagnostic, ablation: Ablation) -> bool:
    """Whether it is about a line of the variant: those of the command line come before."""
    where = finding.location.file if finding.location else ""
    return where.startswith("--set (") and int(where[7:-1]) > len(ablation.overrides)


# -- the reference -------------------------------------------------------------------------------------------


def reference_of(ablation: Ablation, experiments: Mapping[str, Experiment]) -> str:
    """The variant that all others are compared with: the first that is the base itself, else the first."""
    loaded = [v.name for v in ablation.variants if v.name in experiments]
    first = loaded[0] if loaded else ablation.variants[0].name
    try:
        base = _values(load(ablation.path, ablation.overrides))
    except GanflowError:  # a base that only its variants make whole
        return first
    return next((name for name in loaded if _values(experiments[name]) == base), first)


def _values(experiment: Experiment) -> dict[str, object]:
    """Every binding but the seed; 100 and 100.0 are one value."""
    return {b.key: _value(b.value) for b in experiment.bindings if b.key != "Trainer.seed"}


def _value(text: str) -> object:
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return text


# -- runs ----------------------------------------------------------------------------------------------------


def runs_of(ablation: Ablation, root: Path, variants: Sequence[Variant]) -> list[Run]:
    """Seed by seed, so that a table with a number for every variant is there as early as can be."""
    found = []
    for seed in ablation.seeds:
        for variant in variants:
            lines = with_seed((*ablation.overrides, *variant.overrides), seed)
            path = root / variant.folder / f"seed-{seed}"
            found.append(Run(variant, seed, load(ablation.path, lines), path, lines))
    return found
