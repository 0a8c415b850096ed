"""Where gradient could come from and is cut: the path from a loss to a network, in words.

print(cut_path(nodes, "G.minimize.3", {"G"}))
# G_GAN <- pred_fake <- ✂ detach(fake_B) <- fake_B = G(real_A)
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Set
from dataclasses import dataclass

from ganflow.modes import passes_gradient
from ganflow.nodes import NOT_DIFFERENTIABLE, Node


@dataclass(frozen=True)
class CutPath:
    """A path from a loss to a call of a network, and the node on it through which no gradient passes."""

    nodes: tuple[Node, ...]
    cut: Node

    def __str__(self) -> str:
        return " <- ".join(filter(None, (self._shown(n) for n in self.nodes)))

    def _shown(self, node: Node) -> str:
        name = "" if "." in node.name else node.name  # `G.1` is what an unnamed term is logged as
        text = node.text if name in ("", node.text) else f"{name} = {node.text}"
        if node is self.cut:
            return f"✂ {node.text}"
        if node is self.nodes[-1]:
            return text
        return name or (node.text if node is self.nodes[0] else "")

    @property
    def cure(self) -> str:
        """What cuts it, and what to do about that."""
        cut = self.cut
        where = f"`{cut.text}` ({cut.location})"
        if cut.kind == "detach":
            return (
                f"{where} cuts it; drop the detach: ganflow cuts by itself where an update must not train a network,\n"
                "and a detach in a generator's loss to stop it from training D stops it from training anything"
            )
        if cut.stateful:
            return f"{where} keeps values of earlier iterations, so what it gives has no gradient; use the value itself"
        if cut.kind == "op" and cut.target in NOT_DIFFERENTIABLE:
            return f"{where} has no gradient; a loss needs something differentiable in its place"
        if cut.frozen:
            return f"{where} keeps gradient from the network's parameters; drop the `frozen`"
        return f"no gradient passes through {where}"


def cut_path(nodes: Mapping[str, Node], root: str, networks: Set[str]) -> CutPath | None:
    """The shortest path from ``root`` to a call of one of ``networks``; ``None`` if nothing cuts it."""
    came: dict[str, tuple[str, int]] = {root: ("", 0)}
    queue = deque([root])
    while queue:
        name = queue.popleft()
        node = nodes[name]
        if set(node.networks) & networks and node.kind != "network":
            return _between(nodes, came, name)
        for position, source in enumerate(node.inputs):
            if source not in came:
                came[source] = (name, position)
                queue.append(source)
    return None


def _between(nodes: Mapping[str, Node], came: Mapping[str, tuple[str, int]], last: str) -> CutPath | None:
    path, cut, name = [nodes[last]], nodes[last] if nodes[last].frozen else None, last
    while came[name][0]:
        reader, position = came[name]
        path.insert(0, nodes[reader])
        if not passes_gradient(nodes[reader], position):
            cut = nodes[reader]
        name = reader
    return None if cut is None else CutPath(tuple(path), cut)
