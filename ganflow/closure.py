"""Everything that the next iterations of a run depend on: its state, taken and put back bit for bit.

    closure = Closure(step)                # of a step that is as it was built
    state = closure.state()                # tensors are the step's own: copy them before the next iteration
    closure.restore(state)                 # onto another step of the same experiment

It holds the networks with all buffers, the optimizers, moving averages (they are networks), states, pools, counters,
the sources of draws, torch's, Python's and NumPy's generators, and the plain attributes of modules that changed since
they were built. What user code keeps elsewhere, in a global or a file, it cannot know: ``ganflow verify-resume`` does.
"""

from __future__ import annotations

import random
import sys
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor, nn

from ganflow.codec import Unencodable, copied, decode, encode, same
from ganflow.errors import GanflowError

OF_TORCH = frozenset(vars(nn.Module())) | {"_is_full_backward_hook", "training"}


class Closure:
    """The state of one step.

    Args:
        step: a ``TrainStep`` before its first iteration: what changes from here on is state.

    Raises:
        GanflowError: ``bad-state`` from :meth:`state`: something that a checkpoint cannot hold; ``other-state`` from
            :meth:`restore`: what is missing, left over, or of another shape, by name.
    """

    def __init__(self, step: Any) -> None:
        self.step = step
        self.built = {place: copied(value) for place, value in _attributes(step.networks)}
        self.groups = {name: _groups(o) for name, o in step.optimizers.items()}
        self.kinds = {name: _kind(o) for name, o in step.optimizers.items()}
        self.parameters = {n: [k for k, _ in m.named_parameters()] for n, m in step.networks.items()}

    def state(self) -> dict[str, Any]:
        """All of it, as nested dicts; nothing is copied."""
        step = self.step
        attributes = dict(_attributes(step.networks))
        return {
            "counters": {**asdict(step.counters), "ended": step._ended},
            "networks": {n: dict(_tensors(m)) for n, m in step.networks.items()},
            "shared": _shared(step.networks),
            "extra": {f"{n}.{p}": _held(f"network {n}, {p}", v) for n, p, v in _extra(step.networks)},
            "attributes": {
                place: value
                for place, value in attributes.items()
                if place not in self.built or not same(value, self.built[place])
            },
            "deleted": [place for place in self.built if place not in attributes],
            "optimizers": {n: _held(f"the optimizer of {n}", o.state_dict()) for n, o in step.optimizers.items()},
            "groups": self.groups,
            "kinds": self.kinds,
            "states": {n: _held(f"the state {n}", v) for n, v in step.states.items()},
            "pools": {site: _held(f"the pool at {site}", v) for site, v in step.pools.items()},
            "draws": [s.state_dict() for s in _sources(step)],
            "generators": _generators(step.device),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Put it back, onto the tensors that are there; whoever holds them holds what is restored."""
        self.check(state)
        step = self.step
        for name, network in step.networks.items():
            _fill(network, state["networks"][name])
        for name, path, module in _with_extra(step.networks):
            module.set_extra_state(decode(state["extra"][f"{name}.{path}"]))
        self._restore_attributes(state["attributes"], state["deleted"])
        for name, optimizer in step.optimizers.items():
            if name not in self.fresh(state):
                self._restore_optimizer(name, optimizer, decode(state["optimizers"][name]), state["groups"][name])
        for held, saved in ((step.states, state["states"]), (step.pools, state["pools"])):
            held.update({name: _moved(decode(value), step.device) for name, value in saved.items()})
        for source, saved in zip(_sources(step), state["draws"], strict=True):
            source.load_state_dict(saved)
        counters = dict(state["counters"])
        step._ended, step._iterator, step._peeked = counters.pop("ended"), None, None
        for name, value in counters.items():
            setattr(step.counters, name, value)
        _restore_generators(state["generators"], step.device)

    def _restore_optimizer(self, name: str, optimizer: Any, saved: dict[str, Any], then: list[dict[str, Any]]) -> None:
        """A number that the config has changed since is the config's, others are what the optimizer made of them."""
        for group, before, given in zip(saved.get("param_groups", ()), then, self.groups[name], strict=False):
            group.update({k: decode(v) for k, v in given.items() if k not in before or not same(v, before[k])})
        optimizer.load_state_dict(saved)
        exact = [saved["state"][k] for g in saved.get("param_groups", ()) for k in g["params"] if k in saved["state"]]
        tensors = [p for g in optimizer.param_groups for p in g["params"] if p in getattr(optimizer, "state", ())]
        for p, values in zip(tensors, exact, strict=False):
            for key, value in values.items():  # torch casts all of them to the type of the weight
                there = optimizer.state[p].get(key)
                if isinstance(there, Tensor) and isinstance(value, Tensor) and there.dtype != value.dtype:
                    optimizer.state[p][key] = value.to(there.device)

    def fresh(self, state: Mapping[str, Any]) -> list[str]:
        """Optimizers of another kind than that of the checkpoint: what they remember is of no use to these."""
        return [name for name, kind in self.kinds.items() if state["kinds"].get(name) != kind]

    def strangers(self) -> list[str]:
        """Parameters that came or went since the networks were built: no new step could be given them."""
        now = {n: [k for k, _ in m.named_parameters()] for n, m in self.step.networks.items()}
        return [f"{n}.{k}" for n in now for k in {*now[n]} ^ {*self.parameters[n]}]

    def _restore_attributes(
        self, saved: Mapping[tuple[str, str, str], Any], deleted: Sequence[tuple[str, str, str]]
    ) -> None:  # fmt: skip
        """What changed as it was then, all else as it was built: building it and a rehearsal may have changed it."""
        now = dict(_attributes(self.step.networks))
        for place, value in {**self.built, **saved}.items():
            if place in deleted or (place in now and same(now[place], value)):
                continue
            name, path, key = place
            there = vars(self.step.networks[name].get_submodule(path))
            before = there.get(key)
            device = before.device if isinstance(before, Tensor) else self.step.device
            there[key] = _put(before, _moved(decode(value, before), device))
        for name, path, key in deleted:
            vars(self.step.networks[name].get_submodule(path)).pop(key, None)

    def check(self, state: Mapping[str, Any]) -> None:
        """Would it fit? Nothing is touched before all of it is known to."""
        try:
            self._check(state)
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise _other("it is not one of a run of ganflow's") from error

    def _check(self, state: Mapping[str, Any]) -> None:
        step = self.step
        _agree("networks", step.networks, state["networks"])
        for name, network in step.networks.items():
            here, saved = dict(_tensors(network)), state["networks"][name]
            slots = {k for k in saved if _slot(network, k) is not None}  # buffers may come and grow
            _agree(f"tensors of network {name}", *([k for k in x if k not in slots] for x in (here, saved)))
            for key, tensor in ((k, t) for k, t in here.items() if k not in slots):
                if (tensor.shape, tensor.dtype) != (saved[key].shape, saved[key].dtype):
                    raise _other(
                        f"network {name}: {key} is {_described(saved[key])} there and {_described(tensor)} here"
                    )
        if _shared(step.networks) != [list(map(str, names)) for names in state["shared"]]:
            raise _other(
                f"other tensors are shared: {_listed(state['shared'])} there, {_listed(_shared(step.networks))} here"
            )
        _agree(
            "modules with a state of their own", [f"{n}.{p}" for n, p, _ in _with_extra(step.networks)], state["extra"]
        )
        _agree("optimizers", step.optimizers, state["optimizers"])
        for name, optimizer in step.optimizers.items():
            if name in self.fresh(state):
                continue
            counts = [len(g["params"]) for g in optimizer.param_groups]
            saved_counts = [len(g["params"]) for g in state["optimizers"][name].get("param_groups", ({"params": ()},))]
            if counts != saved_counts:
                raise _other(f"the optimizer of {name} steps {saved_counts} tensors there and {counts} here")
        _agree("states", step.states, state["states"])
        sites = {n.site for n in step.graph.nodes.values() if n.stateful}
        if left := [site for site in state["pools"] if _site(site) not in sites]:
            raise _other(f"it has pools at {', '.join(map(repr, left))}, which this experiment does not have")
        if len(state["draws"]) != len(_sources(step)):
            raise _other("it draws from other sources")


def _site(site: str) -> str:
    return site.partition("@")[0]


def _other(message: str) -> GanflowError:
    return GanflowError(f"the checkpoint is of another experiment: {message}", code="other-state",
                        hint="resume with the config of the run; to start from its weights alone, bind "
                        "G/Network.load = 'RUN/weights.pt'")  # fmt: skip


def _agree(what: str, here: Iterable[str], saved: Iterable[str]) -> None:
    here, saved = list(here), list(saved)
    missing, left = [n for n in here if n not in saved], [n for n in saved if n not in here]
    said = [f"{word} {_listed(names)}" for word, names in (("lacks", missing), ("has left over", left)) if names]
    if said:
        raise _other(f"of the {what} it {' and '.join(said)}")


def _listed(names: Iterable[Any]) -> str:
    names = [" = ".join(map(str, n)) if isinstance(n, (list, tuple)) else str(n) for n in names]
    return ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "") if names else "none"


