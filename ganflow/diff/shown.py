"""Comparison -> text for people.

    print(text(comparison, labels=("pix2pix.gin", "pix2pix.gin, lambda_A = 10")))

What somebody wrote comes first, section by section; what follows from it is told in few lines at the end.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from ganflow.diff.data import SECTIONS, Change, Comparison, Section
from ganflow.diff.verdict import arrow, renamed_text, value_text, verdict
from ganflow.quantities import count_text, pair_text

WIDTH = 100
SUBJECT = 24  # a longer name has a line to itself
NAMES = 8  # names in a list; then how many more
FOLLOWS: frozenset[Section] = frozenset({"edges", "modes"})


@dataclass(frozen=True)
class Line:
    """A line and how a terminal may show it: ``a``, ``b``, ``title``, ``head``, ``added``, ``removed`` or nothing."""

    text: str
    style: str = ""


def text(comparison: Comparison, *, labels: tuple[str, str] | None = None) -> str:
    """The whole comparison, at most 100 columns wide but for names that are longer."""
    return "\n".join(line.text for line in lines(comparison, labels=labels))


def lines(comparison: Comparison, *, labels: tuple[str, str] | None = None) -> list[Line]:
    """The lines of :func:`text` with their styles."""
    a, b = labels or (comparison.a, comparison.b)
    found = [Line(f"--- {a}", "a"), Line(f"+++ {b}", "b")]
    found += [Line(t, "title") for t in _wrapped(verdict(comparison), "", "    ")]
    if comparison.renamed and not comparison.same:
        found += [Line(""), Line("renamed", "head"), *map(Line, _wrapped(renamed_text(comparison), "  ", "  "))]
    for section in sorted(SECTIONS, key=lambda s: not any(c.section == s for c in comparison.written)):
        if rows := _rows(comparison, section):
            found += [Line(""), Line(section, "head"), *_aligned(rows)]
    for title, body in (
        ("what follows", _follows(comparison)),
        ("draws", _draws(comparison)),
        ("cost", _cost(comparison)),
    ):
        if body:
            found += [Line(""), Line(title, "head"), *body]
    return found


# -- sections -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Row:
    """A sign, what differs, and how; ``after`` stands behind an arrow."""

    sign: str
    subject: str
    what: str = ""
    before: str = ""
    after: str | None = None
    note: str = ""


def _rows(comparison: Comparison, section: Section) -> list[Row]:
    found: dict[tuple[object, ...], tuple[Change, list[str]]] = {}
    for c in comparison.changes:
        if c.section == section and not _is_folded(c):
            key = (c.what, repr(c.before), repr(c.after), c.kind, c.note, c.update) if c.what else (id(c),)
            found.setdefault(key, (c, []))[1].append(c.subject)
    rows = [_row(comparison, c, ", ".join(subjects)) for c, subjects in found.values()]
    return [r for k, r in enumerate(rows) if r not in rows[:k]]


def _is_folded(c: Change) -> bool:
    """Told elsewhere: with the number that it follows from, under *what follows*, or as cost."""
    if c.section in FOLLOWS or c.section == "draws" or c.what == "parameters":
        return True
    weights = c.section == "terms" and c.what == "weight"
    return bool(c.because) and (c.section in ("values", "data") or weights)


def _row(comparison: Comparison, c: Change, subject: str) -> Row:
    sign = {"added": "+", "removed": "-", "changed": " "}[c.kind]
    if c.section == "terms":
        place = f"in update {c.update}"
        if c.kind != "changed":
            weight = value_text(c.before if c.kind == "removed" else c.after)
            times = f", weight {weight}" if weight != "1" else ""
            return Row(sign, subject, before=f"{place}{times}", note=c.note)
        return Row(sign, subject, "" if c.what == "expression" else c.what, value_text(c.before), value_text(c.after),
                   c.note if c.what == "text" else place)  # fmt: skip
    if c.kind != "changed":
        given = c.before if c.kind == "removed" else c.after
        own = c.section in ("schedule", "states") and given == subject
        what = c.what if c.section in ("schedule", "states") else ""
        size = comparison.costs[c.kind == "added"].parameters.get(subject) if c.section == "networks" else None
        count = f", {count_text(size)} parameters" if size is not None else ""
        return Row(sign, f"{what} {subject}".strip(), before="" if own else f"{value_text(given)}{count}",
                   note="" if c.note == "a new update" else c.note)  # fmt: skip
    return Row(sign, subject, c.what, value_text(c.before), value_text(c.after), _read_by(comparison, c))


def _read_by(comparison: Comparison, c: Change) -> str:
    """What a number is for: the weights and parameters that follow from it."""
    if c.section != "numbers":
        return f"with {', '.join(c.because)}" if c.because else ""
    follow = [
        f for f in comparison.changes if f.because == (c.subject,) or c.subject in f.because and f.what == "weight"
    ]
    weights = [f"weight of {short(f.subject)} in update {f.update}" for f in follow if f.what == "weight"]
    return ", ".join(weights[:3])


def _aligned(rows: Sequence[Row]) -> Iterator[Line]:
    width = max((len(r.subject) for r in rows if len(r.subject) <= SUBJECT), default=0)
    whats = max((len(r.what) for r in rows if len(r.what) <= SUBJECT + 10), default=0)
    said = ""
    for r in rows:
        style = {"+": "added", "-": "removed"}.get(r.sign, "")
        subject = "" if r.subject == said and r.what else r.subject
        said = r.subject
        first = f"{r.sign} {subject.ljust(width)}{'  ' + r.what.ljust(whats) if whats else ''}  "
        yield from (Line(t.rstrip(), style) for t in _body(r, first))


def _body(r: Row, first: str) -> list[str]:
    indent = " " * len(first)
    note = f"   {r.note}" if r.note else ""
    if r.after is None:
        body = f"{r.before}{': ' if r.before and r.note else ''}{r.note}"
        return _wrapped(body, first, indent)
    whole = f"{first}{r.before} → {r.after}"
    if len(whole) <= WIDTH:
        return [whole + note] if len(whole + note) <= WIDTH else [whole, *_wrapped(r.note, indent, indent)]
    before, after = _shortened(r.before, r.after, WIDTH - len(indent) - 2)
    found = [*_wrapped(before, first, indent), *_wrapped(f"→ {after}", indent[:-2], indent)]
    return [*found, *_wrapped(r.note, indent, indent)] if r.note else found


def _wrapped(body: str, first: str, indent: str) -> list[str]:
    return textwrap.wrap(body, WIDTH, initial_indent=first, subsequent_indent=indent, break_long_words=False,
                         break_on_hyphens=False, drop_whitespace=True) or [first]  # fmt: skip


def _shortened(before: str, after: str, width: int) -> tuple[str, str]:
    """Two long texts around the place where they differ."""
    if max(len(before), len(after)) <= width:
        return before, after
    start = next(
        (k for k, (x, y) in enumerate(zip(before, after, strict=False)) if x != y), min(len(before), len(after))
    )
    end = next((k for k, (x, y) in enumerate(zip(before[::-1], after[::-1], strict=False)) if x != y), 0)
    end = min(end, len(before) - start, len(after) - start)
    left, right = max(0, start - 30), max(0, end - 30)
    return tuple(  # type: ignore[return-value]
        f"{'…' if left else ''}{t[left : len(t) - right]}{'…' if right else ''}" for t in (before, after)
    )


# -- what follows -------------------------------------------------------------------------------------------


def _follows(comparison: Comparison) -> list[Line]:
    """Values that are gone, came, or read something else; then each update's modes and cut edges."""
    found: list[str] = []
    values = [c for c in comparison.consequences if c.section == "values"]
    for kind, words in (
        ("removed", "no longer evaluated"),
        ("added", "evaluated now"),
        ("changed", "the same text, other inputs"),
    ):
        if names := [c.subject for c in values if c.kind == kind]:
            found += _wrapped(f"{words}: {_listed(names)}", "  ", "    ")
    fields = [_field_text(c) for c in comparison.consequences if c.section == "data"]
    found += _wrapped(f"fields of the data: {'; '.join(fields)}", "  ", "    ") if fields else []
    updates: dict[str, list[str]] = {}
    for c in comparison.changes:
        if c.section in FOLLOWS and c.update:
            updates.setdefault(c.update, []).append(_mode_text(c))
    for update, told in updates.items():
        word = "" if " " in update and update[0] != "(" and "," not in update else "update "
        shown = told[:NAMES] + ([f"and {len(told) - NAMES} more"] if len(told) > NAMES else [])
        found += _wrapped("; ".join(dict.fromkeys(shown)), f"  {word}{update}: ", "    ")
    return [Line(t) for t in found]


