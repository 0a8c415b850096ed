"""Static checks over an Experiment alone: what contradicts itself before a single name is resolved.

for finding in check_declared(experiment):
    print(finding)
"""

from __future__ import annotations

from collections.abc import Iterator

from ganflow import expr as E
from ganflow.errors import did_you_mean
from ganflow.experiment import Diagnostic, Experiment, Network, Text, Update
from ganflow.parsing import parse

TAU = 0.1  # betas below it: published averages keep more, published target networks take less
REFRESH = ("draws", "batch", "*")
MANY = 1_000  # runs within one iteration: a plan is measured by running it once, on tensors without data


def check_declared(experiment: Experiment) -> list[Diagnostic]:
    """Every finding, groups first."""
    found: list[Diagnostic] = []
    for group in experiment.schedule:
        found += _group(experiment, [experiment.updates[u] for u in group])
    for update in experiment.updates.values():
        found += _numbers(update)
        found += _fresh(experiment, update)
    for network in experiment.networks.values():
        found += _derived(experiment, network)
        found += _buffers(experiment, network)
    return found


def check_followers(experiment: Experiment) -> Iterator[Diagnostic]:
    """What is legal and hardly meant of averages and states: warning[ema], warning[never-changes]."""
    for state in experiment.states.values():
        if state.next is None and isinstance(state.init, (int, float)):
            yield Diagnostic(
                "warning", "never-changes", f"state {state.name} has no next value, so it stays {state.init}",
                state.location, f"bind {state.name}/State.next; a value that stays is a definition",
            )  # fmt: skip
    yield from _betas(experiment)


def _betas(experiment: Experiment) -> Iterator[Diagnostic]:
    """Most likely the share of the new weights (tau) rather than of the old ones."""
    for network in experiment.networks.values():
        beta = network.ema_beta
        place = network.where.get("ema_beta", network.location)
        if network.ema_of is None or isinstance(beta, bool) or not isinstance(beta, (int, float)):
            continue
        if 0 < beta <= TAU:
            yield Diagnostic(
                "warning", "ema",
                f"{network.name} keeps {beta:g} of itself and takes {1 - beta:g} of {network.ema_of} in every "
                "iteration: that is hardly an average", place,
                f"beta is the share that is kept; for a soft update with tau = {beta:g}: "
                f"{network.name}/Network.ema_beta = {round(1 - beta, 6):g}",
            )  # fmt: skip
        elif beta == 1:
            yield Diagnostic(
                "warning", "ema", f"{network.name} keeps all of itself, so it never follows {network.ema_of}", place,
                f"beta is the share that is kept, such as {network.name}/Network.ema_beta = 0.999",
            )  # fmt: skip


def _error(code: str, message: str, place: object, hint: str = "") -> Diagnostic:
    return Diagnostic("error", code, message, place, hint)  # type: ignore[arg-type]


def _group(experiment: Experiment, members: list[Update]) -> Iterator[Diagnostic]:
    if len(members) < 2:
        return
    together = ", ".join(u.name for u in members)
    for update in members:
        for parameter, used in (("fresh", bool(update.fresh)), ("repeat", update.repeat != 1)):
            if used:
                yield _error(
                    "group", f"`{update.name}/Update.{parameter}` is bound on a member of the group ({together})",
                    update.where.get(parameter, update.location),
                    "members of a group see the same values once; give the update a place of its own in the schedule",
                )  # fmt: skip
        if update.microbatches != members[0].microbatches:
            yield _error(
                "group", f"the members of the group ({together}) have different microbatches",
                update.where.get("microbatches", update.location), "bind Update.microbatches once for all of them",
            )  # fmt: skip
    yield from _one_optimizer(members)


def _one_optimizer(members: list[Update]) -> Iterator[Diagnostic]:
    """Two members that train one network add their gradients, and it steps once: with one optimizer.

    Parts of it that do not overlap may each have an update's own optimizer (other rates for other layers).
    """
    for k, update in enumerate(members):
        for other in members[:k]:
            own = [u for u in (other, update) if u.optimizer is not None]
            same = [t.split(".")[0] for t in update.trains for o in other.trains if t.split(".")[0] == o.split(".")[0]]
            if same and own and (len(own) < 2 or _overlap(other.trains, update.trains)):
                yield _error(
                    "group", f"{other.name} and {update.name} train {same[0]} in one group with different optimizers",
                    update.where.get("optimizer", update.location),
                    "their gradients are added and it steps once: give it one optimizer, or two places in the schedule;"
                    "\nif they train separate parts, give each update an optimizer of its own",
                )  # fmt: skip


