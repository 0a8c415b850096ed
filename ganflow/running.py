"""Generated source as functions: visible in tracebacks, and an error in one names the definition.

run = compile_step(graph, generate(graph), namespace)
logs = run(batch, Counters(batch_size=16), False)
"""

from __future__ import annotations

import hashlib
import linecache
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ganflow.codegen import Source
from ganflow.errors import GanflowError
from ganflow.graph import Node, StepGraph, statement_inputs
from ganflow.modes import modes_of
from ganflow.nodes import in_order


@dataclass
class Counters:
    """Constant within an iteration; they advance at its very end."""

    step: int = 0
    epoch: int = 0
    epoch_step: int = 0
    images: int = 0
    batch_size: int = 0


def compile_step(graph: StepGraph, source: Source, space: dict[str, Any]) -> Callable[..., dict[str, Any]]:
    """The generated step, visible in tracebacks; an error in it names the definition."""
    return compile_function(graph, source, space, "step")


def compile_function(
    graph: StepGraph, source: Source, space: dict[str, Any], name: str
) -> Callable[..., dict[str, Any]]:
    """The function ``name`` of generated source."""
    digest = hashlib.blake2b(source.text.encode(), digest_size=4).hexdigest()
    filename = f"<ganflow {name} {graph.name} {digest}>"
    linecache.cache[filename] = (len(source.text), None, source.text.splitlines(keepends=True), filename)
    exec(compile(source.text, filename, "exec"), space)
    generated = space[name]

    def run(*args: Any) -> dict[str, Any]:
        try:
            return generated(*args)  # type: ignore[no-any-return]
        except Exception as error:
            raise explain(error, graph, source, filename) from error

    return run


def explain(error: Exception, graph: StepGraph, source: Source, filename: str) -> Exception:
    """The error of a step with the definition, its place and the shapes that went in."""
    trace, tail = None, error.__traceback__
    while tail is not None:  # the innermost: what runs on a part of a batch is a function inside the step
        if tail.tb_frame.f_code.co_filename == filename and source.lines.get(tail.tb_lineno, "") in graph.nodes:
            trace = tail
        tail = tail.tb_next
    if trace is None:
        return error
    node = graph.nodes[source.lines[trace.tb_lineno]]
    local = trace.tb_frame.f_locals
    if isinstance(error, RuntimeError) and "does not have a deterministic implementation" in str(error):
        return GanflowError(
            f"in `{node.name or node.owner}`: {str(error).split()[0]} has no deterministic implementation in torch",
            location=node.location, code="nondeterministic",
            hint="leave out --deterministic (Trainer.deterministic = False), or use another layer or op",
        )  # fmt: skip
    if "implicitly created only for scalar outputs" in str(error):
        return _not_scalar(node, local)
    if "does not require grad and does not have a grad_fn" in str(error) and node.id in {u.loss for u in graph.updates}:
        return _starved(graph, node)
    if isinstance(error, AttributeError) and any(f"'{name}'" in str(error) for name in ("detach", "backward")):
        value = local.get(source.variables.get(node.id, ""), local.get(f"loss_{node.owner.split('.')[0]}"))
        return GanflowError(
            f"`{node.label}` is {value!r}, which is no tensor", location=node.location, code="step",
            hint="a term of a loss is a tensor; an update that has nothing to minimize now is skipped by its `when`",
        )  # fmt: skip
    shapes = []
    for name in statement_inputs(graph.nodes, node.id):
        held = local.get(source.variables.get(name, ""))
        if isinstance(held, Tensor):
            shapes.append(f"{graph.nodes[name].name or name} {tuple(held.shape)}")
    given = f"it was given: {', '.join(shapes)}" if shapes else ""
    where = f"in `{node.name or node.owner}`"
    if isinstance(error, GanflowError):
        hint = "\n".join(filter(None, (error.hint, given)))
        return GanflowError(f"{where}: {error.message}", location=node.location, hint=hint, code=error.code or "step",
                            status=error.status)  # fmt: skip
    message = f"{type(error).__name__}: {error}".split("\n")[0]
    full = out_of_memory(error)
    return GanflowError(f"{where}: {message}", location=node.location, hint=given, status=1 if full else 2,
                        code="out-of-memory" if full else "step")  # fmt: skip


def _starved(graph: StepGraph, loss: Node) -> GanflowError:
    """The plan has a way for the gradient, and what ran has none: something inside a network or an op ends it."""
    update = next(u for u in graph.updates if u.loss == loss.id)
    carrying = modes_of(graph.nodes, [loss.id], frozenset(update.moves)).carrying
    calls = [n for n in in_order(graph.nodes, [loss.id]) if n in carrying and graph.nodes[n].networks]
    way = ", ".join(f"`{n.name} = {n.text}`" if n.name else f"`{n.text}`" for n in (graph.nodes[c] for c in calls))
    return GanflowError(
        f"the loss of update {update.name} has no gradient for {', '.join(update.networks)}, and the plan says it does",
        location=loss.location, code="gradient-starved",
        hint=f"it goes through {way}: look inside for .data, .detach(), torch.no_grad(), .numpy() or a hook;\n"
        "a cut that is meant belongs into the gin file: detach(...)",
    )  # fmt: skip


def out_of_memory(error: BaseException) -> bool:
    """A fault of the run, not of its input. The allocator of the CPU says it in words."""
    if isinstance(error, GanflowError):  # of a network that could not be built, it is the cause
        return error.code == "out-of-memory" or (error.__cause__ is not None and out_of_memory(error.__cause__))
    words = "DefaultCPUAllocator: can't allocate memory", "not enough memory: you tried to allocate"
    return isinstance(error, (torch.OutOfMemoryError, MemoryError)) or (
        isinstance(error, RuntimeError) and any(w in str(error) for w in words)
    )


def _not_scalar(node: Node, local: Mapping[str, Any]) -> GanflowError:
    losses = [v for k, v in local.items() if k.startswith("loss_") and isinstance(v, Tensor) and v.ndim]
    shape = "×".join(map(str, losses[-1].shape)) if losses else "of several numbers"
    return GanflowError(
        f"`{node.text or node.name}` is minimized, but it is not a scalar: {shape}", location=node.location,
        code="not-scalar", hint="take its mean or its sum: mean(...), sum(...)",
    )  # fmt: skip
