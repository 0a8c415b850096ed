"""Picture -> one HTML page that needs no other file and no network.

html_text(picture_of(graph))          # '<!doctype html>...'

The picture, details of whatever is pointed at or focused, and every step of the iteration in its order: with the
arrow keys, and in words for those who do not see it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from html import escape
from importlib.resources import files

from ganflow.palette import BAND, CARD, LINE, PAGE, QUIET, TEXT, Themed
from ganflow.pictures.model import Moment, Picture
from ganflow.pictures.svg import drawn
from ganflow.pictures.theme import page_style
from ganflow.webpage import head

FOCUS = Themed("#0b63ce", "#7ab8ff")
_VARIABLES = {"page": PAGE, "band": BAND, "card": CARD, "text": TEXT, "quiet": QUIET, "line": LINE, "focus": FOCUS}


def html_text(picture: Picture, *, below: str = "", css: str = "") -> str:
    """The page; ``below``: more of it, as HTML, after the picture and what belongs to it; ``css``: how that looks."""
    steps = "\n".join(f"<li>{escape(_lane(picture, m))}: {escape(m.text)}</li>" for m in picture.moments)
    style = f"{variables(_VARIABLES)}\n{page_style(picture.networks)}\n{_resource('page.css')}{css}"
    return f"""{head(f"{picture.title}: step graph", style)}<body>
<header>
<h1>{escape(picture.title)}</h1>
<p>{escape(picture.summary)}</p>
<div class="tools" role="toolbar" aria-label="View">
<button id="smaller" type="button" aria-label="Smaller" title="smaller (-)">−</button>
<button id="fit" type="button" title="fit the width (0)">Fit</button>
<button id="larger" type="button" aria-label="Larger" title="larger (+)">+</button>
<button id="theme" type="button" aria-pressed="false" title="light or dark">Dark</button>
</div>
</header>
<main id="stage" class="stage" tabindex="0" aria-label="Step graph">
{drawn(picture, inline=True)}</main>
<div class="dock">
<section aria-label="Step by step">
<div class="steps">
<button id="back" type="button" aria-label="Back" title="back (←)">◀</button>
<button id="next" type="button" aria-label="Next" title="next (→)">▶</button>
<input id="slider" type="range" min="0" max="{len(picture.moments)}" value="0" aria-label="Step of the iteration">
<output id="count" for="slider">0 / {len(picture.moments)}</output>
</div>
<p id="said" aria-live="polite">The whole iteration.</p>
</section>
<section aria-label="Details">
<h2 id="name"></h2>
<dl id="facts"></dl>
<p id="hint" class="hint">Point at a box or move to it with <kbd>Tab</kbd> for its expression, place, mode, shape
and cost. <kbd>←</kbd> <kbd>→</kbd> go through the iteration, <kbd>Esc</kbd> shows all of it,
<kbd>Ctrl</kbd> and the wheel or <kbd>+</kbd> <kbd>−</kbd> <kbd>0</kbd> scale.</p>
</section>
</div>
<details class="words"><summary>Every step in words</summary>
<ol>
{steps}
</ol>
</details>
{below}<script type="application/json" id="data">{_data(picture)}</script>
<script>
{_resource("page.js")}</script>
</body>
</html>
"""


def _lane(picture: Picture, moment: Moment) -> str:
    lane = next(lane for lane in picture.lanes if lane.id == moment.lane)
    return f"{lane.title} ({lane.under})" if lane.under else lane.title


def _data(picture: Picture) -> str:
    boxes = {id_: {"label": box.label, "details": box.details} for id_, box in picture.boxes.items()}
    moments = [
        {"lane": _lane(picture, m), "text": m.text, "boxes": m.boxes,
         "arrows": [(a.source, a.target, a.cut) for a in m.arrows]}
        for m in picture.moments
    ]  # fmt: skip
    text = json.dumps({"boxes": boxes, "moments": moments}, ensure_ascii=False, separators=(",", ":"))
    return text.replace("<", "\\u003c")  # nothing in it ends the script


def variables(colours: Mapping[str, Themed]) -> str:
    """``--page: #ffffff`` and so on, for light and dark pages."""
    light, dark = (
        "; ".join(f"--{name}: {getattr(colour, theme)}" for name, colour in colours.items())
        for theme in ("light", "dark")
    )
    return (f":root {{ {light} }}\n@media screen {{ :root[data-theme=dark] {{ {dark} }} }}\n"
            f"@media screen and (prefers-color-scheme: dark) {{\n:root:not([data-theme=light]) {{ {dark} }} }}"
            )  # fmt: skip


def _resource(name: str) -> str:
    return files("ganflow.pictures").joinpath(name).read_text(encoding="utf-8")
