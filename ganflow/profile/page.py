"""A profile as one HTML page: the picture of the step graph with what was measured in it, and the tables below.

html(profile)                         # '<!doctype html>...'
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from html import escape
from importlib.resources import files

from ganflow.palette import HEAT
from ganflow.pictures.build import picture_of
from ganflow.pictures.html import html_text
from ganflow.pictures.model import Box, Lane, Picture
from ganflow.profile.model import Profile, Row, Section
from ganflow.profile.table import LEGEND, avoided, cells, clock_words, head, iteration, ms, number, share, totals

_WORDS = {"test": "decide"}  # where a box is called otherwise than a row


def html(profile: Profile) -> str:
    """The page."""
    css = files("ganflow.profile").joinpath("page.css").read_text(encoding="utf-8")
    colours = f":root {{ --heat: {HEAT.light}; --heat-dark: {HEAT.dark} }}\n"
    return html_text(measured(profile), below=below(profile), css=colours + css)


# -- the picture -----------------------------------------------------------------------------------------------


def measured(profile: Profile) -> Picture:
    """The picture of the step graph with times on its boxes."""
    found = {(s.name, r.what): r for s in profile.sections for r in s.rows}
    shapes = {key: (row.shape, "") for key, row in found.items()}
    picture = picture_of(profile.graph, shapes)
    longest = max((r.time for r in found.values()), default=0.0)
    lanes = tuple(
        replace(lane, boxes=tuple(_box(profile, lane, box, found, longest) for box in lane.boxes),
                facts=(*lane.facts, *_facts(profile, lane)))
        for lane in picture.lanes
    )  # fmt: skip
    words = (f"bars below boxes: time of an iteration, forward and backward; the longest is {ms(longest)} ms",)
    return replace(picture, lanes=lanes, footer=words)


def _facts(profile: Profile, lane: Lane) -> Iterator[str]:
    section = next((s for s in profile.sections if s.name == lane.phase), None)
    if section is not None and not lane.under.startswith("without"):
        yield f"{ms(section.time)} ms, {share(profile.share(section.time))}"


def _box(profile: Profile, lane: Lane, box: Box, rows: Mapping[tuple[str, str], Row], longest: float) -> Box:
    row = rows.get((lane.phase, _what(lane, box)))
    if row is None or not (row.time or row.flops) or (box.kind == "reused") != (row.kind == "reused"):
        return box
    part = profile.share(row.time)
    note = f"{ms(row.time)} ms · {share(part)}"
    if box.kind == "reused":
        note = f"reused · {note}"
    return replace(box, note=note, heat=row.time / longest if longest and part >= 0.002 else 0.0,
                   details=(*box.details, *_details(profile, row)))  # fmt: skip


def _what(lane: Lane, box: Box) -> str:
    what = box.id.removeprefix(f"{lane.id}.")
    word, _, rest = what.partition(" ")
    return f"{_WORDS.get(word, word)} {rest}" if rest else what


def _details(profile: Profile, row: Row) -> Iterator[tuple[str, str]]:
    parts = [f"{ms(seconds)} ms {word}" for seconds, word in ((row.forward, "forward"), (row.backward, "backward"))
             if seconds]  # fmt: skip
    if row.kind not in ("value", "reused", "loss"):
        parts = [f"{ms(row.forward)} ms"]
    yield "time", f"{', '.join(parts)}: {share(profile.share(row.time))} of the iteration"
    flops = [f"{number(n)}FLOP {word}" for n, word in
             ((row.forward_flops, "forward"), (row.backward_flops, "backward")) if n]  # fmt: skip
    if flops:
        yield "FLOPs", ", ".join(flops)
    held = [f"{number(n)}B {word}" for n, word in ((row.value_bytes, "value"), (row.kept_bytes, "kept for backward"))
            if n]  # fmt: skip
    if held:
        yield "memory", ", ".join(held)
    if row.runs not in (0, 1):
        yield "runs", f"{row.runs:.3g} per iteration"


# -- the tables ------------------------------------------------------------------------------------------------


def below(profile: Profile) -> str:
    """What stands below the picture."""
    title, *rest = avoided(profile)
    title = title.removeprefix("against the textbook loop: ").capitalize()
    notes = "".join(f"<li>{escape(t)}</li>" for t in (*LEGEND, *clock_words(profile), *profile.notes))
    return f"""<section class="profile" aria-labelledby="profile-title">
<h2 id="profile-title">Where the iteration goes</h2>
<p>{"<br>".join(map(escape, head(profile)))}</p>
<div class="wide" role="region" aria-labelledby="profile-title" tabindex="0">
<table>
<thead>
<tr><td colspan="3"></td><th colspan="2" scope="colgroup">FLOP</th><th colspan="2" scope="colgroup">bytes</th>
<th colspan="2" scope="colgroup">ms</th><td></td></tr>
<tr><th scope="col">value</th><th scope="col">mode</th><th scope="col">shape</th><th scope="col">forward</th>
<th scope="col">backward</th><th scope="col">value</th><th scope="col">kept</th><th scope="col">forward</th>
<th scope="col">backward</th><th scope="col">share</th></tr>
</thead>
{"".join(_section(profile, s) for s in profile.sections)}<tfoot>
{_tr("th", iteration(profile), "", 1.0)}</tfoot>
</table>
</div>
<h2>Against the textbook loop</h2>
<p>{escape(title)}.</p>
<pre tabindex="0">{escape(chr(10).join(t.removeprefix("  ") for t in rest))}</pre>
<ul>{notes}</ul>
</section>
"""


def _section(profile: Profile, section: Section) -> str:
    rows = "".join(_tr("th", cells(profile, r, longest=200), r.where, profile.share(r.time)) for r in section.rows)
    return (f'<tbody>\n<tr class="head"><th colspan="10" scope="rowgroup">{escape(section.title)}</th></tr>\n{rows}'
            f"{_tr('th', totals(profile, section), '', 0, 'total')}</tbody>\n")  # fmt: skip


def _tr(first: str, row: tuple[str, ...], where: str, part: float, kind: str = "") -> str:
    title = f' title="{escape(where)}"' if where else ""
    heads = f'<{first} scope="row"{title}>{escape(row[0].strip())}</{first}>'
    cells_ = "".join(f"<td>{escape(c)}</td>" for c in row[1:-1])
    bar = f'<td class="share" style="--part:{100 * max(part, 0):.1f}%">{escape(row[-1])}</td>'
    return f"<tr{f' class={chr(34)}{kind}{chr(34)}' if kind else ''}>{heads}{cells_}{bar}</tr>\n"