def _described(x: Tensor) -> str:
    return f"{'×'.join(map(str, x.shape)) or 'a number'} {str(x.dtype).removeprefix('torch.')}"


def _held(what: str, value: Any) -> Any:
    try:
        return encode(value)
    except (Unencodable, RecursionError) as error:
        raise GanflowError(
            f"{what} holds {error}, which a checkpoint cannot hold", code="bad-state",
            hint="keep tensors, numbers, strings, and lists, tuples, dicts and sets of these",
        ) from error  # fmt: skip


# -- networks -------------------------------------------------------------------------------------------------


def _tensors(network: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Parameters and buffers, those that no state dict has too; what stands under two names under both."""
    yield from network.named_parameters(remove_duplicate=False)
    yield from network.named_buffers(remove_duplicate=False)


def _shared(networks: Mapping[str, nn.Module]) -> list[list[str]]:
    """Names of one tensor, in groups; a network that was loaded without them would drift apart."""
    groups: dict[int, list[str]] = {}
    for name, network in networks.items():
        for key, tensor in _tensors(network):
            groups.setdefault(id(tensor), []).append(f"{name}.{key}")
    return sorted(names for names in groups.values() if len(names) > 1)


def _with_extra(networks: Mapping[str, nn.Module]) -> Iterator[tuple[str, str, nn.Module]]:
    for name, network in networks.items():
        for path, module in network.named_modules():
            if type(module).get_extra_state is not nn.Module.get_extra_state:
                yield name, path, module


def _extra(networks: Mapping[str, nn.Module]) -> Iterator[tuple[str, str, Any]]:
    return ((name, path, module.get_extra_state()) for name, path, module in _with_extra(networks))


def _fill(network: nn.Module, saved: Mapping[str, Tensor]) -> None:
    """Every tensor in its place; a buffer that came later, or that grew, is put there."""
    here = dict(_tensors(network))
    for key, tensor in saved.items():
        then = tensor.to(here[key].device if key in here else _device(network))
        slot = _slot(network, key)
        if slot is not None and (key not in here or _kind_of(then) != _kind_of(here[key])):
            slot[0][slot[1]] = then.clone()
        elif not same(here[key], then):  # a buffer that repeats one number cannot be written
            with torch.no_grad():
                here[key].copy_(then)


def _slot(network: nn.Module, key: str) -> tuple[dict[str, Tensor | None], str] | None:
    """The module's buffers that this one is of, and its name there; None for a parameter."""
    path, _, name = key.rpartition(".")
    try:
        buffers = network.get_submodule(path)._buffers
    except AttributeError:
        return None
    return (buffers, name) if name in buffers else None


def _kind_of(x: Tensor) -> tuple[Any, ...]:
    return x.shape, x.dtype


def _device(network: nn.Module) -> torch.device:
    return next((t.device for _, t in _tensors(network)), torch.device("cpu"))


def _attributes(networks: Mapping[str, nn.Module]) -> Iterator[tuple[tuple[str, str, str], Any]]:
    """``("G", "encoder.0", "calls")`` -> what a module keeps in a plain attribute, where a checkpoint can hold it."""
    registered = {id(t) for network in networks.values() for _, t in _tensors(network)}
    for name, network in networks.items():
        for path, module in network.named_modules():
            for key, value in vars(module).items():
                if key not in OF_TORCH:
                    try:
                        if not _reads(value, registered):
                            yield (name, path, key), encode(value)
                    except (Unencodable, RecursionError):
                        continue


def _reads(value: Any, registered: set[int]) -> bool:
    """A list of weights is no state: the weights are, and a copy of them would no longer be theirs."""
    if isinstance(value, Tensor):
        return id(value) in registered
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, (list, tuple)) else ()
    return any(_reads(v, registered) for v in parts)


