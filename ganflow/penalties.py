"""Gradient penalties: gradients that are there, and where the interpolated samples come from.

x_hat = 'eps * real + (1 - eps) * fake'          with  eps = 'rand_like(real)'
# warning[interpolation]: one number per pixel, where the paper draws one per sample
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ganflow.experiment import Diagnostic
from ganflow.graph import StepGraph
from ganflow.modes import grad_path
from ganflow.nodes import Node, constant, in_order


def check_gradients(graph: StepGraph) -> Iterator[Diagnostic]:
    """``grad(y, x)`` of a y that is not made of x."""
    nodes = graph.nodes
    read = in_order(nodes, [u.loss for u in graph.updates] + [s.next for s in graph.states])
    for grad in (nodes[n] for n in read if nodes[n].kind == "grad"):
        if not grad_path(nodes, grad.id):
            y, x = (nodes[i] for i in grad.inputs)
            yield Diagnostic(
                "error", "grad-unrelated",
                f"`{grad.text}` has no value: no gradient leads from `{y.text}` to `{x.text}`", grad.location,
                "both have to be the same value: names share, and text written twice does not",
            )  # fmt: skip


def check_interpolation(graph: StepGraph) -> Iterator[Diagnostic]:
    """``grad(D(x_hat), x_hat)`` on a line between real and fake: its place is one number per sample."""
    nodes = graph.nodes
    read = in_order(nodes, [u.loss for u in graph.updates])
    for grad in (nodes[n] for n in read if nodes[n].kind == "grad"):
        for draw in _weights(nodes, grad.inputs[1]):
            if _per_pixel(nodes, draw):
                yield Diagnostic(
                    "warning", "interpolation",
                    f"`{draw.text}` weighs each element by a number of its own in `{nodes[grad.inputs[1]].text}`: that "
                    "is no point between a real and a generated sample", draw.location,
                    "one number per sample: uniform(batch_size, 1), and for images uniform(batch_size, 1, 1, 1)",
                )  # fmt: skip
                break


def _weights(nodes: Mapping[str, Node], x: str) -> Iterator[Node]:
    """Uniform draws that say where x lies between two values: ``eps * a + (1 - eps) * b``, ``a + eps * (b - a)``.

    Noise that is added (DRAGAN) says no such thing.
    """
    read = [nodes[n] for n in in_order(nodes, [x]) if nodes[n].kind == "op"]
    complements = {i for n in read if n.target == "-" for i in n.inputs[1:] if nodes[n.inputs[0]].host}
    for node in read:
        for draw in (i for i in node.inputs if nodes[i].kind == "draw" and nodes[i].target in ("uniform", "rand_like")):
            others = [nodes[i] for i in node.inputs if i != draw]
            between = any(o.kind == "op" and o.target == "-" and not nodes[o.inputs[0]].host for o in others)
            if (node.target == "*" and (between or draw in complements)) or node.target == "lerp":
                yield nodes[draw]


def _per_pixel(nodes: Mapping[str, Node], draw: Node) -> bool:
    shape = draw.inputs[1:]
    return draw.target == "rand_like" or any(constant(nodes, i) != 1 for i in shape)
