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
        if not grad_path(nodes, read, grad.id):
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
    """Uniform draws that are factors in x, or the weight of a `lerp`."""
    for node in (nodes[n] for n in in_order(nodes, [x])):
        if node.kind != "op":
            continue
        if node.target == "*":
            yield from (d for i in node.inputs for d in _draws(nodes, i))
        elif node.target == "lerp":
            yield from (d for i in node.inputs[2:] for d in _draws(nodes, i))


def _draws(nodes: Mapping[str, Node], name: str) -> list[Node]:
    """The draw itself, and that of ``1 - eps``."""
    node = nodes[name]
    inner = node.inputs if node.kind == "op" and node.target == "-" else (name,)
    return [nodes[i] for i in inner if nodes[i].kind == "draw" and nodes[i].target in ("uniform", "rand_like")]


def _per_pixel(nodes: Mapping[str, Node], draw: Node) -> bool:
    shape = draw.inputs[1:]
    return draw.target == "rand_like" or any(constant(nodes, i) != 1 for i in shape)