def _put(before: Any, value: Any) -> Any:
    """Containers stay the same objects: whoever holds one of a module's lists still holds it."""
    kinds = next((k for k in (dict, list, deque, set) if isinstance(before, k) and isinstance(value, k)), None)
    if kinds is None or (isinstance(before, deque) and before.maxlen != value.maxlen):
        return value
    before.clear()
    (before.extend if isinstance(before, (list, deque)) else before.update)(value)
    return before


def _moved(value: Any, device: Any) -> Any:
    if isinstance(value, Tensor):
        return value.to(device)
    if isinstance(value, dict):
        return {k: _moved(v, device) for k, v in value.items()}
    if isinstance(value, deque):
        return deque((_moved(v, device) for v in value), value.maxlen)
    if type(value) in (list, tuple, set):
        return type(value)(_moved(v, device) for v in value)
    return value


def _groups(optimizer: Any) -> list[dict[str, Any]]:
    """What each group was built with."""
    groups = []
    for group in optimizer.param_groups:
        found = {}
        for key, value in group.items():
            if key != "params":
                try:
                    found[key] = copied(encode(value))
                except Unencodable:
                    continue
        groups.append(found)
    return groups


HOW = {"maximize", "foreach", "capturable", "differentiable", "fused", "nesterov", "decoupled_weight_decay"}


