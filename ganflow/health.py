"""Cheap signals of how a game goes, from one iteration that is watched: ``docs/health.md`` says what each one means.

    watch = Watch([Health(step)])
    step(observe=watch.observe)
    watch.report(logs, step.counters.step)      # {"health/accuracy_real/D": 0.81, "health/diversity/fake_B": 0.94, ...}

Nothing is evaluated twice and no number of the iteration changes; the host waits once, in ``report``. Of an update that
runs several times the last run counts; of one in microbatches all of its parts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ganflow.judged import Made, Verdict, made, rivals, title, verdicts
from ganflow.logs import Logs
from ganflow.printing import BEFORE_BACKWARD
from ganflow.step import BATCH, TrainStep

SAMPLES = 64  # of a batch, the first ones
NUMBERS = 4096  # of a sample, of the logits of one scale, evenly spaced
WEIGHTS = 65536  # of one parameter tensor, evenly spaced
SATURATED = 0.99


class Health:
    """One iteration's signals. Weights are copied when it is made, at most ``WEIGHTS`` numbers of each tensor."""

    def __init__(self, step: TrainStep) -> None:
        self.step, graph = step, step.graph
        self.nodes = graph.nodes
        self.updates = {u.name: u for u in graph.updates}
        self.verdicts = verdicts(graph, step.experiment)
        self.made = made(graph, self.verdicts)
        self.rivals = rivals(graph, step.experiment, self.verdicts)
        self.wanted = {v.call for v in self.verdicts} | {n for m in self.made for n in (m.call, m.shown, m.reference)}
        self.values: dict[str, Tensor | list[Any]] = {}
        self.batch: dict[str, Tensor] = {}
        self.parts: Counter[str] = Counter()  # backward passes of each update
        self.logits: dict[Verdict, list[Tensor]] = {}
        self.samples: dict[str, list[Tensor]] = {}  # by the names of values
        self.real: dict[str, tuple[str, Tensor]] = {}
        self.images: set[str] = set()
        self.norms: dict[str, Tensor] = {}
        self.before = {n: [_some(p, WEIGHTS).clone() for p in own] for n, own in self.parameters()}

    def parameters(self) -> Iterator[tuple[str, list[nn.Parameter]]]:
        """Network -> those of its parameters that updates train."""
        trained = {id(p) for found in self.step.parameters.values() for p in found}
        for network in dict.fromkeys(n for u in self.updates.values() for n in u.networks):
            yield network, [p for p in self.step.networks[network].parameters() if id(p) in trained]

    # -- while the iteration runs --

    def observe(self, phase: str, node: str, value: Any) -> None:
        """Keep what judges say and generators make until the backward pass of its update, then a small part of it."""
        if phase == BATCH:
            self.batch[node] = value
        elif node == BEFORE_BACKWARD:
            self.before_backward(phase)
        elif node == "backward":
            if phase in {u for pair in self.rivals for u in pair}:
                self.norms[phase] = _norm([p.grad for p in self.step.parameters[phase] if p.grad is not None])
        elif node in self.wanted:
            self.values[node] = _detached(value)

    def before_backward(self, update: str) -> None:
        fresh = self.parts[update] % self.updates[update].microbatches == 0
        self.parts[update] += 1
        for verdict in (v for v in self.verdicts if v.update == update):
            found = _logits(self.values.get(verdict.call), verdict.path)
            self.logits[verdict] = [*([] if fresh else self.logits[verdict]), *(_some(x, NUMBERS) for x in found)]
        for m in (m for m in self.made if m.update == update):
            self.keep(m, fresh)

    def keep(self, m: Made, fresh: bool) -> None:
        """Samples of what a generator returns, or of what is made of it where only that looks like what is real."""
        there = {node: _picked(self.values.get(node), path) for node, path in ((m.call, m.path), (m.shown, ()))}
        floats = {node: x for node, x in there.items()
                  if isinstance(x, Tensor) and x.is_floating_point() and x.ndim > 1}  # fmt: skip
        beside = {node: found for node, x in floats.items() if (found := self.reference(m, x)) is not None}
        node = next(iter((*beside, *floats)), "")
        if not node or not (
            self.verdicts or floats[node].ndim == 4
        ):  # a network that predicts a number is no generator
            return
        name = title(self.nodes[node])
        self.samples[name] = [*([] if fresh else self.samples.get(name, [])), _samples(floats[node])]
        if node in beside:
            self.real[name] = beside[node]
        if floats[node].ndim == 4 and (node in beside or self.verdicts):
            self.images.add(name)

    def reference(self, m: Made, value: Tensor) -> tuple[str, Tensor] | None:
        """What is real beside it: name and samples."""
        own = self.nodes[m.reference].target if m.reference and self.nodes[m.reference].kind == "field" else ""
        seen = self.values.get(m.reference)
        if isinstance(seen, Tensor) and seen.shape[1:] == value.shape[1:]:
            return title(self.nodes[m.reference]), _samples(seen)
        for name in (own, *self.batch):
            field = self.batch.get(name)
            if field is not None and field.is_floating_point() and field.shape[1:] == value.shape[1:]:
                return name, _samples(field)
        return None

    # -- afterwards --

    def report(self, logs: Logs, step: int) -> dict[str, float]:
        """Signals by their tags; what this iteration says nothing about is left out."""
        with torch.no_grad():
            found = {**self.judged(), **self.generated(), **self.moved()}
            found |= {f"norm/{u}": norm for u, norm in self.norms.items()}
        numbers = dict(zip(found, _to_host(list(found.values())), strict=True))
        return dict(_signals(numbers, self.rivals))

    def judged(self) -> dict[str, Tensor]:
        """How often each judge is right; where no threshold says so, how often it puts a real one above a generated."""
        found: dict[str, Tensor] = {}
        for judge in dict.fromkeys(v.judge for v in self.verdicts):
            mine = {v: torch.cat(x) for v, x in self.logits.items() if v.judge == judge and x}
            sides = {real: [(x, v.threshold) for v, x in mine.items() if v.real is real] for real in (True, False)}
            for side, name in ((True, "real"), (False, "fake")):
                right = [((x > t) if side else (x < t)).float() for x, t in sides[side] if t is not None]
                if right and all(t is not None for _, t in sides[side]):
                    found[f"accuracy_{name}/{judge}"] = _known(torch.cat(right).mean(), [x for x, _ in sides[side]])
            pairs = all(t is None for side in sides.values() for _, t in side)
            if pairs and all(sides.values()):
                real, fake = (torch.cat([x for x, _ in sides[side]]) for side in (True, False))
                found[f"ranking/{judge}"] = _ranking(real, fake)
        return found

    def generated(self) -> dict[str, Tensor]:
        """Distances between samples, and how many numbers lie at the end of the range, beside those of what is real."""
        found: dict[str, Tensor] = {}
        for name, parts in self.samples.items():
            x = torch.cat(parts)[:SAMPLES]
            if name in self.real:
                field, real = self.real[name]
                found |= {f"distance/{name}": _distance(x), f"distance_of_real/{name}": _distance(real)}
                if name in self.images:
                    found |= {f"saturated/{field}": _saturated(real), f"largest/{field}": real.abs().amax()}
            if name in self.images:
                found |= {f"saturated/{name}": _saturated(x), f"largest/{name}": x.abs().amax()}
        return found

    def moved(self) -> dict[str, Tensor]:
        """How far the weights of each network went, and how large they were; only of those that took a step."""
        ran = {n for u, times in self.parts.items() if times for n in self.updates[u].networks}
        found: dict[str, Tensor] = {}
        for network, own in self.parameters():
            if network in ran:
                shares = [max(1.0, p.numel() / WEIGHTS) for p in own]
                now, before = [_some(p, WEIGHTS) for p in own], self.before[network]
                went = [_square(a - b) * s for a, b, s in zip(now, before, shares, strict=True)]
                size = [_square(b) * s for b, s in zip(before, shares, strict=True)]
                found |= {f"went/{network}": torch.stack(went).sum().sqrt(),
                          f"size/{network}": torch.stack(size).sum().sqrt()}  # fmt: skip
        return found


