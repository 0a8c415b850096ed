"""Expressions -> nodes: names resolved, templates expanded, every place in the text a :class:`Node`.

    reader = Reader(experiment)
    reader.root("D.minimize", Text("0.5 * (D_fake + D_real)", where))     # 'D.minimize.3', a node of reader.nodes

Names share, text does not: each definition is one node however often it is read, and each piece of text is a node of
its own. What is never read stays a plain gin macro.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from ganflow import expr as E
from ganflow.chains import milestones
from ganflow.errors import GanflowError, Location
from ganflow.experiment import Definition, Experiment, Reference, Text
from ganflow.graph import LEAVES, Node
from ganflow.names import SPECIAL, meaning
from ganflow.nodetable import NodeTable
from ganflow.parsing import parse
from ganflow.scopes import Local, NetworkName, Scope, Template, bind, check_constant
from ganflow.signatures import check_call


class Reader(NodeTable):
    """Builds nodes; lives for one call of ``resolve``."""

    def __init__(self, experiment: Experiment) -> None:
        super().__init__()
        self.experiment = experiment
        self.names: dict[str, str] = {}
        self.reading: list[str] = []  # definitions being read, for cycles
        self.trees: dict[str, E.Expr] = {}  # of definitions
        self.sites: dict[str, list[str]] = {}

    # -- roots and definitions --

    def root(self, owner: str, given: object, at: Location) -> str:
        """The node of what stands at a parameter: an expression, read or not, a number or ``@schedule()``."""
        if not isinstance(given, (Text, E.Expr)):
            return self.constant(owner, given, at)
        tree = parse(given.source, given.location) if isinstance(given, Text) else given
        try:
            for name in milestones(tree, self.experiment, self.tree):
                self.definition(name, tree.location)
            node = self.as_node(self.read(tree, Scope(owner, owner)), tree.location)
        except RecursionError:
            raise GanflowError(
                "this is nested too deeply to read, with all that it is made of", location=tree.location,
                code="too-large", hint="templates that call templates add up",
            ) from None  # fmt: skip
        self.number_sites(owner)
        return node

    def definition(self, name: str, at: Location) -> str | Template:
        if name in self.names:
            return self.names[name]
        definition = self.experiment.definitions[name]
        if name in self.reading:
            loop = " -> ".join([*self.reading[self.reading.index(name) :], name])
            raise GanflowError(
                f"`{name}` is defined in terms of itself: {loop}", location=at, code="cycle",
                hint="a definition is a value, not a statement; for a value of the previous iteration declare a State",
            )  # fmt: skip
        self.reading.append(name)
        try:
            return self._definition(definition)
        finally:
            self.reading.pop()

    def _definition(self, definition: Definition) -> str | Template:
        name, value = definition.name, definition.value
        if isinstance(value, Text):
            tree = self.tree(name)
            if isinstance(tree, E.Lambda):
                return Template(tree.parameters, tree.body, name, value.location)
            node = self.as_node(self.read(tree, Scope(name, name)), value.location)
            self.number_sites(name)
            node = self.name_node(node, name)
        else:
            node = self.constant(name, value, definition.location)
        self.names[name] = node
        return node

    def tree(self, name: str) -> E.Expr:
        """The text of a definition, read once."""
        if name not in self.trees:
            value = self.experiment.definitions[name].value
            assert isinstance(value, Text)
            self.trees[name] = parse(value.source, value.location)
        return self.trees[name]

    def constant(self, name: str, value: object, at: Location) -> str:
        if isinstance(value, Reference):
            if not value.evaluate:
                raise GanflowError(
                    f"`{name}` is bound to the function {value!r} itself", location=at, code="not-a-value",
                    hint=f"write {value!r}() for the object that it makes",
                )  # fmt: skip
            return self.add(Node(name, "schedule", name, value=value, host=True, name=name, location=at))
        check_constant(name, value, at)
        return self.add(Node(name, "constant", value=value, host=True, name=name, text=repr(value), location=at))

    # -- expressions --

    def read(self, tree: E.Expr, scope: Scope) -> Local:
        match tree:
            case E.Const(value=value):
                return self.leaf(scope, tree, "constant", value=value, host=True)
            case E.Name():
                return self.name(tree, scope)
            case E.Call():
                return self.call(tree, scope)
            case E.Attribute():
                return self.parameter(tree, scope)
            case E.Unary(op=op, operand=operand):
                return self.op(scope, tree, "neg" if op == "-" else op, [operand])
            case E.Binary():
                return self.chain(tree, scope)
            case E.Bool(op=op, values=values):
                return self.op(scope, tree, op, list(values))
            case E.Compare():
                return self.compare(tree, scope)
            case E.If():
                return self.conditional(tree, scope)
            case E.Index(value=value, index=index):
                return self.compound(scope, tree, "index", "", [value, index])
            case E.Slice(lower=lower, upper=upper, step=step):
                none = E.Const(None, location=tree.location)
                return self.compound(scope, tree, "slice", "", [lower or none, upper or none, step or none])
            case E.Pack(kind=kind, items=items):
                return self.compound(scope, tree, "pack", kind, list(items))
            case E.Named(name=name, value=value):
                return self.named(name, value, tree, scope)
        raise GanflowError(
            "a template stands here where a value is needed", location=tree.location, code="syntax",
            hint="give the template a name of its own (`penalty = 'lambda D, x: ...'`) and call that",
        )  # fmt: skip

    def chain(self, tree: E.Binary, scope: Scope) -> str:
        """A sum or a product from its left end: however many terms it has, they stand beside one another."""
        parts = [tree]
        while isinstance(parts[-1].left, E.Binary):
            parts.append(parts[-1].left)
        node = self.value(parts[-1].left, scope)
        for part in reversed(parts):
            inputs = (node, self.value(part.right, scope))
            host = all(self.nodes[i].host for i in inputs)
            node = self.leaf(scope, part, "op", target=part.op, inputs=inputs, host=host)
        return node

    def conditional(self, tree: E.If, scope: Scope) -> str:
        """`a if c else b`: c is known to the host; a state counts, for it was committed before."""
        node = self.op(scope, tree, "if", [tree.test, tree.body, tree.orelse])
        test = self.nodes[node].inputs[0]
        parts = [test]
        for name in parts:  # a host value (`size(x, 2)`) is one whatever it is made of
            parts += () if self.nodes[name].host else self.nodes[name].inputs
        if any(n.kind in ("field", "call", "parameter", "network") or n.site for n in map(self.nodes.get, parts) if n):
            raise GanflowError(
                f"`{E.show(tree.test)}` reads a tensor, and what stands before `if` is chosen by the host",
                location=tree.test.location, hint="choose element by element: where(c, a, b)", code="host-test",
            )  # fmt: skip
        return node

    def value(self, tree: E.Expr, scope: Scope) -> str:
        return self.as_node(self.read(tree, scope), tree.location)

    def as_node(self, local: Local, at: Location) -> str:
        if isinstance(local, NetworkName):
            raise GanflowError(
                f"the network `{local.name}` stands here where a value is needed", location=at, code="not-a-value",
                hint=f"call it: `{local.name}(x)`",
            )  # fmt: skip
        return local

    def name(self, tree: E.Name, scope: Scope) -> Local:
        name, at = tree.id, tree.location
        if name in scope.locals:
            return scope.locals[name]
        kind = meaning(name, self.experiment, at=at)
        match kind:
            case "definition":
                found = self.definition(name, at)
                if isinstance(found, str):
                    return found
                raise GanflowError(
                    f"`{name}` is a template", location=at, code="not-a-value",
                    hint=f"call it: `{name}({', '.join(found.parameters)})`",
                )  # fmt: skip
            case "network":
                return NetworkName(name)
            case "batch field" | "counter" | "state":
                short = kind.split()[-1]
                host = short == "counter"
                return self.add(Node(name, short, name, host=host, name=name, text=name, location=at))  # type: ignore[arg-type]
        raise GanflowError(f"`{name}` is an op", location=at, hint=f"call it: `{name}(...)`", code="not-a-value")

    def named(self, name: str, value: E.Expr, tree: E.Expr, scope: Scope) -> str:
        if not scope.expanding:
            raise GanflowError(
                "`:=` stands outside a template", location=tree.location, code="syntax",
                hint=f"give the part a definition of its own: {name} = '...'",
            )  # fmt: skip
        before = len(self.made)
        node = self.value(value, scope)
        if self.made.get(node, -1) >= before:
            node = self.part(node, f"{scope.path}.{name}")
        scope.locals[name] = node
        return node

    def op(self, scope: Scope, tree: E.Expr, target: str, parts: list[E.Expr]) -> str:
        return self.compound(scope, tree, "op", target, parts)

    def compound(self, scope: Scope, tree: E.Expr, kind: str, target: str, parts: list[E.Expr]) -> str:
        inputs = tuple(self.value(p, scope) for p in parts)
        host = all(self.nodes[i].host for i in inputs)
        return self.leaf(scope, tree, kind, target=target, inputs=inputs, host=host)

    def compare(self, tree: E.Compare, scope: Scope) -> str:
        """`a < b < c` is `a < b and b < c`, with b read once."""
        values = [self.value(tree.left, scope), *(self.value(r, scope) for r in tree.rights)]
        host = all(self.nodes[v].host for v in values)
        links = [
            self.leaf(scope, tree, "op", target=op, inputs=(a, b), host=host)
            for op, a, b in zip(tree.ops, values, values[1:], strict=False)
        ]
        return (
            links[0] if len(links) == 1 else self.leaf(scope, tree, "op", target="and", inputs=tuple(links), host=host)
        )

    def parameter(self, tree: E.Attribute, scope: Scope) -> str:
        network, path = self.network_path(tree, scope)
        if network is None:
            raise GanflowError(
                "values have no attributes", location=tree.location, code="syntax",
                hint="a dot is for networks: `N.method(x)`, `N.sub(x)`, `N.sub.weight`",
            )  # fmt: skip
        return self.leaf(
            scope, tree, "parameter", target=network.name, path=path, networks=(network.name,), frozen=network.frozen
        )

    def network_path(self, tree: E.Expr, scope: Scope) -> tuple[NetworkName | None, str]:
        """``G.decoder.conv`` -> (G, 'decoder.conv'); ``G.layers[0].weight`` -> (G, 'layers.0.weight')."""
        path: list[str] = []
        while isinstance(tree, (E.Attribute, E.Index)):
            if isinstance(tree, E.Index) and _place(tree) is None:
                return None, ""
            path.insert(0, tree.attr if isinstance(tree, E.Attribute) else str(_place(tree)))
            tree = tree.value
        base: object = None
        if isinstance(tree, E.Name):
            is_network = tree.id in scope.locals or tree.id in self.experiment.networks
            base = self.name(tree, scope) if is_network else None
        elif isinstance(tree, E.Call) and isinstance(tree.function, E.Name) and tree.function.id == "frozen":
            base = self.frozen(tree, scope)
        return (base if isinstance(base, NetworkName) else None), ".".join(path)

    # -- calls --

    def call(self, tree: E.Call, scope: Scope) -> Local:
        function = tree.function
        network, path = self.network_path(function, scope)
        if network is not None:
            return self.network_call(network, path, tree, scope)
        if not isinstance(function, E.Name):
            raise GanflowError(
                "only ops, networks and templates can be called", location=function.location, code="syntax"
            )
        name = function.id
        if name in scope.locals:
            raise GanflowError(
                f"`{name}` is a value, not something to call", location=function.location, code="not-callable"
            )
        if name in SPECIAL and name not in self.experiment.definitions:
            return self.special(name, tree, scope)
        kind = meaning(name, self.experiment, at=function.location, called=True)
        if kind == "definition":
            return self.expand(name, tree, scope)
        if kind == "op":
            return self.op_call(name, tree, scope)
        raise GanflowError(
            f"`{name}` is a {kind}, not something to call", location=function.location, code="not-callable"
        )

    def network_call(self, network: NetworkName, path: str, tree: E.Call, scope: Scope) -> str:
        inputs = tuple(self.value(a, scope) for a in (*tree.args, *(v for _, v in tree.keywords)))
        return self.leaf(
            scope, tree, "call", target=network.name, path=path, inputs=inputs, frozen=network.frozen,
            keywords=tuple(k for k, _ in tree.keywords), networks=(network.name,),
        )  # fmt: skip

    def special(self, name: str, tree: E.Call, scope: Scope) -> Local:
        if name == "frozen":
            return self.frozen(tree, scope)
        wanted = {"detach": 1, "grad": 2}[name]
        if len(tree.args) != wanted or tree.keywords:
            usage = {"detach": "detach(x)", "grad": "grad(y, x)"}[name]
            raise GanflowError(
                f"`{name}` takes {wanted} argument{'s' * (wanted > 1)}, {len(tree.args) + len(tree.keywords)} given",
                location=tree.location, hint=f"write `{usage}`", code="arguments",
            )  # fmt: skip
        inputs = tuple(self.differentiable(a, scope) if name == "grad" and k else self.value(a, scope)
                       for k, a in enumerate(tree.args))  # fmt: skip
        if name == "grad" and not self.nodes[inputs[1]].is_statement and self.nodes[inputs[1]].kind not in LEAVES:
            self.nodes[inputs[1]] = replace(self.nodes[inputs[1]], name=inputs[1])  # its leaf is made of a value
        host = name == "detach" and self.nodes[inputs[0]].host
        return self.leaf(scope, tree, name, inputs=inputs, host=host)

    def differentiable(self, tree: E.Expr, scope: Scope) -> str:
        """The x of ``grad(y, x)``: a value, or a network for all of its weights."""
        local = self.read(tree, scope)
        if isinstance(local, NetworkName) and local.frozen:
            raise GanflowError("a frozen network has no gradient", location=tree.location, code="arguments",
                               hint=f"write `grad(y, {local.name})`")  # fmt: skip
        return self.network_leaf(local, tree) if isinstance(local, NetworkName) else local

    def frozen(self, tree: E.Call, scope: Scope) -> NetworkName:
        inner = self.read(tree.args[0], scope) if len(tree.args) == 1 and not tree.keywords else None
        if not isinstance(inner, NetworkName):
            raise GanflowError(
                "`frozen` takes one network", location=tree.location, hint="write `frozen(N)(x)`", code="arguments"
            )
        return replace(inner, frozen=True)

    def op_call(self, name: str, tree: E.Call, scope: Scope) -> str:
        op = self.experiment.ops[name]
        check_call(op, len(tree.args), [k for k, _ in tree.keywords], at=tree.location)
        locals_ = [self.read(a, scope) for a in (*tree.args, *(v for _, v in tree.keywords))]
        inputs = tuple(self.network_leaf(v, tree) if isinstance(v, NetworkName) else v for v in locals_)
        networks = tuple(dict.fromkeys(v.name for v in locals_ if isinstance(v, NetworkName)))
        host = op.host_result or (op.host and bool(inputs) and all(self.nodes[i].host for i in inputs))
        site = self.site(scope) if op.kind != "pure" else ""
        draw = op.kind == "random" and not op.transforms
        return self.leaf(
            scope, tree, "draw" if draw else "op", target=name, inputs=inputs, networks=networks,
            keywords=tuple(k for k, _ in tree.keywords), host=host, stateful=op.kind == "stateful", site=site,
        )  # fmt: skip

    def network_leaf(self, network: NetworkName, tree: E.Expr) -> str:
        key = f"{network.name}{'.frozen' if network.frozen else ''}"
        return self.add(
            Node(key, "network", network.name, frozen=network.frozen, networks=(network.name,), text=network.name,
                 location=tree.location)
        )  # fmt: skip

    def expand(self, name: str, tree: E.Call, scope: Scope) -> str:
        found = self.definition(name, tree.location)
        if isinstance(found, str):
            raise GanflowError(
                f"`{name}` is a value, not something to call", location=tree.location, code="not-callable"
            )
        if name in scope.expanding:
            loop = " -> ".join([*scope.expanding[scope.expanding.index(name) :], name])
            raise GanflowError(f"the template `{name}` calls itself: {loop}", location=tree.location, code="cycle")
        self.count_expansion(tree.location)
        arguments = bind(found, tree)
        inner = Scope(scope.owner, f"{scope.path}/{name}", {}, (*scope.expanding, name))
        uses = Counter(n.id for n in E.walk(found.body) if isinstance(n, E.Name))
        for parameter, value in arguments:
            inner.locals[parameter] = self.argument(value, scope, f"{inner.path}.{parameter}", uses[parameter])
        return self.value(found.body, inner)

    def argument(self, value: E.Expr, scope: Scope, name: str, uses: int) -> Local:
        """What a template is given; an expression that it reads several times is evaluated once, under a name."""
        local = self.read(value, scope)
        if uses < 2 or not isinstance(local, str) or isinstance(value, E.Name) or self.nodes[local].is_statement:
            return local
        return self.part(local, name)

    def site(self, scope: Scope) -> str:
        """A provisional site; `number_sites` numbers them once the owner's whole text is read."""
        return scope.path


def _place(tree: E.Index) -> int | None:
    """Of a module in a list of them: the 0 of ``G.layers[0]``."""
    index = tree.index.value if isinstance(tree.index, E.Const) else None
    return index if isinstance(index, int) and not isinstance(index, bool) else None
