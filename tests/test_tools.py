"""tools/setup-venv without an installation: what it says, what it leaves alone, when it has nothing to do.

A copy of the script works on a directory of its own; a stand-in for Python records how it was called.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

TOOLS = Path(__file__).resolve().parent.parent / "tools"

pytestmark = pytest.mark.skipif(os.name != "posix", reason="the tools are bash scripts")

# Runs checks on the real interpreter; makes an environment that holds only itself; `pip` is a line in a log.
STAND_IN = """#!/bin/bash
echo "$*" >>"{log}"
case "$*" in
  *sys.executable*) echo "$0" ;;
  *"-m venv "*) mkdir -p "${{@: -1}}/bin" && cp "$0" "${{@: -1}}/bin/python" ;;
  *"-m pip "*) sleep {pip_seconds}; exit {pip_status} ;;
  *) exec "{python}" "$@" ;;
esac
"""


def checkout(parent: Path, *, pip_status: int = 0, pip_seconds: float = 0) -> Path:
    """A repository with nothing in it but the tools, and the stand-in for Python beside them."""
    root = parent / "a checkout"  # a name with a space, as on many desktops
    shutil.copytree(TOOLS, root / "tools")
    (root / "setup.py").write_text("# none\n")
    stand_in(root, pip_status=pip_status, pip_seconds=pip_seconds)
    return root


def stand_in(root: Path, *, pip_status: int = 0, pip_seconds: float = 0) -> None:
    fields = {"log": root / "log", "python": sys.executable, "pip_status": pip_status}
    write_script(root / "python-stand-in", STAND_IN.format(**fields, pip_seconds=pip_seconds))


def write_script(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o755)


def environment(root: Path, **changes: str) -> dict[str, str]:
    return {**os.environ, "PYTHON": str(root / "python-stand-in"), **changes}


def set_up(root: Path, **changes: str) -> subprocess.CompletedProcess[str]:
    command = [str(root / "tools" / "setup-venv")]
    return subprocess.run(command, env=environment(root, **changes), capture_output=True, text=True)


def pip_calls(root: Path) -> int:
    return (root / "log").read_text().count("-m pip ")


def test_the_second_call_does_nothing(tmp_path: Path) -> None:
    root = checkout(tmp_path)
    assert set_up(root).returncode == 0
    assert pip_calls(root) == 2
    log = (root / "log").read_text()
    second = set_up(root)
    assert (second.returncode, second.stdout, second.stderr) == (0, "", "")
    assert (root / "log").read_text() == log, "no Python may be started when there is nothing to do"


def test_a_changed_setup_py_installs_again_in_place(tmp_path: Path) -> None:
    root = checkout(tmp_path)
    set_up(root)
    (root / ".venv" / "kept").touch()
    (root / "setup.py").write_text("# another\n")
    assert "has changed" in set_up(root).stderr
    assert pip_calls(root) == 4
    assert (root / ".venv" / "kept").exists()


def test_a_failed_set_up_is_done_again_from_the_beginning(tmp_path: Path) -> None:
    root = checkout(tmp_path, pip_status=1)
    failed = set_up(root)
    assert failed.returncode == 1
    assert "installing failed" in failed.stderr
    (root / ".venv" / "half").touch()
    stand_in(root)
    assert set_up(root).returncode == 0
    assert not (root / ".venv" / "half").exists()


def test_a_copied_checkout_makes_its_own(tmp_path: Path) -> None:
    root = checkout(tmp_path)
    set_up(root)
    copy = shutil.copytree(root, tmp_path / "copy")
    assert "first call" in set_up(copy).stderr


def test_of_two_first_calls_one_installs(tmp_path: Path) -> None:
    root = checkout(tmp_path, pip_seconds=0.5)
    command = [str(root / "tools" / "setup-venv")]
    calls = [subprocess.Popen(command, env=environment(root), stderr=subprocess.PIPE) for _ in range(2)]
    said = b"".join(call.communicate()[1] for call in calls)
    assert [call.returncode for call in calls] == [0, 0]
    assert said.count(b"waiting for it") == 1
    assert pip_calls(root) == 2


def test_an_environment_of_somebody_else_is_left_alone(tmp_path: Path) -> None:
    root = checkout(tmp_path)
    (root / ".venv").mkdir()
    (root / ".venv" / "theirs").touch()
    refused = set_up(root)
    assert refused.returncode == 1
    assert "move it away" in refused.stderr
    assert (root / ".venv" / "theirs").exists()


@pytest.mark.parametrize(
    "answers, message",
    [
        pytest.param('[[ $* != *"(3, 10)"* ]] && echo Python 3.9.1', "found Python 3.9.1 as ", id="old"),
        pytest.param("[[ $* != *ensurepip* ]]", "apt install python3-venv", id="without venv"),
        pytest.param("exit 127", "found none", id="missing"),
    ],
)
def test_an_unsuitable_python_is_explained(tmp_path: Path, answers: str, message: str) -> None:
    root = checkout(tmp_path)
    where = '[[ $* == *sys.executable* && $* != *version* ]] && { echo "$0"; exit; }\n'
    where = where if answers != "exit 127" else ""
    write_script(root / "python-stand-in", f"#!/bin/bash\n{where}{answers}\n")
    ran = set_up(root)
    assert ran.returncode == 1
    assert message in ran.stderr
    assert "PYTHON=" in ran.stderr
    assert not (root / ".venv").exists()


def test_the_caller_keeps_its_directory_and_arguments(tmp_path: Path) -> None:
    root = checkout(tmp_path)
    set_up(root)
    write_script(root / ".venv" / "bin" / "ganflow", '#!/bin/bash\npwd -P\nprintf "<%s>" "$@"\n')
    called = [str(root / "tools" / "ganflow"), "run", "a b.gin"]
    ran = subprocess.run(called, cwd=tmp_path, env=environment(root), capture_output=True, text=True)
    assert ran.stdout == f"{tmp_path.resolve()}\n<run><a b.gin>"
