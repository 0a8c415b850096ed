"""A profile as text: what each value costs, in the order of the step, and what the plan avoids.

print(text(profile))
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from ganflow.profile.model import Profile, Row, Section, Textbook

LABEL, SHAPE = 15, 12  # letters at most, so that a line has 80
HOT = 0.1  # a share of the iteration that is worth looking at
Style = Literal["", "title", "head", "section", "hot", "quiet"]
LEGEND = (
    "FLOP: two per multiply-add of convolutions and matrix products, nothing for the rest.",
    "bytes: of one evaluation: of the value, and what autograd keeps for backward.",
    "ms: evaluating the value, and its part in the backward passes of this update.",
)


@dataclass(frozen=True)
class Line:
    """A line and how it looks in a terminal."""

    text: str
    style: Style = ""


def text(profile: Profile) -> str:
    """All of it; at most 80 letters in a line as long as names are of ordinary length."""
    return "\n".join(line.text for line in lines(profile)) + "\n"


def lines(profile: Profile) -> Iterator[Line]:
    """The same with styles."""
    yield from (Line(t, "title" if k == 0 else "") for k, t in enumerate(head(profile)))
    yield Line("")
    yield from _table(profile)
    yield Line("")
    yield from (Line(t, "section" if k == 0 else "") for k, t in enumerate(avoided(profile)))
    yield Line("")
    yield from (Line(t, "quiet") for t in (*LEGEND, *clock_words(profile)))
    yield from (Line(t) for t in profile.notes)


def head(profile: Profile) -> list[str]:
    """What was measured."""
    p = profile
    middle, low, high = p.plain
    return [
        f"{p.name} · batches of {p.batch_size}, {p.data} · {p.device} · {iterations_text(p.iterations)}",
        f"one iteration: {ms(p.seconds)} ms profiled; "
        f"{ms(middle)} ms ({ms(low)} to {ms(high)}) without profiler and data",
    ]


def iterations_text(count: int) -> str:
    """``1 iteration``, ``10 iterations``."""
    return f"{count} iteration{'' if count == 1 else 's'}"


def clock_words(profile: Profile) -> list[str]:
    """Whose time it is."""
    if profile.clock == "cpu":
        return ["Times are the host's."]
    return ["Times are those of the device's kernels; elsewhere is also the time in which it waited for the host."]


# -- the table -------------------------------------------------------------------------------------------------

Cells = tuple[str, ...]


def _table(profile: Profile) -> Iterator[Line]:
    groups = ("", "", "", "FLOP", "", "bytes", "", "ms", "", "")
    names = ("", "mode", "shape", "fwd", "bwd", "value", "kept", "fwd", "bwd", "share")
    body: list[tuple[Style, Cells]] = [("head", groups), ("head", names)]
    for section in profile.sections:
        body.append(("section", (section.title, *[""] * 9)))
        body += [("hot" if profile.share(r.time) >= HOT else "", cells(profile, r)) for r in section.rows]
        body.append(("quiet", totals(profile, section)))
    body.append(("section", iteration(profile)))
    widths = [max(len(c[i]) for style, c in body if i or style != "section") for i in range(10)]
    for style, row in body:
        aligned = [c.ljust(w) if i < 3 else c.rjust(w) for i, (c, w) in enumerate(zip(row, widths, strict=True))]
        yield Line(" ".join(aligned).rstrip(), style)


def cells(profile: Profile, row: Row, *, longest: int = LABEL) -> Cells:
    """A row's, as in the table.

    Args:
        longest: letters of its label.
    """
    often = "" if row.runs in (0, 1) else f" ×{row.runs:.2g}"
    return (
        f"  {cut(row.label, longest - len(often))}{often}", mode(row), cut(row.shape, SHAPE + longest - LABEL),
        number(row.forward_flops), number(row.backward_flops), number(row.value_bytes), number(row.kept_bytes),
        ms(row.forward), ms(row.backward), share(profile.share(row.time)),
    )  # fmt: skip


def mode(row: Row) -> str:
    return "reused" if row.kind == "reused" else row.mode


def totals(profile: Profile, section: Section) -> Cells:
    """The sums of a section; its peak stands where a shape would."""
    peak = f"peak {number(section.peak)}B" if section.peak else ""
    return ("  total", "", peak, *_sums(section.rows), share(profile.share(section.time)))


def iteration(profile: Profile) -> Cells:
    """The sums of all."""
    peak = f"peak {number(profile.peak)}B" if profile.peak else ""
    return ("iteration", "", peak, *_sums(profile.rows), share(profile.share(sum(r.time for r in profile.rows))))


def _sums(rows: tuple[Row, ...]) -> Cells:
    def total(of: Callable[[Row], float | None]) -> float | None:
        found = [of(r) for r in rows]
        return None if None in found else sum(n for n in found if n is not None)

    return (
        number(total(lambda r: r.forward_flops)), number(total(lambda r: r.backward_flops)),
        number(total(lambda r: r.value_bytes)), number(total(lambda r: r.kept_bytes)),
        ms(sum(r.forward for r in rows)), ms(sum(r.backward for r in rows)),
    )  # fmt: skip


# -- what the plan avoids --------------------------------------------------------------------------------------


def avoided(profile: Profile) -> list[str]:
    """The textbook loop beside the plan, and why it costs more."""
    found = ["against the textbook loop: the same, but every backward reaches every parameter"]
    if profile.textbook is None:
        found.append("  not run")
    else:
        rows = compared(profile, profile.textbook)
        widths = [max(len(r[i]) for r in rows) for i in range(4)]
        found += ["  " + "  ".join(c.rjust(w) if i else c.ljust(w) for i, (c, w) in enumerate(zip(r, widths,
                  strict=True))).rstrip() for r in rows]  # fmt: skip
    found += [f"  saves {number(s.flops)}FLOP  {s.why}" for s in profile.savings if s.counted]
    if any(not s.counted for s in profile.savings):
        found.append("both save, against a loop that evaluates each value anew in every update")
        found += [f"        {number(s.flops)}FLOP  {s.why}" for s in profile.savings if not s.counted]
    counts = ", ".join(f"{n} {k}" for n, k in profile.forwards.items())
    most = "at most " if profile.graph.conditions else ""
    return [*found, f"  forward passes in an iteration: {most}{counts}"]


def compared(profile: Profile, textbook: Textbook) -> list[tuple[str, str, str, str]]:
    """Heading and rows: what, of the plan, of the textbook loop, ratio."""
    found = [("", "this plan", "textbook", "ratio")]
    if profile.flops and textbook.flops:
        found.append(("FLOP", number(profile.flops), number(textbook.flops), f"{textbook.flops / profile.flops:.3f}"))
    ratio = f"{textbook.ratio:.3f} ({textbook.low:.3f} to {textbook.high:.3f} in {textbook.pairs} pairs)"
    found.append(("ms", ms(profile.plain[0]), ms(textbook.seconds), ratio))
    if profile.peak and textbook.peak:
        found.append(("peak bytes", number(profile.peak), number(textbook.peak), f"{textbook.peak / profile.peak:.3f}"))
    return found


# -- numbers ---------------------------------------------------------------------------------------------------


def number(value: float | None) -> str:
    """``759M``, ``1.5G``; empty for 0, ``?`` for what is not known."""
    if value is None:
        return "?"
    for unit, scale in (("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if value >= 0.9995 * scale:
            return f"{value / scale:#.3g}"[:4].rstrip(".") + unit
    return f"{value:.0f}" if value else ""


def ms(seconds: float) -> str:
    """Milliseconds with three digits; empty for 0."""
    value = 1e3 * seconds
    if value == 0:
        return ""
    return f"{value:.0f}" if abs(value) >= 99.95 else f"{value:.1f}" if abs(value) >= 9.995 else f"{value:.2f}"


def share(value: float) -> str:
    """``19%``; empty for 0."""
    if not value:
        return ""
    return f"{100 * value:.0f}%" if value >= 0.0995 else f"{100 * value:.1f}%"


def cut(text: str, longest: int) -> str:
    return text if len(text) <= longest else text[: longest - 1].rstrip() + "…"