def _overlap(some: tuple[str, ...], others: tuple[str, ...]) -> bool:
    """Is a network or sub-module of one list, or a part of it, in the other?"""
    return any(f"{a}.".startswith(f"{b}.") or f"{b}.".startswith(f"{a}.") for a in some for b in others)


def _numbers(update: Update) -> Iterator[Diagnostic]:
    for parameter, most in (("every", None), ("repeat", MANY), ("microbatches", MANY)):
        given = getattr(update, parameter)
        whole = isinstance(given, int) and not isinstance(given, bool)
        if not whole or given < 1 or (most is not None and given > most):
            yield _error(
                "type", f"`{update.name}/Update.{parameter}` is {given!r}; it takes a whole number from 1"
                + (f" to {most:,}" if most is not None and whole and given > most else ""),
                update.where.get(parameter, update.location),
            )  # fmt: skip
    for parameter in ("clip_norm", "clip_value"):
        bound = getattr(update, parameter)
        if bound is not None and not bound > 0:  # 0 moves nothing, a negative one trains uphill
            yield _error(
                "type", f"`{update.name}/Update.{parameter}` is {bound!r}; it takes a number above 0",
                update.where.get(parameter, update.location), "leave it out to clip nothing",
            )  # fmt: skip


def _fresh(experiment: Experiment, update: Update) -> Iterator[Diagnostic]:
    for parameter in ("fresh", "repeat_fresh"):
        for name in getattr(update, parameter):
            place = update.where.get(parameter, update.location)
            given = f"`{update.name}/Update.{parameter}` lists `{name}`"
            if name in REFRESH:
                continue
            definition = experiment.definitions.get(name)
            if definition is None:
                near = did_you_mean(name, [*experiment.definitions, *REFRESH])
                hint = near or "a definition, 'draws' (everything random), 'batch' or '*' (a new batch)"
                yield _error("unknown-name", f"{given}, which is not a definition", place, hint)
            elif isinstance(definition.value, Text) and isinstance(
                parse(definition.value.source, definition.value.location), E.Lambda
            ):
                yield _error("fresh", f"{given}, which is a template", place, "list the value that is made with it")


def _derived(experiment: Experiment, network: Network) -> Iterator[Diagnostic]:
    for parameter in ("ema_of", "unroll_of"):
        given = getattr(network, parameter)
        if given is not None and given not in experiment.networks:
            yield _error(
                "unknown-name", f"`{network.name}/Network.{parameter}` is {given!r}, which is not a network",
                network.where.get(parameter, network.location),
                did_you_mean(str(given), experiment.networks) or f"networks: {', '.join(experiment.networks)}",
            )  # fmt: skip
    source = experiment.networks.get(network.ema_of or "")
    if source is not None and source.derived:
        yield _error(
            "ema", f"network {network.name} follows {source.name}, which has no weights of its own",
            network.where.get("ema_of", network.location),
            f"{source.name} is made of {source.ema_of or source.unroll_of}: follow that",
        )  # fmt: skip
    steps = network.unroll_steps
    if network.unroll_of is not None and (not isinstance(steps, int) or not 0 <= steps <= MANY):
        yield _error(
            "type", f"`{network.name}/Network.unroll_steps` is {steps!r}; it takes a whole number from 0 to {MANY:,}",
            network.where.get("unroll_steps", network.location),
        )  # fmt: skip
    if network.ema_of is not None and network.ema_beta is None:
        yield _error(
            "ema", f"network {network.name} follows {network.ema_of} but has no ema_beta", network.location,
            f"bind one: {network.name}/Network.ema_beta = 0.999",
        )  # fmt: skip
    beta = network.ema_beta
    if isinstance(beta, (int, float)) and not isinstance(beta, bool) and not 0 <= beta <= 1:
        yield _error(
            "ema", f"`{network.name}/Network.ema_beta` is {beta!r}; it takes a number from 0 to 1",
            network.where.get("ema_beta", network.location), "the share that the average keeps, such as 0.999",
        )  # fmt: skip
    if network.ema_buffers not in ("copy", "average", "own"):
        yield _error(
            "type", f"`{network.name}/Network.ema_buffers` is {network.ema_buffers!r}",
            network.where.get("ema_buffers", network.location), "it takes 'copy', 'average' or 'own'",
        )  # fmt: skip


def _buffers(experiment: Experiment, network: Network) -> Iterator[Diagnostic]:
    for name in network.buffers_in or ():
        if name not in experiment.updates:
            yield _error(
                "unknown-name", f"`{network.name}/Network.buffers_in` lists `{name}`, which is not an update",
                network.where.get("buffers_in", network.location),
                did_you_mean(name, experiment.updates) or f"updates: {', '.join(experiment.updates)}",
            )  # fmt: skip
