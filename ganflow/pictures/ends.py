"""The end of a lane: losses, backward passes, optimizer steps, and what follows them."""

from __future__ import annotations

from dataclasses import replace

from ganflow.graph import Term, UpdatePlan
from ganflow.pictures.draft import Draft, entries
from ganflow.pictures.model import Arrow, Box
from ganflow.views import root_text

_CARRIES = ("train", "through", "kept", "graph")


def ends(draft: Draft) -> None:
    """Add to the lane what its phase does with the values."""
    for update in draft.phase.updates:
        _loss(draft, update)
    _mark_gradient(draft)
    for update in draft.phase.updates:
        _backward(draft, update)
    for key in draft.phase.steps:
        _step(draft, key)
    _clamps(draft)
    _commits(draft)
    _averages(draft)
    _tests(draft)


def _loss_id(draft: Draft, update: UpdatePlan) -> str:
    return draft.key(f"loss {update.name}")


def _loss(draft: Draft, update: UpdatePlan) -> None:
    root = root_text(draft.graph, update.loss, draft.root(update.loss))
    gain = f"{update.gain:g} × " if update.gain != 1.0 else ""
    found = [("what", f"minimize {gain}{root}"), ("where", str(update.location))]
    found += [("gain", f"{update.gain:g}")] if gain else []
    found += [("term", f"{_weight(draft, t) or '1 ×'} {t.name}") for t in update.terms]
    network = update.networks[0] if update.networks else ""
    box = draft.add(Box(_loss_id(draft, update), "loss", "loss", update.name, network=network, details=tuple(found)))
    cut = set() if draft.graph.nodes[update.loss].is_statement else _own_parts(draft, update, box.id)
    for term in update.terms:
        draft.connect(draft.source(term.node).id, box.id, cut=term.node in cut, label=_weight(draft, term))
        if term.factor is not None:
            for state in _states(draft, term.factor):
                draft.connect(draft.source(state).id, box.id)


def _own_parts(draft: Draft, update: UpdatePlan, target: str) -> set[str]:
    """Sums and weights in the loss stand for themselves only here. Gives the terms that are cut."""
    parts: list[str] = [update.loss]
    found = {e.source for e in entries(draft.graph.nodes, update.loss, draft.root(update.loss), parts) if e.cut}
    draft.boxes[target] = replace(draft.boxes[target], parts=tuple(dict.fromkeys(parts)))
    return found


def _weight(draft: Draft, term: Term) -> str:
    if term.weight is not None:
        return "" if term.factor is None else f"{'−' if term.weight < 0 else ''}{abs(term.weight):g} ×"
    text = root_text(draft.graph, term.factor) if term.factor else ""
    text = text.removeprefix("-1.0 * ") if (negative := text.startswith("-1.0 * ")) else text.removeprefix("1.0 * ")
    return f"{'−' if negative else ''}{f'({text})' if ' ' in text and not text.startswith('(') else text} ×"


def _states(draft: Draft, node: str) -> list[str]:
    """States that a weight reads."""
    n = draft.graph.nodes[node]
    return [node] if n.kind == "state" else [s for i in n.inputs for s in _states(draft, i)]


def _mark_gradient(draft: Draft) -> None:
    """Gradient flows back along every arrow on the way from a loss to what the update trains."""
    needs = _needs(draft)
    reached = [_loss_id(draft, u) for u in draft.phase.updates]
    for target in reached:
        for arrow in draft.into(target):
            if not arrow.cut and arrow.source in needs:
                draft.arrows[arrow.source, target, False] = replace(arrow, grad=True)
                reached += [arrow.source] if arrow.source not in reached else []


def _needs(draft: Draft) -> set[str]:
    """Boxes whose value carries a graph that leads to what is trained."""
    trained = {n for u in draft.phase.updates for n in u.networks}
    found = {b.id for b in draft.boxes.values() if b.mode == "train" or (b.kind == "reused" and b.mode == "graph")}
    found |= {b.id for b in draft.boxes.values() if b.kind == "parameter" and b.network in trained}
    before = -1
    while before != len(found):
        before = len(found)
        found |= {a.target for a in draft.arrows.values()
                  if a.source in found and not a.cut and draft.boxes[a.target].mode in _CARRIES}  # fmt: skip
    return found


