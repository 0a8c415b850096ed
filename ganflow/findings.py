"""What is wrong or odd in measured gradients: each finding with its code, place, parameters and cure.

for finding in findings(measured, rows, cuts):
    print(finding)
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from ganflow.experiment import Diagnostic
from ganflow.graph import Node, Term, UpdatePlan
from ganflow.matrix import Measured, Row

SHOWN = 4


def findings(
    measured: Measured, rows: Sequence[Row], cuts: Mapping[tuple[str, str, str], tuple[str, str]]
) -> list[Diagnostic]:
    """Errors first.

    Args:
        cuts: (update, term, network) -> node inside which a gradient stops, and the module if it is known.
    """
    terms = [(u, t) for u in measured.updates for t in u.terms]
    found: list[Diagnostic] = []
    for (update, term), row in zip(terms, rows, strict=True):
        for network, cell in row.cells.items():
            match cell.wrong, cell.kind:
                case "leak", _:
                    found.append(_leak(measured, update, term, network))
                case "starved", _:
                    found.append(_starved(measured, update, term, network, cuts))
                case _, "non-finite":
                    found.append(_not_finite(measured, update, term, network))
                case _, "zero" if cell.must:
                    found.append(_zero(measured, update, term, network))
    found += _unreached(measured)
    found += _dead(measured)
    found += _left_out(measured)
    return sorted(found, key=lambda f: ("error", "warning", "note").index(f.level))


def named(measured: Measured, update: UpdatePlan, term: Term) -> str:
    """``term G_L1 of update G``, with the text of one that has no name."""
    text = measured.graph.nodes[term.node].text
    unnamed = f" (`{text}`)" if term.name.startswith(f"{update.name}.") and text else ""
    return f"term {term.name}{unnamed} of update {update.name}"


def listed(names: Sequence[str]) -> str:
    """``G.a, G.b and 7 more``."""
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more


def _leak(m: Measured, update: UpdatePlan, term: Term, network: str) -> Diagnostic:
    places = m.leaks(update, term, network, m.reach(update, term))
    names = listed([m.name(i, network) for i in places])
    return Diagnostic(
        "error", "gradient-leak",
        f"{named(m, update, term)} gives {network} a gradient ({names}), and the plan says none",
        m.graph.nodes[term.node].location,
        f"nothing in the text leads from {term.name} to the weights of {network}: look for a module or an op that\n"
        f"holds {network}, one of its weights, or a value that it made, and detach it there",
    )  # fmt: skip


def _starved(
    m: Measured, update: UpdatePlan, term: Term, network: str, cuts: Mapping[tuple[str, str, str], tuple[str, str]]
) -> Diagnostic:
    where, module = cuts.get((update.name, term.name, network), ("", ""))
    inner = f", in the module {module}" if module else ""
    place = f"it stops inside {_place(m.graph.nodes[where])}{inner}\n" if where else ""
    return Diagnostic(
        "error", "gradient-starved",
        f"{named(m, update, term)} gives {network} no gradient, and the plan says it does",
        m.graph.nodes[term.node].location,
        f"{place}look there for .data, .detach(), torch.no_grad(), .numpy(), a hook, or a backward that returns None;\n"
        "a cut that is meant belongs into the gin file: detach(...), or frozen(...) for the weights of one call",
    )  # fmt: skip


def _place(node: Node) -> str:
    at = f" ({node.location})" if node.location.file else ""
    return f"`{node.name} = {node.text}`{at}" if node.name else f"`{node.text}`{at}"


def _not_finite(m: Measured, update: UpdatePlan, term: Term, network: str) -> Diagnostic:
    found = m.gradients(update.name, term.name)
    bad = [m.name(i, network) for i in m.places(network) if (g := found[i]) is not None and not g.finite]
    forced = f";\n{', '.join(m.forced)} was measured although its condition does not hold yet" if m.forced else ""
    return Diagnostic(
        "warning" if update.nan_to_num or m.forced else "error", "gradient-non-finite",
        f"the gradient of {named(m, update, term)} in {network} is not finite ({listed(bad)})",
        m.graph.nodes[term.node].location,
        "a root, a logarithm or a division at 0 has such a gradient where its value is still finite: add an eps;\n"
        "where an update before it has stepped, a smaller lr may help" + forced,
    )  # fmt: skip


def _zero(m: Measured, update: UpdatePlan, term: Term, network: str) -> Diagnostic:
    return Diagnostic(
        "warning", "gradient-zero",
        f"the gradient of {named(m, update, term)} in {network} is exactly zero everywhere",
        m.graph.nodes[term.node].location,
        "a layer that starts at zero, a term that is switched off, a loss that is saturated or already at its minimum\n"
        "do this; so does a backward that returns zeros",
    )  # fmt: skip


def _unreached(m: Measured) -> Iterator[Diagnostic]:
    """Parameters without any gradient, in networks of which others get one."""
    never = m.never()
    for network in m.networks:
        mine = [i for i in m.trained_by_any(network) if next(iter(m.recorder.names[i])) == network]
        lost = [i for i in mine if i in never]
        if lost and len(lost) < len(mine):
            yield Diagnostic(
                "warning", "unreached-parameters",
                f"no term gives these parameters of {network} a gradient: {listed([m.name(i) for i in lost])}",
                m.locations.get(network),
                f"they stay as they are: a part of {network} that no output uses, or that a .data or a detach inside "
                "cuts off",
            )  # fmt: skip


def _dead(m: Measured) -> Iterator[Diagnostic]:
    """Parameters whose gradient is zero from every term, in networks of which others get more.

    A bias alone is only noted: a loss on the difference of two means (a hinge while no logit has passed it, a
    Wasserstein critic) moves all logits up as much as down.
    """
    dead = m.dead()
    for network in m.networks:
        if names := [d for d in dead if d.startswith(f"{network}.")]:
            biases = all(d.rpartition(".")[2] == "bias" for d in names)
            yield Diagnostic(
                "note" if biases else "warning", "gradient-zero",
                f"the gradient of these parameters of {network} is exactly zero from every term: {listed(names)}",
                m.locations.get(network),
                "a loss on a difference of means, such as hinge at the start and wgan, leaves a bias alone" if biases
                else "what comes after them starts at zero, is saturated, or has a backward that returns zeros",
            )  # fmt: skip


def _left_out(m: Measured) -> Iterator[Diagnostic]:
    declared = {u.name: u for u in m.graph.updates}
    for name in (n for n in m.skipped if n in declared):
        yield Diagnostic(
            "note", "gradient-unknown", f"the gradients of update {name} were not measured: it cannot run yet",
            declared[name].location, "its condition does not hold in the first iteration",
        )  # fmt: skip
