"""StepGraph -> the Python that runs it, as a careful engineer would have written it by hand.

    print(generate(graph).text)

The text defines ``step(batch, counters, log_gradients)``. It names networks, ops, ``parameters``, ``optimizers`` and a
few helpers (``frozen``, ``no_grad``, ``draw``, ``gradient``); ``step.py`` provides them. The step holds no branch that
the plan has already decided: where conditions are known before the iteration starts, each of their outcomes has a
function of its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice

from ganflow import expr as E
from ganflow.graph import Evaluate, StepGraph, Unroll, in_order
from ganflow.printing import Printer, Source, gradient_tag, literal, title, variable_names
from ganflow.writing import Writer

__all__ = [
    "Printer", "Source", "generate", "generate_active", "generate_values", "gradient_tag", "literal", "source_text",
    "variable_names",
]  # fmt: skip

MAX_SHOWN = 8


def generate(graph: StepGraph, *, observe: bool = False, textbook: bool = False, timed: bool = False) -> Source:
    """The step as Python.

    Args:
        observe: call ``observe(phase, node, value)`` after every value, and right before and after every backward
            pass, to measure shapes, cost and gradients.
        textbook: what hand-written code does without freezing: every backward reaches every parameter.
        timed: put everything that takes time into a block ``with timed(phase, what):``; ``what`` is a node or, such as
            ``step D``, what is done beside values.
    """
    writer = Writer(graph, observe, textbook, timed)
    writer.step_function()
    return writer.source()


def generate_active(graph: StepGraph) -> Source:
    """``active(counters)``: the conditions that are known before an iteration starts, by name."""
    writer = Writer(graph)
    early = [c for c in graph.conditions if c.early]
    writer.out += [f'"""What {title(graph)} does next, written by ganflow; this text is what runs."""', "", ""]
    writer.out.append("def active(counters):")
    writer.line('"""Update, or state -> whether it runs in this iteration."""')
    found = [f"{c.name!r}: bool({writer.printer.text(c.node)})" for c in early]
    writer.line("return {" + ", ".join(found) + "}", node=early[0].node if early else "")
    return writer.source()


def generate_values(graph: StepGraph, roots: Mapping[str, str]) -> Source:
    """``values(batch, counters)``: the roots evaluated without gradients, left to right, inputs first."""
    writer = Writer(graph)
    order = in_order(graph.nodes, roots.values())
    writer.out += [
        f'"""{title(graph)}, written by ganflow; this text is what runs."""',
        "",
        "",
        "def values(batch, counters):",
    ]
    for name in order:
        if graph.nodes[name].kind == "field":
            writer.line(f"{writer.variables[name]} = batch[{name!r}]")
    for name in order:
        how = graph.nodes[name].value
        if isinstance(how, Unroll):
            writer.unroll(graph.nodes[name], how, Evaluate(name, "no-grad"), (), "")
        elif graph.nodes[name].is_statement:
            writer.line(f"{writer.variables[name]} = {writer.printer.text(name)}", node=name)
    found = [f"{key!r}: {E.show(writer.printer.entering(node))}" for key, node in roots.items()]
    writer.line("return {" + ", ".join(found) + "}")
    return writer.source()


def source_text(graph: StepGraph) -> str:
    """All the Python that can run: of every outcome of the early conditions, if they are not too many."""
    early = [c.name for c in graph.conditions if c.early]
    if not early:
        return generate(graph).text
    return "\n\n".join([generate_active(graph).text, *(generate(g).text for g in variants(graph))])


def variants(graph: StepGraph) -> list[StepGraph]:
    """The graph for each outcome of its early conditions, all of them true first; at most eight."""
    from ganflow.scheduler import plan  # specialising a graph is planning it again

    early = [c.name for c in graph.conditions if c.early]
    found = (dict(zip(early, outcome, strict=True)) for outcome in islice(_outcomes(len(early)), MAX_SHOWN))
    return [graph if active == graph.active else plan(graph, active) for active in found]


def _outcomes(count: int) -> Iterator[tuple[bool, ...]]:
    """As ``product((True, False), repeat=count)``, one after another: of forty conditions there are 10¹²."""
    if not count:
        yield ()
        return
    for first in (True, False):
        for rest in _outcomes(count - 1):
            yield (first, *rest)
