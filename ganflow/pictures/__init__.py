"""The step graph as text, Mermaid, DOT, SVG, HTML or JSON.

    render(graph, "svg")                          # without shapes and cost
    inspect(experiment).shown("html")             # with them
    format_of(Path("step.svg"))                   # 'svg'

``build`` makes a :class:`~ganflow.pictures.model.Picture` of a graph, ``layout`` says where everything stands, and one
module for each format writes it. The same graph gives the same bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ganflow.errors import GanflowError
from ganflow.graph import StepGraph
from ganflow.json_view import to_json
from ganflow.pictures.build import picture_of
from ganflow.pictures.dot import dot_text
from ganflow.pictures.html import html_text
from ganflow.pictures.mermaid import mermaid_text
from ganflow.pictures.svg import svg_text
from ganflow.views import plan_text

FORMATS = ("text", "mermaid", "dot", "svg", "html", "json")
ENDINGS: Mapping[str, str] = {
    ".txt": "text", ".mmd": "mermaid", ".mermaid": "mermaid", ".dot": "dot", ".gv": "dot", ".svg": "svg",
    ".html": "html", ".htm": "html", ".json": "json",
}  # fmt: skip
_DRAW = {"mermaid": mermaid_text, "dot": dot_text, "svg": svg_text, "html": html_text}


def render(
    graph: StepGraph,
    form: str = "text",
    *,
    costs: Mapping[tuple[str, str], tuple[str, str]] | None = None,
    footer: str = "",
) -> str:
    """The graph in one of :data:`FORMATS`.

    Args:
        costs: (phase, node) -> (shape, cost), both as text, where they were measured.
        footer: lines about the total cost.

    Raises:
        GanflowError: no such format.
    """
    check_format(form)
    if form == "text":
        return plan_text(graph, costs, footer) + "\n"
    if form == "json":
        return to_json(graph) + "\n"
    return _DRAW[form](picture_of(graph, costs, footer))


def check_format(form: str) -> str:
    """``form``, if there is such a format."""
    if form not in FORMATS:
        raise GanflowError(f"there is no format `{form}`", code="unknown-format", hint=f"one of {', '.join(FORMATS)}")
    return form


def format_of(path: Path) -> str:
    """What the ending of a file's name says."""
    if path.suffix.lower() not in ENDINGS:
        raise GanflowError(f"which format {path} should have cannot be told from its name", code="unknown-format",
                           hint=f"say --format, or end the name in {', '.join(ENDINGS)}")  # fmt: skip
    return ENDINGS[path.suffix.lower()]
