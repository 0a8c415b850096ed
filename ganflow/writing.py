"""Writes the text of a generated function, phase by phase; ``codegen.py`` says which functions there are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ganflow.freeing import retains
from ganflow.graph import (
    Arm,
    Evaluate,
    Free,
    Leaf,
    Node,
    Phase,
    Reuse,
    StepGraph,
    Unroll,
    UpdatePlan,
    edges,
    statement_inputs,
)
from ganflow.lines import Lines
from ganflow.nodes import WEIGHTS
from ganflow.printing import (
    AFTER_BACKWARD,
    BEFORE_BACKWARD,
    Printer,
    Source,
    flag,
    gradient_tag,
    plain,
    runs_text,
    title,
    variable_names,
)
from ganflow.unrolling import inner_nodes

MAX_BLOCKS = 20  # in one another; Python's compiler counts to a hundred


class Writer(Lines):
    """Writes one module; lives for one call of ``generate``."""

    def __init__(self, graph: StepGraph, observe: bool = False, textbook: bool = False, timed: bool = False) -> None:
        super().__init__()
        self.graph, self.observe, self.textbook, self.timed = graph, observe, textbook, timed
        self.variables = variable_names(graph)
        self.printer = Printer(graph.nodes, self.variables)
        self.guarded = {a.node for p in graph.walk() for a in p.evaluations if a.guard}

    def source(self) -> Source:
        return Source("\n".join(self.out) + "\n", self.lines, self.variables)

    def around(self, phase: str, what: str) -> tuple[str, ...]:
        """The block in which something is timed, where that is wanted."""
        return (f"with timed({phase!r}, {what!r}):",) if self.timed else ()

    # -- the step --

    def step_function(self) -> None:
        names = ", ".join(u.name for u in _updates(self.graph)) or "none"
        names = ", ".join(p.name for p in self.graph.phases) if not _is_new(self.graph) else names
        skipped = [name for name, active in self.graph.active.items() if not active]
        self.out += [
            f'"""One iteration of {title(self.graph)}, written by ganflow; this text is what runs."""', "", "",
            "def step(batch, counters, log_gradients=False):",
        ]  # fmt: skip
        without = f", without {', '.join(skipped)}" if skipped else ""
        self.line(f'"""Updates in order: {names}{without}."""')
        self.line("logs = {}")
        if not (self.graph.phases and self.graph.phases[0].fetch):
            self.read_fields(self.graph.phases)
        self.sequence(self.graph.phases)
        if self.depth == 1 and not (self.graph.phases and self.graph.phases[-1].arms):
            self.blank()
            self.line("return logs")

    def sequence(self, phases: Sequence[Phase]) -> None:
        for place, phase in enumerate(phases):
            rest = phases[place:]
            looped = phase.times > 1
            self.head(phase)
            if looped:
                first = phase.redraw or phase.run
                self.open(f"for {'run' if phase.redraws else '_'} in range({first}, {first + phase.times}):")
            self.phase(phase, rest)
            if looped:
                self.close()
            if phase.arms:
                self.arms(phase)

    def arms(self, phase: Phase) -> None:
        flags = [flag(a) for a in phase.asks]
        for k, arm in enumerate(phase.arms):
            tests = [f if on else f"not {f}" for f, on in zip(flags, arm.active, strict=True)]
            self.blank()
            if k == len(phase.arms) - 1:
                self.open("else:")
            else:
                self.open(f"{'if' if k == 0 else 'elif'} {' and '.join(tests)}:")
            self.arm(arm)
            self.close()

    def arm(self, arm: Arm) -> None:
        with_graph = set(self.printer.with_graph)
        self.drop(arm.frees)
        self.sequence(arm.phases)
        if not (arm.phases and arm.phases[-1].arms):
            self.line("return logs")
        self.printer.with_graph = with_graph

    def read_fields(self, phases: Sequence[Phase]) -> None:
        """The fields of the batch that are read until another one is fetched."""
        read = set(self.fields_until_fetch(phases))
        for name, node in self.graph.nodes.items():
            if name in read and node.kind == "field":
                self.line(f"{self.variables[name]} = batch[{name!r}]")

    def fields_until_fetch(self, phases: Sequence[Phase]) -> Iterator[str]:
        for place, phase in enumerate(phases):
            if phase.fetch and place:
                return
            for action in phase.actions:
                if isinstance(action, Evaluate):
                    yield from (e.source for e in edges(self.graph.nodes, action.node))
                if isinstance(action, Leaf):
                    yield action.node
            yield from (t.node for u in phase.updates for t in u.terms)
            for arm in phase.arms:
                if not (arm.phases and arm.phases[0].fetch):
                    yield from self.fields_until_fetch(arm.phases)

    # -- phases --

    def head(self, phase: Phase) -> None:
        self.blank()
        match phase.kind:
            case "when":
                self.blank(f"# when {', '.join(phase.asks)}: read now, so the host waits for the device")
            case "average":
                self.blank("# moving averages")
            case "states":
                self.blank("# states")
            case "update":
                trains = "; ".join(f"update {u.name} trains {', '.join(u.trains)}" for u in phase.updates)
                freezes = list(dict.fromkeys(f for u in phase.updates for f in u.freezes))
                self.blank(f"# {trains}" + (f", freezes {', '.join(freezes)}" if freezes else "") + runs_text(phase))

    def phase(self, phase: Phase, rest: Sequence[Phase]) -> None:
        if phase.fetch:
            self.line("batch = fetch()")
            self.read_fields(rest)
        if phase.redraws:
            number = "run" if phase.times > 1 else phase.redraw
            self.line(f"redraw({number}, {', '.join(map(repr, phase.redraws))})")
        leaves = self.in_parts(phase) if phase.microbatches > 1 else self.values(phase, phase.actions)
        if phase.kind == "when":
            self.ask(phase)
        for update in phase.updates:
            self.log(update, phase.microbatches > 1)
        self.next_states(phase)
        self.step(phase)
        self.follow(phase)
        for commit in phase.commits:
            self.line(f"states[{commit.state!r}] = next_{plain(commit.state)}")
        losses = [f"loss_{plain(u.name)}" for u in phase.updates]
        self.drop(phase.frees, leaves, losses + [f"next_{plain(c.state)}" for c in phase.commits])

    def values(self, phase: Phase, actions: Sequence[object]) -> list[str]:
        """The evaluations and the backward passes; returns the leaves that were made."""
        leaves = []
        for action in actions:
            match action:
                case Evaluate() if self.graph.nodes[action.node].is_statement:
                    self.evaluate(action, phase)
                case Leaf(node=node):
                    leaves.append(f"{self.variables[node]}_leaf")
                    self.line(f"{leaves[-1]} = {self.variables[node]}.detach().requires_grad_()", node=node)
                case Reuse():
                    pass  # the variable still holds it
                case Free(nodes=nodes):
                    self.drop(nodes)
        roots = {a.node: a for a in phase.evaluations}
        for update in phase.updates:
            self.backward(update, roots.get(update.loss), phase.microbatches > 1)
        return leaves

    def evaluate(self, action: Evaluate, phase: Phase) -> None:
        node = self.graph.nodes[action.node]
        reads = {e.source for e in edges(self.graph.nodes, action.node)}
        has_graph = bool(node.networks or reads & self.printer.with_graph or self.reads_parameter(reads))
        blocks = [f"if {self.guard(t, b)}:" for t, b in action.guard]
        if len(blocks) > MAX_BLOCKS:
            blocks = ["if " + " and ".join(f"({self.guard(t, b)})" for t, b in action.guard) + ":"]
        frozen = [] if self.textbook else [f"with frozen[{n!r}]:" for n in action.freezes]
        quiet = node.kind in ("draw", "grad", "unroll")
        no_grad = ["with no_grad():"] if not action.graph and has_graph and not quiet else []
        buffers = [f"with kept_buffers[{n!r}]:" for n in action.keeps_buffers]
        comment = f"{node.location}" if node.location.file else ""
        context = (*blocks, *self.around(phase.name, node.id), *no_grad, *frozen, *buffers)
        if isinstance(node.value, Unroll):
            self.unroll(node, node.value, action, context, comment)
        else:
            text = self.printer.text(action.node, action)
            self.line(f"{self.variables[node.id]} = {text}", context, node.id, comment)
        if action.graph:
            self.printer.with_graph.add(node.id)
        else:
            self.printer.with_graph.discard(node.id)
        if self.observe:
            self.line(f"observe({phase.name!r}, {node.id!r}, {self.variables[node.id]})", (*blocks,))

    def unroll(self, node: Node, how: Unroll, action: Evaluate, context: tuple[str, ...], comment: str) -> None:
        """The inner loss as a function of the source network, and the steps on it."""
        name = f"{plain(node.id)}_loss"
        inner = inner_nodes(self.graph.nodes, how.loss, how.source)
        cut = {node.inputs[p] for reader, p in action.cut if reader == node.id}
        inside = Evaluate("", "", cut=tuple((r, p) for r in inner for p, i in enumerate(self.graph.nodes[r].inputs)
                                            if i in cut))  # fmt: skip
        self.line(f"def {name}({how.source}):", context, node.id)
        for statement in (n for n in inner if self.graph.nodes[n].is_statement and n != how.loss):
            text = self.printer.text(statement, inside)
            self.line(f"    {self.variables[statement]} = {text}", context, statement)
        self.line(f"    return {self.printer.text(how.loss, inside)}", context, how.loss)
        flags = f"steps={how.steps}, lr={how.lr!r}, create_graph={action.create_graph}"
        flags += ", first_order=True" if how.first_order else ""
        self.line(f"{self.variables[node.id]} = unrolled({how.source}, {name}, {flags})", context, node.id, comment)

    def reads_parameter(self, reads: set[str]) -> bool:
        return any(self.graph.nodes[r].kind in WEIGHTS for r in reads)

    def guard(self, test: str, branch: bool) -> str:
        text = self.printer.text(test)
        return text if branch else f"not ({text})"

    def drop(self, nodes: Sequence[str], leaves: Sequence[str] = (), more: Sequence[str] = ()) -> None:
        names = [self.variables[n] for n in nodes] + list(leaves) + list(more)
        maybe = [self.variables[n] for n in nodes if n in self.guarded]
        if maybe:
            self.line(" = ".join(maybe) + " = None")
        if names := [n for n in names if n not in maybe]:
            self.line(f"del {', '.join(names)}")

    # -- parts of the batch --

    def in_parts(self, phase: Phase) -> list[str]:
        """Draws of the whole batch, then a function of one part, run for each."""
        nodes = self.graph.nodes
        whole = [a for a in phase.evaluations if nodes[a.node].kind == "draw"
                 and all(nodes[i].host for i in nodes[a.node].inputs)]  # fmt: skip
        for action in whole:
            self.evaluate(action, phase)
        rest = [a for a in phase.actions if a not in whole]
        made = {a.node for a in rest if isinstance(a, Evaluate)}
        read = dict.fromkeys(i for a in rest if isinstance(a, Evaluate) for i in statement_inputs(nodes, a.node)
                             if i not in made and (nodes[i].is_statement or nodes[i].kind == "field"))  # fmt: skip
        read.update(dict.fromkeys(a.node for a in rest if isinstance(a, Leaf) and a.node not in made))
        results = list(dict.fromkeys(self.results(phase)))
        given = [self.variables[n] for n in read]
        graphs = set(self.printer.with_graph)
        self.printer.with_graph -= read.keys()  # a part of it is handed over without its graph
        self.open(f"def part({', '.join(['counters', 'draw', 'share', *given])}):")
        self.values(phase, rest)
        self.line(f"return {', '.join(results)}" + ("," if len(results) == 1 else ""))
        self.close()
        self.printer.with_graph = graphs - made
        values = ", ".join(f"{v!r}: {v}" for v in given)
        self.line(f"{', '.join(results)}{',' * (len(results) == 1)} = "
                  f"in_parts(part, {phase.microbatches}, counters, {{{values}}})")  # fmt: skip
        return []

    def results(self, phase: Phase) -> Iterator[str]:
        for update in phase.updates:
            yield from (self.variables[t.node] for t in update.terms if self.graph.nodes[t.node].is_statement)
            yield f"loss_{plain(update.name)}"
        made = {a.node for a in phase.evaluations if self.graph.nodes[a.node].kind != "draw"}
        yield from (self.variables[n] for n in phase.merged if n in made)

    # -- predicates and states --

    def ask(self, phase: Phase) -> None:
        for condition in (c for c in self.graph.conditions if c.name in phase.asks):
            action = next((a for a in phase.evaluations if a.node == condition.node), None)
            root = self.graph.nodes[condition.node]
            text = self.variables[root.id] if root.is_statement else self.printer.text(root.id, action)
            name, around = flag(condition.name), self.around(phase.name, f"decide {condition.name}")
            self.line(f"{name} = bool({text})", around, root.id, f"{root.location}")

    def next_states(self, phase: Phase) -> None:
        """Next values are read before the step, and given to the states after it."""
        roots = {a.node: a for a in phase.evaluations}
        for commit in phase.commits:
            root = self.graph.nodes[commit.node]
            text = self.variables[root.id] if root.is_statement else self.printer.text(root.id, roots.get(root.id))
            with_graph = root.is_statement or set(statement_inputs(self.graph.nodes, root.id)) & self.printer.with_graph
            quiet = ("with no_grad():",) if with_graph and not root.is_statement else ()
            context = (*self.around(phase.name, f"state {commit.state}"), *quiet)
            self.line(f"next_{plain(commit.state)} = constant({text})", context, root.id, f"{root.location}")

    def follow(self, phase: Phase) -> None:
        averages = {a.network: a for a in self.graph.averages}
        for name in phase.averages:
            beta = self.graph.nodes[averages[name].beta]
            text = self.variables[beta.id] if beta.is_statement else self.printer.text(beta.id)
            around = self.around(phase.name, f"average {name}")
            self.line(f"follow({name!r}, {text})", around, beta.id, f"{beta.location}")

    # -- gradients and steps --

    def backward(self, update: UpdatePlan, action: Evaluate | None, parts: bool) -> None:
        loss, root = f"loss_{plain(update.name)}", self.graph.nodes[update.loss]
        text = self.variables[root.id] if root.is_statement else self.printer.text(root.id, action)
        if update.gain != 1.0:
            text = f"{update.gain!r} * ({text})"
        self.line(f"{loss} = {text}", self.around(update.name, f"loss {update.name}"), root.id, f"{update.location}")
        if self.observe:
            self.line(f"observe({update.name!r}, {root.id!r}, {loss})")
            self.line(f"observe({update.name!r}, {BEFORE_BACKWARD!r}, {loss})")
        targets = "" if self.textbook else f"inputs=parameters[{update.name!r}]"
        keep = "retain_graph=True" if retains(self.graph, update, whole=self.textbook) else ""
        call = f"{f'(share * {loss})' if parts else loss}.backward({', '.join(t for t in (targets, keep) if t)})"
        self.line(call, self.around(update.name, f"backward {update.name}"), root.id)
        if self.observe:
            self.line(f"observe({update.name!r}, {AFTER_BACKWARD!r}, None)")

    def log(self, update: UpdatePlan, parts: bool) -> None:
        for term in update.terms:
            value = self.graph.nodes[term.node]
            shown = self.variables[term.node] if value.is_statement else f"({self.printer.text(term.node)})"
            number = value.host or value.target == "if"  # a branch may be one
            detached = f"detach({shown})" if number else f"{shown}.detach()"
            self.line(f"logs[{f'loss/{term.name}'!r}] = {detached}", node=term.node)
            if term.factor is not None:
                weight = repr(term.weight) if term.weight is not None else self.printer.text(term.factor)
                self.line(f"logs[{f'weight/{term.name}'!r}] = {weight}")
        self.line(f"logs[{f'loss/{update.name}'!r}] = loss_{plain(update.name)}.detach()")

    def step(self, phase: Phase) -> None:
        self.norms("grad_norm", phase.updates)
        clips = [u for u in phase.updates if u.clip_value is not None or u.clip_norm is not None]
        for update in phase.updates:
            if update.nan_to_num or update in clips:
                limits = f"nan_to_num={update.nan_to_num}, value={update.clip_value}, norm={update.clip_norm}"
                around = self.around(phase.name, f"clip {update.name}")
                self.line(f"clip_gradients(parameters[{update.name!r}], {limits})", around)
        self.norms("grad_norm_clipped", clips)
        for key in phase.steps:
            around = self.around(phase.name, f"step {key}")
            if key in self.graph.scheduled:
                self.line(f"set_hyperparameters({key!r}, counters)", around)
            self.line(f"optimizers[{key!r}].step()", around)
            self.line(f"clear_gradients(optimizers[{key!r}])", around)
        for network in phase.moves if phase.updates else ():
            plan = self.graph.plans.get(network)
            if plan is not None and plan.clamp is not None:
                around = self.around(phase.name, f"clamp {network}")
                self.line(f"clamp_weights({network!r}, {plan.clamp[0]!r}, {plan.clamp[1]!r})", around)

    def norms(self, kind: str, updates: Sequence[UpdatePlan]) -> None:
        if self.textbook or not updates:
            return
        self.open("if log_gradients:")
        for update in updates:
            for network in update.networks:
                tag = gradient_tag(update, network, kind=kind)
                self.line(f"logs[{tag!r}] = gradient_norm({update.name!r}, {network!r})")
        self.close()


def _updates(graph: StepGraph) -> list[UpdatePlan]:
    return [u for u in graph.updates if graph.active.get(u.name, True)]


def _is_new(graph: StepGraph) -> bool:
    """More happens than one run of each update, in order."""
    return any(p.kind != "update" or p.run > 1 or p.times > 1 for p in graph.walk())