def _field_text(c: Change) -> str:
    """``real_A 3×64×64 → 3×256×256``: shape, dtype and domain as far as they differ."""
    before, after = str(c.before).split(), str(c.after).split()
    if len(before) == len(after):
        before, after = (
            [x for x, y in zip(s, t, strict=True) if x != y] for s, t in ((before, after), (after, before))
        )
    return f"{c.subject.removeprefix('field ')} {' '.join(before)} → {' '.join(after)}"


def _mode_text(c: Change) -> str:
    if c.what == "detached":
        source, _, reader = (short(t) for t in c.subject.partition(" → "))
        if c.kind == "added":
            return f"✂ {source} in {reader}"
        return f"{source} in {reader} is no longer ✂"
    if c.what == "frozen":
        return f"{c.subject} is {'' if c.kind == 'added' else 'no longer '}frozen"
    return f"{short(c.subject)} {arrow(c)}"


def short(label: str, width: int = 32) -> str:
    """A text that names an unnamed value, cut where it is long."""
    return label if len(label) <= width else f"{label[: width - 1]}…"


def _listed(names: Sequence[str]) -> str:
    more = len(names) - NAMES
    return ", ".join(names[:NAMES]) + (f" and {more} more" if more > 0 else "")


def _draws(comparison: Comparison) -> list[Line]:
    sites = [f"{c.before} → {c.after}" for c in comparison.changes if c.section == "draws"]
    if not sites:
        return []
    told = f"other random numbers, for a draw is seeded from the name of its place: {_listed(sites)}"
    return [Line(t) for t in _wrapped(told, "  ", "    ")]