def _kind(optimizer: Any) -> str:
    """What says what an optimizer remembers: its class, and switches such as ``amsgrad``."""
    switches = {k for g in optimizer.param_groups for k, v in g.items() if v is True and k not in HOW}
    return " ".join([f"{type(optimizer).__module__}.{type(optimizer).__qualname__}", *sorted(switches)])


# -- randomness -----------------------------------------------------------------------------------------------


def _sources(step: Any) -> list[Any]:
    found = {id(s): s for s in (step.randomness.source, step.randomness.own)}
    return [s for s in found.values() if hasattr(s, "load_state_dict")]


def _generators(device: torch.device) -> dict[str, Any]:
    """Those that belong to nobody: torch's of the CPU and of this device, Python's, NumPy's."""
    found = {"torch": torch.get_rng_state(), "python": encode(random.getstate())}
    if device.type == "cuda":
        found["cuda"] = torch.cuda.get_rng_state(device)
    if device.type == "mps":
        found["mps"] = torch.mps.get_rng_state()
    numpy = sys.modules.get("numpy")
    if numpy is not None:
        found["numpy"] = encode(numpy.random.get_state(legacy=False))
    return found


def _restore_generators(saved: Mapping[str, Any], device: torch.device) -> None:
    torch.set_rng_state(saved["torch"])
    random.setstate(saved["python"])
    if "cuda" in saved and device.type == "cuda":
        torch.cuda.set_rng_state(saved["cuda"], device)
    if "mps" in saved and device.type == "mps":
        torch.mps.set_rng_state(saved["mps"])
    if "numpy" in saved:
        import numpy

        numpy.random.set_state(decode(saved["numpy"]))
