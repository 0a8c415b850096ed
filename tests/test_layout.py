"""The house rules: who may import whom, how long a file may be, what lies at the top of the repository."""

from __future__ import annotations

import ast
import os
import re
import runpy
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "ganflow"

# A module or subpackage of ganflow imports from its own layer or lower ones, without cycles.
LAYERS = {
    "errors": 0,
    "version": 0,
    "expr": 1,
    "parsing": 1,
    "experiment": 1,
    "palette": 1,
    "quantities": 1,
    "webpage": 1,
    "nodes": 2,
    "graph": 2,
    "scheduler": 3,
    "names": 3,
    "scopes": 3,
    "signatures": 3,
    "reader": 3,
    "arithmetic": 3,
    "chains": 3,
    "measuring": 3,
    "nodetable": 3,
    "unrolling": 3,
    "resolve": 3,
    "declare": 3,
    "declared": 3,
    "stages": 3,
    "actions": 3,
    "freeing": 3,
    "printing": 3,
    "lines": 3,
    "writing": 3,
    "verify": 3,
    "json_view": 3,
    "modes": 3,
    "reach": 3,
    "terms": 3,
    "reuse": 3,
    "checks": 3,
    "paths": 3,
    "habits": 3,
    "games": 3,
    "judges": 3,
    "judged": 3,
    "domains": 3,
    "penalties": 3,
    "cuts": 3,
    "codegen": 3,
    "views": 3,
    "pictures": 3,
    "plan_text": 3,
    "diff": 3,
    "board_layout": 3,
    "draws": 3,
    "nn": 3,
    "losses": 3,
    "ops": 3,
    "shapes": 3,
    "metrics": 3,
    "meta": 3,
    "data": 3,
    "files": 3,
    "images": 3,
    "preview": 4,
    "randomness": 4,
    "follow": 4,
    "unroll": 4,
    "parts": 4,
    "sharing": 4,
    "entry": 4,
    "lazy": 4,
    "assembly": 4,
    "running": 4,
    "step": 4,
    "spending": 4,
    "cost": 4,
    "traits": 4,
    "ranges": 4,
    "evaluate": 4,
    "gradcut": 4,
    "gradients": 4,
    "cutnorms": 4,
    "shares": 4,
    "matrix": 4,
    "findings": 4,
    "keeping": 4,
    "probe": 4,
    "protos": 4,
    "eventfiles": 4,
    "events": 4,
    "rundir": 4,
    "logs": 4,
    "codec": 4,
    "closure": 4,
    "rewind": 4,
    "averages": 4,
    "guard": 4,
    "nonfinite": 5,
    "births": 5,
    "rescue": 5,
    "memory": 5,
    "replay": 6,
    "checkpoint": 4,
    "snapshots": 4,
    "store": 4,
    "components": 4,
    "ginfile": 4,
    "build": 4,
    "bindings": 5,
    "optable": 5,
    "config": 5,
    "settings": 5,
    "unused": 5,
    "inspection": 5,
    "modules": 5,
    "inside": 5,
    "rates": 5,
    "validation": 5,
    "board": 5,
    "display": 5,
    "termgrads": 5,
    "parameters": 5,
    "presenting": 5,
    "histograms": 5,
    "health": 5,
    "diagnosis": 3,
    "watch": 5,
    "loop": 5,
    "sides": 5,
    "signals": 5,
    "saving": 5,
    "resume": 5,
    "verify_resume": 6,
    "determinism": 5,
    "trainer": 5,
    "profile": 6,
    "sampling": 6,
    "datasets": 6,
    "report": 6,
    "ablation": 6,
    "cli": 7,
    "__init__": 8,
    "__main__": 8,
}

# `print(graph)` and `graph.source`: a graph shows itself, by methods that import what does it when called.
# What is shown of a conditional step is planned when it is shown.
ON_CALL = {("graph", "views"), ("graph", "plan_text"), ("graph", "codegen"), ("codegen", "scheduler")}
ON_CALL |= {("views", "codegen")}

