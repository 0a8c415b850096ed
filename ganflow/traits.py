"""What is seen of values when they are made: their dims and the activation they come out of; and what it tells.

    traits = Traits()
    traits.see("pred_fake", pred_fake)      # Trait(shape=(8, 1), ending='sigmoid')
    for finding in check_traits(graph, experiment, traits):
        print(finding)      # warning[activation], warning[penalty-norm], warning[broadcast]

A step on meta tensors shows as much as one on data, so ``ganflow check`` knows it before anything runs; the gradient
probe looks again, for experiments whose data declares no shapes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor

from ganflow.experiment import Diagnostic, Experiment
from ganflow.games import ADVERSARIAL, argument, mode_of
from ganflow.graph import StepGraph
from ganflow.nodes import Node, constant, in_order, tensor_inputs

# Backward functions of what moves numbers without changing them, and of averages: these stay where they were.
MOVING = ("View", "UnsafeView", "Reshape", "Squeeze", "Unsqueeze", "Select", "Slice", "Split", "Permute", "Transpose",
          "T", "Clone", "ToCopy", "Expand", "Alias", "Mean")  # fmt: skip
ENDINGS = {"Sigmoid": "sigmoid", "Hardsigmoid": "sigmoid", "Softmax": "softmax", "Tanh": "tanh", "Addmm": "linear",
           "Mm": "linear", "Convolution": "linear"}  # fmt: skip
BOUNDED = ("sigmoid", "softmax")
ELEMENTWISE = ("+", "-", "*", "/", "**", "neg", "minimum", "maximum", "abs", "exp", "log", "square", "sqrt", "relu",
               "sigmoid", "softplus", "tanh")  # fmt: skip
REDUCING = ("sum", "mean", "norm", "std", "logsumexp")


@dataclass(frozen=True)
class Trait:
    """Of a tensor its shape and ending (``sigmoid softmax tanh linear``, or unknown); of a list its parts."""

    shape: tuple[int, ...] | None = None
    ending: str = ""
    parts: tuple[Trait, ...] = ()


class Traits(dict[str, Trait]):
    """Node -> what was seen of its value; one with a graph tells more than one without."""

    def see(self, node: str, value: Any) -> None:
        found = trait(value)
        if node not in self or (found.ending and not self[node].ending) or found.parts:
            self[node] = found


def trait(value: Any) -> Trait:
    """What a value shows of itself."""
    if isinstance(value, Tensor):
        return Trait(tuple(value.shape), _ending(value.grad_fn))
    if isinstance(value, (list, tuple)):
        return Trait(parts=tuple(map(trait, value)))
    return Trait()


def _ending(function: Any) -> str:
    while function is not None:
        name = function.name().rstrip("0123456789").removesuffix("Backward")
        if name in ENDINGS:
            return ENDINGS[name]
        if name not in MOVING:
            return ""
        function = function.next_functions[0][0]
    return ""


def check_traits(graph: StepGraph, experiment: Experiment, traits: Mapping[str, Trait]) -> Iterator[Diagnostic]:
    """Every finding, in the order of evaluation."""
    nodes, seen = graph.nodes, set[tuple[str, str]]()
    order = list(in_order(nodes, [u.loss for u in graph.updates]))
    made = of_texts(nodes, traits, order)
    for node in (nodes[n] for n in order if nodes[n].kind == "op"):
        for finding, source in _activation(nodes, experiment, made, node):
            if (node.target, source) not in seen:  # said once of a network
                seen.add((node.target, source))
                yield finding
        yield from _penalty_norm(nodes, traits, node)
        yield from _broadcast(nodes, made, node)


# -- activations ----------------------------------------------------------------------------------------------


def _activation(
    nodes: Mapping[str, Node], experiment: Experiment, made: Mapping[str, Trait], node: Node
) -> Iterator[tuple[Diagnostic, str]]:
    """A loss of logits that is given probabilities, and the other way round; with the network that it is about."""
    mode = mode_of(nodes, experiment, node) if node.target in ADVERSARIAL else None
    wanted = {"ce": "logits", "bcel": "logits", "softplus": "logits", "bce": "probabilities", "log": "positive"}
    wants = wanted.get(node.target, "logits" if node.target in ADVERSARIAL else "")
    if not wants or "lsgan" in str(mode):
        return
    for name in filter(
        None, (argument(node, 0, "pred"), argument(node, 1, "fake") if node.target[:3] == "adv" else "")
    ):
        given, text = made[name].ending, nodes[name].label
        if wants == "logits" and given in BOUNDED:
            does = "applies a sigmoid itself"
            if node.target == "ce":
                does = "applies a softmax itself"
            elif mode in ("hinge", "wgan", "ra_hinge"):
                does = f"in the mode {mode} wants any real number"
            message = f"`{node.target}` {does}, and `{text}` has been through a {given} already"
            cure = f"drop the {given}: a loss of logits takes what comes before it"
            if node.target in ("bcel", "gan") and mode in (None, "vanilla") and given == "sigmoid":
                cure += "; or keep it, and use bce"
        elif wants != "logits" and given == "linear":
            message = (f"`{node.target}` takes {'probabilities' if wants == 'probabilities' else 'positive numbers'}, "
                       f"and `{text}` is any real number: nothing comes after its last layer")  # fmt: skip
            cure = "bcel takes logits, and so does gan" if node.target == "bce" else (
                f"log(sigmoid(x)) is -softplus(-x); a Wasserstein loss is the mean of `{text}` itself")  # fmt: skip
        else:
            continue
        yield Diagnostic("warning", "activation", message, node.location, cure), _source(nodes, name)


def _source(nodes: Mapping[str, Node], name: str) -> str:
    """The network that a value comes from first, or the value."""
    node = nodes[name]
    while node.kind != "call":
        inner = tensor_inputs(nodes, node)
        if not inner:
            return name
        node = nodes[inner[0]]
    return node.target


def of_texts(nodes: Mapping[str, Node], traits: Mapping[str, Trait], order: Iterable[str]) -> dict[str, Trait]:
    """Of all parts of the texts, inputs first, from the values that they are made of."""
    found: dict[str, Trait] = {}
    for name in order:
        found[name] = replace(_of_text(nodes, traits, found, name), shape=_shape(nodes, traits, found, nodes[name]))
    return found


def _of_text(nodes: Mapping[str, Node], traits: Mapping[str, Trait], made: Mapping[str, Trait], name: str) -> Trait:
    """Of a list of scales that of the logits, if all agree."""
    node, found = nodes[name], traits.get(name, Trait())
    if found.parts:
        logits = [p.parts[-1] if p.parts else p for p in found.parts]
        same = len({p.ending for p in logits}) == 1
        return logits[0] if same else Trait()
    inner = tensor_inputs(nodes, node)
    if found.ending or not inner:
        return found
    if node.kind == "op" and node.target in BOUNDED:
        return Trait(found.shape, node.target)
    if node.kind == "index" and traits.get(node.inputs[0], Trait()).parts:
        parts, k = traits[node.inputs[0]].parts, constant(nodes, node.inputs[1])
        return parts[k] if isinstance(k, int) and -len(parts) <= k < len(parts) else Trait()
    if node.kind in ("detach", "index") or (node.kind == "op" and node.target in ("neg", "flat", "mean", "-", "pool")):
        endings = {made[i].ending for i in inner[: 1 if node.kind == "index" else None]}
        return Trait(found.shape, endings.pop() if len(endings) == 1 and len(inner) == len(node.inputs) else "")
    return found


# -- norms of gradients ---------------------------------------------------------------------------------------


def _penalty_norm(nodes: Mapping[str, Node], traits: Mapping[str, Trait], node: Node) -> Iterator[Diagnostic]:
    """``norm(grad(y, x)) - 1``: of each sample, over all of its dims."""
    if node.target != "-" or not nodes[node.inputs[1]].host or nodes[node.inputs[0]].host:
        return
    norm = nodes[node.inputs[0]]
    grad, dims, flat = _norm_of(nodes, norm)
    if grad is None or nodes[grad.inputs[1]].kind == "parameter":
        return
    shape = traits.get(grad.inputs[1], Trait()).shape
    rank = 2 if flat else len(shape) if shape is not None else None
    kept = None if rank is None or dims is None else set(range(rank)) - {d % rank for d in dims}
    if dims is None or 0 in dims or (kept is not None and 0 not in kept):
        what = "is one number for the whole batch, not one per sample"
    elif kept is not None and kept - {0}:
        what = f"is over dim {', '.join(map(str, dims))} of {'×'.join(['N', *map(str, (shape or ())[1:])])} alone: one "
        what += "number per place, not one per sample"
    else:
        return
    yield Diagnostic(
        "warning", "penalty-norm", f"`{norm.text}` {what}", norm.location,
        f"the norm of each sample's gradient: norm(flat({grad.text}), dim=1)",
    )  # fmt: skip


def _norm_of(nodes: Mapping[str, Node], node: Node) -> tuple[Node | None, tuple[int, ...] | None, bool]:
    """The gradient that this is a norm of, the dims that it runs over (None: all), and whether it was made flat."""
    none = (None, None, False)
    if node.kind != "op" or node.target not in ("norm", "sqrt"):
        return none
    dims = _dims(nodes, node) if node.target == "norm" else ()
    inner = nodes[node.inputs[0]]
    squared = node.target == "norm"
    while inner.kind == "op" and inner.target in ("sum", "square", "**", "+", "flat"):
        if inner.target == "sum":
            if squared or dims:
                return none  # sums of sums: dims have moved
            dims = _dims(nodes, inner)
        squared |= inner.target in ("square", "**")
        if inner.target == "flat":
            grad = nodes[inner.inputs[0]]
            return (grad, dims, True) if grad.kind == "grad" and dims != () else none
        inner = nodes[next((i for i in inner.inputs if not nodes[i].host), inner.inputs[0])]
    return (inner, dims, False) if inner.kind == "grad" and dims != () and squared else none


def _dims(nodes: Mapping[str, Node], node: Node) -> tuple[int, ...] | None:
    given = argument(node, 1, "dim")
    if given is None:
        return None
    if nodes[given].kind == "pack":
        found = [constant(nodes, i) for i in nodes[given].inputs]
    else:
        value = constant(nodes, given)
        found = list(value) if isinstance(value, (tuple, list)) else [value]
    return tuple(d for d in found if isinstance(d, int)) if found != [None] else None


# -- shapes ---------------------------------------------------------------------------------------------------


def _broadcast(nodes: Mapping[str, Node], made: Mapping[str, Trait], node: Node) -> Iterator[Diagnostic]:
    """N×1 with N is N×N: every sample with every other."""
    if node.target not in ("+", "-", "*", "/", "minimum", "maximum"):
        return
    shapes = [made[i].shape for i in node.inputs[:2]]
    if len(shapes) < 2:
        return  # a call that lacks an argument is refused where it is built
    for one, other in ((0, 1), (1, 0)):
        a, b = shapes[one], shapes[other]
        if a is not None and b is not None and len(a) == 2 and len(b) == 1 and a[1] == 1 and a[0] == b[0] > 1:
            column, row = (nodes[node.inputs[k]].label for k in (one, other))
            yield Diagnostic(
                "warning", "broadcast",
                f"`{column}` is N×1 and `{row}` is N, so `{node.text}` is N×N: every sample beside every other",
                node.location,
                f"flat({row}) is N×1, and then they go sample by sample; where all pairs are meant, this is right",
            )  # fmt: skip


def _shape(
    nodes: Mapping[str, Node], traits: Mapping[str, Trait], made: Mapping[str, Trait], node: Node
) -> tuple[int, ...] | None:
    """Of a value that was seen, or of a gradient, a reduction or elementwise arithmetic of such."""
    if node.id in traits:
        return traits[node.id].shape
    if node.host:
        return ()
    if node.kind in ("detach", "grad"):
        return made[node.inputs[-1]].shape
    if node.kind == "op" and node.target in REDUCING:
        return _reduced(nodes, node, made[node.inputs[0]].shape)
    if node.kind != "op" or node.target not in ELEMENTWISE:
        return None
    shapes = [made[i].shape for i in node.inputs]
    if not shapes or any(s is None for s in shapes):
        return None
    return max((s for s in shapes if s is not None), key=len)  # what broadcasts is said where it does


def _reduced(nodes: Mapping[str, Node], node: Node, shape: tuple[int, ...] | None) -> tuple[int, ...] | None:
    keepdim, dims = argument(node, 2, "keepdim"), _dims(nodes, node)
    if shape is None or keepdim is not None:
        return None
    gone = range(len(shape)) if dims is None else [d % len(shape) for d in dims]
    return tuple(n for k, n in enumerate(shape) if k not in gone)