def _backward(draft: Draft, update: UpdatePlan) -> None:
    """The story of a backward pass: from the loss along the gradient."""
    reached, arrows = [_loss_id(draft, update)], list[Arrow]()
    for target in reached:
        for arrow in draft.into(target):
            if arrow.grad:
                arrows.append(arrow)
                reached += [arrow.source] if arrow.source not in reached else []
    through = f", through {', '.join(update.freezes)}" if update.freezes else ""
    text = root_text(draft.graph, update.loss, draft.root(update.loss))
    draft.tell(f"backward: the gradient of {text} reaches {', '.join(update.trains)}{through}", *reached,
               arrows=tuple(arrows))  # fmt: skip


def _step(draft: Draft, key: str) -> None:
    stepped = [u for u in draft.phase.updates if key in u.steps]
    network = key if key in draft.graph.networks else next((n for u in stepped for n in u.networks), "")
    limits = [f"clip norm {u.clip_norm:g}" for u in stepped if u.clip_norm is not None]
    limits += [f"clip value {u.clip_value:g}" for u in stepped if u.clip_value is not None]
    limits += ["nan to num" for u in stepped if u.nan_to_num]
    optimizer = draft.graph.optimizers.get(key, "")
    found = (("what", f"step {key}"), ("optimizer", optimizer), ("before", ", ".join(dict.fromkeys(limits))))
    box = draft.add(Box(draft.key(f"step {key}"), "step", f"step {key}", optimizer,
                        ", ".join(dict.fromkeys(limits)), "train", network,
                        details=tuple((k, v) for k, v in found if v)))  # fmt: skip
    for update in stepped:
        own = [t for t in update.trains if t.split(".")[0] == key] if not update.own_optimizer else update.trains
        gain = f"{update.gain:g} × " if update.gain != 1.0 else ""
        draft.connect(_loss_id(draft, update), box.id, label=f"{gain}∇ {', '.join(own) or key}")
    draft.tell(f"step {key}{f' ({optimizer})' if optimizer else ''}", box.id, arrows=draft.into(box.id))


def _clamps(draft: Draft) -> None:
    for key in draft.phase.steps:
        for name in [n for u in draft.phase.updates if key in u.steps for n in u.networks]:
            plan = draft.graph.plans.get(name)
            if plan and plan.clamp and draft.key(f"clamp {name}") not in draft.boxes:
                text = f"[{plan.clamp[0]:g}, {plan.clamp[1]:g}]"
                box = draft.add(Box(draft.key(f"clamp {name}"), "after", f"clamp {name}", text, network=name,
                                    details=(("what", f"the weights of {name} are put into {text}"),)))  # fmt: skip
                draft.connect(draft.key(f"step {key}"), box.id)
                draft.tell(f"the weights of {name} are clamped to {text}", box.id)


def _commits(draft: Draft) -> None:
    states = {s.name: s for s in draft.graph.states}
    for commit in draft.phase.commits:
        text = root_text(draft.graph, commit.node, draft.root(commit.node))
        found = [("what", f"state {commit.state} = {text}")]
        found += [("where", str(states[commit.state].location))] if commit.state in states else []
        box = draft.add(Box(draft.key(f"state {commit.state}"), "after", f"{commit.state} ←", text,
                            details=tuple(found)))  # fmt: skip
        draft.read_root(commit.node, box.id)
        draft.tell(f"state {commit.state} becomes {text}", box.id, arrows=draft.into(box.id))


def _averages(draft: Draft) -> None:
    averages = {a.network: a for a in draft.graph.averages}
    for name in draft.phase.averages:
        average = averages[name]
        beta = root_text(draft.graph, average.beta, draft.root(average.beta))
        weights = draft.add(Box(draft.key(f"weights {average.source}"), "weights", average.source,
                                network=average.source,
                                details=(("what", f"the weights of {average.source}"),)))  # fmt: skip
        found = (("what", f"{name} follows {average.source}"), ("beta", beta), ("buffers", average.buffers))
        box = draft.add(Box(draft.key(f"average {name}"), "after", f"{name} ← {average.source}", f"β {beta}",
                            network=name, details=found))  # fmt: skip
        draft.connect(weights.id, box.id)
        draft.read_root(average.beta, box.id)
        draft.tell(f"{name} follows {average.source}, beta {beta}", weights.id, box.id)


def _tests(draft: Draft) -> None:
    conditions = {c.name: c for c in draft.graph.conditions}
    for name in draft.phase.asks:
        text = root_text(draft.graph, conditions[name].node)
        box = draft.add(Box(draft.key(f"test {name}"), "test", f"{name}?", text,
                            details=(("what", f"{name} runs if {text}"),)))  # fmt: skip
        draft.read_root(conditions[name].node, box.id)
        draft.tell(f"{name} if {text}: the host waits for the device", box.id, arrows=draft.into(box.id))
