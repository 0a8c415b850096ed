"""Nothing that a gin file says is executed: the generated step calls what was declared, and only that.

Each attack would touch a file if any part of it ran.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import ganflow
from front_door import visit
from ganflow.errors import GanflowError
from ganflow.names import HELPERS
from handwritten.zoo.cases import CASES
from mutants import TESTS
from zoo_networks import known

GIN = """
G/Network.module = @PatchDiscriminator()
PatchDiscriminator.base = 4
PatchDiscriminator.layers = 1
G/Network.optimizer = @SGD
SGD.lr = 0.01
Trainer.data = @earth()
earth.size = 64
out = 'G(cat(real_A, real_B))'
G/Update.minimize = 'mean(out) + ATTACK'
Schedule.updates = ['G']
"""
TOUCH = 'open("touched", "w")'
METHODS = {"detach", "requires_grad_", "backward", "step"}  # of values, losses and optimizers


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(tmp_path)
    with known():
        yield tmp_path
    assert not (tmp_path / "touched").exists()


EXPRESSIONS = [
    TOUCH, f"eval('{TOUCH}')", "__import__('os').system('touch touched')", "().__class__.__base__.__subclasses__()",
    "G.__init__.__globals__", "out.__class__", "out.data", "out.grad_fn", "mean.__globals__", "G.forward.__globals__",
    "G._modules", "G.apply(out)", "G.to(out)", "G.train()", "G.eval()", "G.register_forward_hook(out)",
    "G.load_state_dict(out)", "G.state_dict()", "G.add_module('x', out)", "G.requires_grad_(False)", "G.zero_grad()",
    "G.share_memory()", "G._call_impl(out)", "G.get_submodule('')", "G.training", "G.compile()",
    "getattr(G, 'eval')()", "globals()", "vars()", "print(out)", "input()", "breakpoint()", "type(out)", "exec('1')",
    "compile('1', '', 'eval')", "torch.load('x')", "os.system('touch touched')", "ganflow.load('x')", "gin.macro(out)",
    "macro(out)", "singleton(out)", "Trainer()", "Network()", "Adam(out)", "earth()", "PatchDiscriminator()",
    "logs", "counters", "states", "parameters", "optimizers", "frozen", "draw('z', 'randn', 2)", "fetch()", "redraw(1)",
    "constant(out)", "observe(1)", "power(2, 3)", "bool(out)", "range(3)", "in_parts(1)", "gradient(out, out)",
    "[x for x in (1, 2)]", "(x for x in (1, 2))", "{1: 2}", "{1}", "f'{out}'", "await out", "(yield)", "lambda: 1",
    "(lambda: 1)()", "(x := 1)", "out is out", "1 in (1, 2)", "G(*out)", "G(**out)", "*out", "1; 2", "x = 1",
    "import os", "'{0.__class__}'.format(G)", "'a'.join(out)", "'%s' % 1", "b'a'", "...", "1j", "mean(out, out=out)",
    "randn(2, generator=1)", "pool(out, 3, state=1)", "out[__import__]", "cat(G, G)", "G.register_buffer('x', out)",
]  # fmt: skip


@pytest.mark.parametrize("attack", EXPRESSIONS)
def test_an_expression_reaches_nothing_that_was_not_declared(attack: str, here: Path) -> None:
    (here / "x.gin").write_text(GIN.replace("'mean(out) + ATTACK'", f'"""mean(out) + {attack}"""'), encoding="utf-8")
    found = visit("check", "x.gin")
    assert found.status == 2 and not found.wrong, found


TEXTS = ["'''", '"""', '\\n', "'''\n" + TOUCH + "\n'''", '\\\\"""\n' + TOUCH, "#\n" + TOUCH, "{" + TOUCH + "}", "%(x)s",
         "\\x00", "\\r" + TOUCH, "\\u2028" + TOUCH, "\\x0c" + TOUCH]  # fmt: skip


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("line", ["norm = {0!r}", "G/Network.load = {0!r}", "gan.mode = {0!r}"])
def test_a_string_stays_a_string(line: str, text: str, here: Path) -> None:
    (here / "x.gin").write_text(GIN.replace(" + ATTACK", "") + line.format(text) + "\n", encoding="utf-8")
    assert not visit("plan", "x.gin").wrong


@pytest.mark.parametrize("name", ['x"""\nimport os\n"""', f"x\n{TOUCH}\n", "x\r1", "a'b", 'a"b', "{x}", "é", "a\\"])
def test_the_name_of_a_file_stays_a_name(name: str, here: Path) -> None:
    """It is the experiment's name, and stands in comments and in the docstring of the generated step."""
    path = here / f"{name}.gin"
    path.write_text(GIN.replace(" + ATTACK", ""), encoding="utf-8")
    source = ganflow.schedule(ganflow.load(path)).source
    plain = ganflow.schedule(ganflow.loads(path.read_text(encoding="utf-8"))).source
    assert ast.dump(_without_docstrings(source)) == ast.dump(_without_docstrings(plain))
    found = visit("check", path)
    assert not found.wrong and found.status == 0


def _without_docstrings(source: str) -> ast.Module:
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.FunctionDef)) and ast.get_docstring(node) is not None:
            del node.body[0]
    return tree


@pytest.mark.parametrize("name", [*sorted(HELPERS), "class", "lambda"])
def test_a_network_cannot_take_the_place_of_a_word_of_the_generated_step(name: str) -> None:
    text = re.sub(r"\bG\b", "N", GIN.replace(" + ATTACK", "")).replace("N/", f"{name}/").replace("N(", f"{name}(")
    with pytest.raises(GanflowError):
        ganflow.schedule(ganflow.loads(text.replace("['N']", f"['{name}']").replace("loss_N", "loss_G")))


@pytest.mark.parametrize(
    "name", sorted({*HELPERS, "loss_G", "next_s", "run_G", "print", "len", "torch", "self", "out_leaf"})
)
def test_a_definition_may_have_any_name_and_is_a_variable_of_its_own(name: str) -> None:
    """Whatever a definition is called, the step computes what it would under another name."""
    with_name, other = (
        GIN.replace("ATTACK", f"{n} + mean(grad(mean(out ** 2), out))") + f"{n} = 'mean(out ** 2)'\n"
        for n in (name, "other")
    )
    try:
        source = ganflow.schedule(ganflow.loads(with_name)).source
    except GanflowError as error:
        assert error.code in ("reserved-name", "name-clash")
        return
    assert len(_assigned(source)) == len(_assigned(ganflow.schedule(ganflow.loads(other)).source))


def _assigned(source: str) -> set[str]:
    """The variables of a generated step."""
    names = (n for n in ast.walk(ast.parse(source)) if isinstance(n, ast.Name))
    return {n.id for n in names if isinstance(n.ctx, ast.Store)}


def foreign(graph: ganflow.StepGraph) -> set[str]:
    """What the generated source reads or calls that is neither its own, nor declared."""
    tree = ast.parse(graph.source)
    own = {a.arg for n in ast.walk(tree) if isinstance(n, ast.FunctionDef) for a in n.args.args}
    own |= {n.name for n in ast.walk(tree) if isinstance(n, ast.FunctionDef)}
    own |= {n.id for n in ast.walk(tree) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
    ops = {n.target for n in graph.nodes.values() if n.kind == "op"}
    read = {n.id for n in ast.walk(tree) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load)}
    allowed = own | ops | set(graph.networks) | HELPERS | {"detach"}
    called = {n.func.attr for n in ast.walk(tree) if isinstance(n, ast.Call) and isinstance(n.func, ast.Attribute)}
    paths = {part for n in graph.nodes.values() for part in n.path.split(".")}
    imports = {type(n).__name__ for n in ast.walk(tree) if isinstance(n, (ast.Import, ast.ImportFrom, ast.Global))}
    return (read - allowed) | (called - METHODS - paths) | imports


@pytest.mark.parametrize("program", sorted(CASES))
def test_the_generated_source_calls_what_was_declared(program: str) -> None:
    with known():
        declared = ganflow.load(TESTS / "zoo" / f"{program}.gin", CASES[program].gin(stateful=False))
        assert not foreign(ganflow.schedule(declared))
