"""Classes of what is drawn -> CSS, for light and dark pages.

style(("G", "D"))                    # light, and dark where the reader's system says so
page_style(("G", "D"))               # the same for a page with a switch; paper is always light

Values are written out, without CSS variables: what only draws SVG knows none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ganflow.palette import BAND, CARD, CUT, EDGE, FLOW, HATCH, HEAT, LINE, PAGE, QUIET, TEXT, Themed, colour

MONO = "ui-monospace, 'SF Mono', Menlo, Consolas, 'DejaVu Sans Mono', monospace"
SANS = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', 'DejaVu Sans', sans-serif"

Rules = Sequence[tuple[str, Mapping[str, str | Themed]]]

_SHAPES: Rules = (
    (".page", {"fill": PAGE}),
    (".band", {"fill": BAND}),
    (".divide", {"stroke": LINE, "stroke-width": "1"}),
    (".pic text", {"fill": TEXT, "font-family": MONO}),
    (".pic .sans", {"font-family": SANS}),
    (".pic .quiet", {"fill": QUIET}),
    (".pic .bold", {"font-weight": "700"}),
    (".pic .shape", {"fill": QUIET}),
    (".pic .weight", {"font-weight": "600"}),
    (".line", {"fill": "none", "stroke": EDGE, "stroke-width": "1.3"}),
    (".tip", {"fill": EDGE, "stroke": "none"}),
    (".grad .line", {"stroke": FLOW, "stroke-width": "1.9"}),
    (".grad .tip", {"fill": FLOW}),
    (".cut .line", {"stroke": CUT, "stroke-dasharray": "2 3.5"}),
    (".cut .tip", {"fill": CUT}),
    (".scissors", {"stroke": CUT, "fill": PAGE, "stroke-width": "1.4", "stroke-linecap": "round"}),
    (".body", {"fill": CARD, "stroke": EDGE, "stroke-width": "1.2"}),
    (".graph .body", {"stroke": TEXT, "stroke-width": "1.4"}),
    (".no-grad .body", {"fill": "url(#hatch)", "stroke": EDGE}),
    (".pill .body", {"fill": CARD, "stroke": EDGE, "stroke-width": "1"}),
    (".reused .body", {"stroke-dasharray": "1.5 3", "stroke-linecap": "round", "stroke-width": "1.8"}),
    (".hatch-ground", {"fill": CARD}),
    (".hatch-line", {"stroke": HATCH, "stroke-width": "3"}),
    (".heat", {"fill": HEAT, "stroke": "none"}),
    (".icon", {"fill": "none", "stroke": QUIET, "stroke-width": "1.3"}),
    (".dots", {"fill": QUIET, "stroke": "none"}),
    (".pic .box .note", {"fill": QUIET}),
    (".pic .box .sub", {"fill": QUIET}),
    (".pic .box .name", {"font-weight": "600"}),
    (".pic .box .title", {"font-weight": "700"}),
)


def style(networks: Sequence[str]) -> str:
    """For a picture that stands alone."""
    rules = (*_SHAPES, *_networks(networks))
    dark = _css(rules, dark=True)
    return f"{_css(rules, dark=False)}\n@media screen and (prefers-color-scheme: dark) {{\n{dark}\n}}"


def page_style(networks: Sequence[str]) -> str:
    """For a page that has a switch: ``<html data-theme="dark">``."""
    rules = (*_SHAPES, *_networks(networks))
    system = _css(rules, dark=True, inside=":root:not([data-theme=light])")
    chosen = _css(rules, dark=True, inside=":root[data-theme=dark]")
    return (f"{_css(rules, dark=False)}\n@media screen and (prefers-color-scheme: dark) {{\n{system}\n}}\n"
            f"@media screen {{\n{chosen}\n}}")  # fmt: skip


def _networks(networks: Sequence[str]) -> Rules:
    found: list[tuple[str, Mapping[str, str | Themed]]] = []
    for index in range(len(networks)):
        c, n = colour(index), f".n{index}"
        solid: Mapping[str, str | Themed] = {"fill": c.fill, "stroke": c.ink, "stroke-width": "1.5"}
        found += [
            (f"{n} .body", {"stroke": c.ink}),
            (f"{n}.call .body", {"fill": c.tint, "stroke-width": "2"}),
            (f"{n}.train .body", solid),
            (f".pic {n}.train text", {"fill": c.text}),
            (f"{n}.through .body", {"fill": CARD, "stroke-dasharray": "6 3.5"}),
            (f"{n}.cone .body", {"fill": CARD, "stroke-dasharray": "1 4", "stroke-linecap": "round"}),
            (f"{n}.no-grad .body", {"fill": "url(#hatch)", "stroke-width": "1.4"}),
            (f"{n} .icon", {"stroke": c.ink}),
            (f".pic {n}:not(.train) .title", {"fill": c.ink}),
            (f"{n}.swatch", {"fill": c.fill, "stroke": c.ink, "stroke-width": "1.2"}),
            (f"{n}.hollow", {"fill": CARD, "stroke": c.ink, "stroke-width": "1.4", "stroke-dasharray": "2.5 2"}),
            (f"{n}.reuse .line", {"stroke": c.ink, "stroke-width": "1.8", "stroke-dasharray": "6 3.5"}),
            (f"{n}.reuse .tip", {"fill": c.ink}),
        ]
    return found


def _css(rules: Rules, *, dark: bool, inside: str = "") -> str:
    """Rules; on a dark page colours only, all of them, so that their order decides there as it does here."""
    lines = []
    for selector, declared in rules:
        said = [f"{key}: {(v.dark if dark else v.light) if isinstance(v, Themed) else v}"
                for key, v in declared.items() if not dark or key in ("fill", "stroke")]  # fmt: skip
        if said:
            lines.append(f"{inside} {selector} {{ {'; '.join(said)} }}".strip())
    return "\n".join(lines)