# The compiler: text in, text out. It imports nothing of ganflow but itself, so torch and gin stay out.
COMPILER = {"errors", "expr", "parsing", "experiment", "graph", "names", "scopes", "signatures", "resolve", "terms"}
COMPILER |= {"modes", "reuse", "scheduler", "checks", "codegen", "views", "plan_text", "nodes", "reader", "unrolling"}
COMPILER |= {"declare", "declared", "stages", "actions", "freeing", "printing", "writing", "verify", "json_view"}
COMPILER |= {"reach", "diff", "arithmetic", "chains", "measuring", "nodetable", "palette", "pictures", "board_layout"}
COMPILER |= {"paths", "habits", "games", "judges", "judged", "domains", "penalties", "quantities", "cuts", "lines"}
COMPILER |= {"webpage"}
HEAVY = {"torch", "torchmetrics", "gin"}

# What gin files name: plain Python and torch, usable without gin and without an experiment.
PLAIN = {"nn", "losses", "ops", "shapes", "metrics", "data"}

TOP_LEVEL = {"ganflow", "experiments", "tests", "tools", "docs"}
TOP_LEVEL |= {"setup.py", "README.md", "LICENSE", "CHANGELOG.md"}
BUILT = {"build", "dist", "runs", "__pycache__"}

MAX_MODULE_LINES = 400
MAX_FUNCTION_LINES = 60