def _signals(numbers: Mapping[str, float], rivals: Sequence[tuple[str, str]]) -> Iterator[tuple[str, float]]:
    for key, value in numbers.items():
        kind, _, name = key.partition("/")
        if kind in ("accuracy_real", "accuracy_fake", "ranking"):
            yield f"health/{key}", value
        elif kind == "distance" and numbers[f"distance_of_real/{name}"] != 0:
            yield f"health/diversity/{name}", value / numbers[f"distance_of_real/{name}"]
        elif kind == "saturated" and not numbers[f"largest/{name}"] > 1:  # else it ends in no tanh
            yield f"health/saturated/{name}", value
        elif kind == "went" and numbers[f"size/{name}"] != 0:
            yield f"health/update_ratio/{name}", value / numbers[f"size/{name}"]
    for d, g in rivals:
        if numbers.get(f"norm/{g}") and f"norm/{d}" in numbers:
            pair = f"{d.replace('/', '.')},{g.replace('/', '.')}"
            yield f"health/grad_ratio/{pair}", numbers[f"norm/{d}"] / numbers[f"norm/{g}"]


# -- numbers --------------------------------------------------------------------------------------------------


def _detached(value: Any) -> Any:
    """Without the graph, whose memory an iteration would otherwise hold longer than it needs."""
    if isinstance(value, Tensor):
        return value.detach()
    return [_detached(v) for v in value] if isinstance(value, (list, tuple)) else value


