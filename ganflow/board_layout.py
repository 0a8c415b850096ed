"""How TensorBoard's Custom Scalars tab groups what a run logs, so that its first page says whether it is training.

    sections(["loss/D", "loss/D_fake", "grad_norm/D"], {"D": ("loss/D", "loss/D_fake")})
    # (Section('Is it training?', (Chart('losses of D', ...), Chart('gradient norms', ...))),)

A chart is there only if something that it shows was logged. What nobody has thought of stands at the end.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ganflow.graph import StepGraph


@dataclass(frozen=True)
class Chart:
    """Curves on one pair of axes.

    Args:
        patterns: regular expressions, matched from the start of a tag.
    """

    title: str
    patterns: tuple[str, ...]


@dataclass(frozen=True)
class Section:
    """Charts below one heading; ``closed``: they are shown when it is clicked."""

    title: str
    charts: tuple[Chart, ...]
    closed: bool = False


@dataclass(frozen=True)
class _Family:
    """Tags of one kind: ``pattern`` names ``group`` where each group has a chart of its own."""

    section: str
    title: str
    pattern: str


TRAINING, METRICS, GRADIENTS, HEALTH, SETTINGS, TIME, OTHERS = (
    "Is it training?", "Metrics", "Gradients, term by term", "Health", "Settings", "Time", "Others",
)  # fmt: skip
_CLOSED = frozenset({SETTINGS, TIME})
_FAMILIES = (
    _Family(TRAINING, "gradient norms", "grad_norm/"),
    _Family(TRAINING, "whose gradient moves {group}", "grad_share/(?P<group>[^/]+)/"),
    _Family(TRAINING, "steps not taken", "skipped/"),
    _Family(METRICS, "{group}", "metric/(?P<group>.+)$"),  # a chart each, too: dB flatten what ends at 1
    _Family(GRADIENTS, "gradient norms after clipping", "grad_norm_clipped/"),
    _Family(GRADIENTS, "gradient at {group}", "grad_at/(?P<group>[^/]+)/"),
    _Family(GRADIENTS, "gradient norms of the terms of {group}", "grad_term/(?P<group>[^/]+)/"),
    _Family(GRADIENTS, "cosines between the terms of {group}", "grad_cosine/(?P<group>[^/]+)/"),
    _Family(HEALTH, "accuracy of {group}", "health/accuracy_(real|fake)/(?P<group>[^/]+)$"),
    _Family(HEALTH, "{group}", "health/(?P<group>[^/]+)/"),
    _Family(SETTINGS, "learning rates", "lr/"),
    _Family(SETTINGS, "weights of the terms", "weight/"),
    _Family(TIME, "seconds per iteration", "time/(step|data)$"),
    _Family(TIME, "{group}", "time/(?P<group>.+)$"),
    _Family(OTHERS, "{group}", "(?P<group>.+)$"),
)


def sections(tags: Sequence[str], losses: Mapping[str, Sequence[str]]) -> tuple[Section, ...]:
    """The layout for these tags.

    Args:
        tags: those that were logged.
        losses: update -> tags of its terms and of their sum.
    """
    found: dict[str, dict[Chart, None]] = {TRAINING: {}}
    left = dict.fromkeys(tags)
    for update, own in losses.items():
        if shown := [tag for tag in own if tag in left]:
            found[TRAINING][Chart(f"losses of {update}", tuple(f"{re.escape(tag)}$" for tag in shown))] = None
    for tag in {tag for own in losses.values() for tag in own} & left.keys():
        del left[tag]
    if sum(tag.startswith("metric/") for tag in left) > 1:
        found[METRICS] = {Chart("all metrics", ("metric/",)): None}
    for family in _FAMILIES:
        for tag in [tag for tag in left if re.match(family.pattern, tag)]:
            chart = _chart(family, tag)
            found.setdefault(family.section, {})[chart] = None
            del left[tag]
    order = [title for title in dict.fromkeys((TRAINING, *(f.section for f in _FAMILIES))) if found.get(title)]
    return tuple(Section(title, tuple(found[title]), title in _CLOSED) for title in order)


def losses_of(graph: StepGraph) -> dict[str, tuple[str, ...]]:
    """Update -> the tags of its terms, and of what it minimizes."""
    return {u.name: (*dict.fromkeys(f"loss/{t.name}" for t in u.terms), f"loss/{u.name}") for u in graph.updates}


def _chart(family: _Family, tag: str) -> Chart:
    """The chart of a tag. Its pattern says the family rather than the tag, so that charts of several runs are one."""
    match = re.match(family.pattern, tag)
    assert match is not None, "a tag of this family"
    group = match.groupdict().get("group", "")
    pattern = re.sub(r"\(\?P<group>(?:[^()]|\(.*?\))*?\)", lambda _: re.escape(group), family.pattern)
    return Chart(family.title.format(group=group.replace("_", " ") if family.title == "{group}" else group), (pattern,))