# -- cost ---------------------------------------------------------------------------------------------------


def _cost(comparison: Comparison) -> list[Line]:
    """Only what differs; a unit that both sides share is said once."""
    a, b = comparison.costs
    found: list[str] = []
    if a.total and b.total and a.flops != b.flops:
        updates = [u for u in dict.fromkeys((*b.flops, *a.flops)) if a.flops.get(u) != b.flops.get(u)]
        parts = [f"{u} {pair_text(a.flops.get(u, 0), b.flops.get(u, 0), 'FLOP')}" for u in updates]
        most = "at most " if a.conditional or b.conditional else ""
        found += _wrapped(f"per iteration {most}{_change(a.total, b.total)}: {', '.join(parts)}", "  ", "    ")
    for title, x, y in (("forward passes", a.forwards, b.forwards), ("parameters", a.parameters, b.parameters)):
        measured = title != "parameters" or (a.parameters and b.parameters)
        if measured and (told := list(_counts(x, y))):
            found += _wrapped(f"{title}: {', '.join(told)}", "  ", "    ")
    return [Line(t) for t in found]


def _change(before: int, after: int) -> str:
    if before == after:
        return "the same"
    ratio = f"×{after / before:.1f}" if after > 2 * before else f"{after / before - 1:+.1%}"
    return f"{pair_text(before, after, 'FLOP')} ({ratio})"


def _counts(a: Mapping[str, int], b: Mapping[str, int]) -> Iterator[str]:
    for name in dict.fromkeys((*b, *a)):
        before, after = a.get(name, 0), b.get(name, 0)
        if before != after:
            yield f"{name} {pair_text(before, after)}"