def _picked(value: Any, path: tuple[int, ...]) -> Any:
    for index in path:
        value = value[index] if isinstance(value, list) and -len(value) <= index < len(value) else value
    return value


def _logits(value: Any, path: tuple[int, ...]) -> list[Tensor]:
    """Of every scale: the scale itself, or the last of its layers, as the adversarial losses take them."""
    value = _picked(value, path)
    scales = value if isinstance(value, list) else [value]
    last = (s[-1] if isinstance(s, list) and s else s for s in scales)
    return [x for x in last if isinstance(x, Tensor) and x.is_floating_point()]


def _spaced(length: int, limit: int, device: torch.device) -> Tensor:
    """At most ``limit`` of ``length`` positions, the same ones every time."""
    return torch.arange(limit, device=device) * length // limit


def _some(x: Tensor, limit: int) -> Tensor:
    """Numbers of a tensor as float32 (float64 stays), all of them if they are not too many."""
    flat = x.detach().flatten()
    flat = flat if flat.numel() <= limit else flat[_spaced(flat.numel(), limit, flat.device)]
    return flat if flat.dtype == torch.float64 else flat.float()


def _samples(x: Tensor) -> Tensor:
    """The first samples of a batch as rows of numbers."""
    rows = x.detach()[:SAMPLES].flatten(1)
    rows = rows if rows.shape[1] <= NUMBERS else rows[:, _spaced(rows.shape[1], NUMBERS, rows.device)]
    return rows if rows.dtype == torch.float64 else rows.float()


def _distance(rows: Tensor) -> Tensor:
    """The mean distance of two different samples; 0 of one alone."""
    pairs = [torch.linalg.vector_norm(rows[i + 1 :] - rows[i], dim=1) for i in range(len(rows) - 1)]
    return torch.cat(pairs).mean() if pairs else rows.new_zeros(())


def _saturated(rows: Tensor) -> Tensor:
    return _known((rows.abs() > SATURATED).float().mean(), [rows])


def _known(share: Tensor, of: Sequence[Tensor]) -> Tensor:
    """A share of numbers, NaN where one of them is: NaN compares as neither above nor below."""
    unknown = torch.stack([x.isnan().any() for x in of]).any()
    return torch.where(unknown, torch.full_like(share, torch.nan), share)


def _ranking(real: Tensor, fake: Tensor) -> Tensor:
    """Of all pairs the share in which the real one has more, ties counted half (the area under the ROC curve)."""
    fake = fake.sort().values.contiguous()
    below, upto = (torch.searchsorted(fake, real.contiguous(), right=right).float() for right in (False, True))
    return _known((below + upto).mean() / (2 * len(fake)), [real, fake])


def _square(x: Tensor) -> Tensor:
    return torch.linalg.vector_norm(x).square()


def _norm(grads: Sequence[Tensor]) -> Tensor:
    """Over all of them, in float32 at least."""
    own = (torch.linalg.vector_norm(g.coalesce().values() if g.is_sparse else g, dtype=_wide(g)) for g in grads)
    norms = [n.float() for n in own]
    return torch.linalg.vector_norm(torch.stack(norms)) if norms else torch.zeros(())


def _wide(x: Tensor) -> torch.dtype:
    return x.dtype if x.dtype == torch.float64 else torch.float32


def _to_host(numbers: Sequence[Tensor]) -> list[float]:
    """One transfer: all of them are where the networks are."""
    if not numbers:
        return []
    found: list[float] = torch.stack([n.to(numbers[0].device, torch.float32) for n in numbers]).tolist()
    return found