def modules() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def unit(path: Path) -> str:
    """The key of ``path`` in LAYERS: ``ganflow/nn/unet.py`` belongs to ``nn``."""
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def where(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def dotted_imports(path: Path) -> Iterator[tuple[ast.stmt, str]]:
    """Statement and full name of all that ``path`` imports: ``from . import nn`` is ``ganflow.nn``."""
    package = path.relative_to(ROOT).parent.parts
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node, alias.name
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else ()
            base = [*above, *([node.module] if node.module else [])]
            for alias in node.names:
                yield node, ".".join([*base, alias.name])


def inside(name: str) -> str:
    """The unit that a full name starting with ``ganflow`` belongs to; what the package itself exports is
    ``__init__``."""
    first = (name.split(".") + ["__init__"])[1]
    exists = (PACKAGE / first).is_dir() or (PACKAGE / f"{first}.py").is_file()
    return first if exists or first in LAYERS else "__init__"


@cache
def imports() -> list[tuple[str, str, str, bool]]:
    """(place, importing unit, imported name or unit, is it ours) for each import but ON_CALL."""
    found = []
    for path in modules():
        for node, name in dotted_imports(path):
            ours = name.split(".")[0] == "ganflow"
            target = inside(name) if ours else name.split(".")[0]
            if node.col_offset == 0 or (unit(path), target) not in ON_CALL:
                found.append((f"{where(path)}:{node.lineno}", unit(path), target, ours))
    return found


def tracked_files() -> list[Path]:
    """Files that are, or would be, in the repository: what git ignores is left out."""
    command = ["git", "-C", str(ROOT), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        listed = subprocess.run(command, capture_output=True, check=True, text=True).stdout
    except (OSError, subprocess.CalledProcessError):  # no git, or a source archive
        return [p for p in ROOT.rglob("*") if p.is_file() and not ignored(p.relative_to(ROOT).parts)]
    return [ROOT / name for name in listed.split("\0") if name and (ROOT / name).is_file()]


def ignored(parts: tuple[str, ...]) -> bool:
    return any(p in BUILT or p.startswith(".") or p.endswith(".egg-info") for p in parts)


def test_every_module_has_a_layer() -> None:
    unknown = sorted({unit(path) for path in modules()} - LAYERS.keys())
    assert not unknown, f"give {unknown} a layer: add them to LAYERS in tests/test_layout.py"


def test_imports_go_down() -> None:
    wrong = [
        f"{place}: {source} (layer {LAYERS[source]}) imports {target} (layer {LAYERS[target]})"
        for place, source, target, ours in imports()
        if ours and source in LAYERS and target in LAYERS and LAYERS[target] > LAYERS[source]
    ]
    assert not wrong, "\n".join(wrong)


def test_imports_make_no_cycle() -> None:
    needs: dict[str, set[str]] = {}
    for _, source, target, ours in imports():
        if ours and source != target:
            needs.setdefault(source, set()).add(target)
    try:
        TopologicalSorter(needs).prepare()
    except CycleError as error:
        pytest.fail("modules import one another: " + " <- ".join(error.args[1]))


def test_the_compiler_stays_without_torch_and_gin() -> None:
    wrong = [
        f"{place}: {source} imports {target}"
        for place, source, target, ours in imports()
        if source in COMPILER and (target not in COMPILER if ours else target in HEAVY)
    ]
    assert not wrong, "\n".join(wrong)


def test_importing_the_compiler_imports_neither_torch_nor_gin() -> None:
    """The same for what really happens, ganflow/__init__.py included."""
    names = [f"ganflow.{name}" for name in sorted(COMPILER) if any(unit(p) == name for p in modules())]
    code = f"import sys, {', '.join(names)}; print(*sorted({HEAVY!r} & sys.modules.keys()))"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert (ran.returncode, ran.stderr, ran.stdout.strip()) == (0, "", "")


def test_what_gin_files_name_is_plain() -> None:
    wrong = [
        f"{place}: {source} imports {target}"
        for place, source, target, ours in imports()
        if source in PLAIN and (target in COMPILER - {"errors"} if ours else target == "gin")
    ]
    assert not wrong, "\n".join(wrong)


def code_files() -> list[Path]:
    scripts = [path for path in (ROOT / "tools").rglob("*") if path.is_file() and path.suffix != ".txt"]
    return [*modules(), *(path for path in scripts if path.suffix != ".pyc")]


def test_no_module_is_long() -> None:
    sizes = {where(path): len(path.read_text(encoding="utf-8").splitlines()) for path in code_files()}
    assert not {name: size for name, size in sizes.items() if size > MAX_MODULE_LINES}


def test_no_function_is_long() -> None:
    functions = (
        (f"{where(path)}:{node.lineno} {node.name}", (node.end_lineno or 0) - node.lineno + 1)
        for path in code_files()
        if path.suffix == ".py"
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    )
    assert not {name: size for name, size in functions if size > MAX_FUNCTION_LINES}


def test_the_top_level_holds_only_what_belongs_there() -> None:
    found = {path.relative_to(ROOT).parts[0] for path in tracked_files()}
    assert not {name for name in found if name not in TOP_LEVEL and not name.startswith(".")}


@pytest.mark.parametrize(
    "pattern",
    [
        pytest.param(r"\b(TO" + r"DO|FIX" + r"ME)\b", id="unfinished"),
        pytest.param(r"(?<![\w./-])/(work|root|home/\w+)/", id="path of one machine"),
    ],
)
def test_no_file_contains(pattern: str) -> None:
    found = []
    for path in tracked_files():
        text = path.read_bytes().decode("utf-8", errors="replace")
        if "\0" not in text:
            hits = (number for number, line in enumerate(text.splitlines(), 1) if re.search(pattern, line))
            found += [f"{where(path)}:{number}" for number in hits]
    assert not found


def test_every_requirement_is_pinned(monkeypatch: pytest.MonkeyPatch) -> None:
    """A dependency without a line in constraints.txt would be a different version on another day."""
    given: dict[str, object] = {}
    monkeypatch.setattr("setuptools.setup", lambda **keywords: given.update(keywords))
    runpy.run_path(str(ROOT / "setup.py"))
    wanted = [*given["install_requires"], *(r for rs in given["extras_require"].values() for r in rs)]
    lines = (ROOT / "tools" / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pinned = {distribution(line) for line in lines if "==" in line}
    assert {distribution(requirement) for requirement in wanted} <= pinned


def distribution(requirement: str) -> str:
    """The normalized name: ``basemap_data==2.0.0`` is about ``basemap-data``."""
    return re.sub(r"[-_.]+", "-", re.split(r"[^\w.-]", requirement, maxsplit=1)[0]).lower()
