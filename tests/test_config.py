"""From gin text to an experiment: what is declared, where, and what is refused."""

from __future__ import annotations

import gin
import pytest

import ganflow

BASE = """
G/Network.module = @MLP()
D/Network.module = @MLP()
Network.optimizer = @Adam
Adam.lr = 1e-3
D/Adam.lr = 4e-4
MLP.in_features = 2
MLP.out_features = 1
fake = 'G(z)'
D/Update.minimize = 'bcel(D(fake), 0) + bcel(D(real), 1)'
G/Update.minimize = 'bcel(D(fake), 1)'
Schedule.updates = ['D', 'G']
"""


def test_scopes_become_networks_and_updates() -> None:
    e = ganflow.loads(BASE)
    assert list(e.networks) == ["G", "D"] and list(e.updates) == ["D", "G"] and e.schedule == (("D",), ("G",))
    assert e.networks["D"].optimizer.arguments["lr"] == 4e-4 and e.networks["G"].optimizer.arguments["lr"] == 1e-3


def test_overrides_win_and_two_experiments_do_not_mix() -> None:
    a, b = ganflow.loads(BASE), ganflow.loads(BASE, overrides=["Adam.lr = 5.0"])
    assert a.networks["G"].optimizer.arguments["lr"] == 1e-3
    assert b.networks["G"].optimizer.arguments["lr"] == 5.0
    assert not gin.config._CONFIG


@pytest.mark.parametrize(
    ("extra", "code", "line"),
    [
        ("G/Network.modul = @MLP()", "unknown-parameter", 13),
        ("x = @Nothing()", "unknown-configurable", 13),
        ("Nothing.x = 3", "unknown-configurable", 13),
        ("Schedule.updates = ['D', 'H']", "unknown-name", 13),
        ("D/Update.trains = ['E']", "unknown-name", 13),
        ("G/Network.module = 3", "type", 13),
        ("step = 3", "reserved-name", 13),
        ("x = = 3", "gin-syntax", 13),
        ("x = (1,", "gin-syntax", None),
        ("include 'nowhere.gin'", "missing-file", 13),
        ("import nowhere_at_all", "import", 13),
        ("D/Update.minimize = 3", "type", 13),
    ],
)
def test_wrong_files_are_refused_with_their_line(extra: str, code: str, line: int | None) -> None:
    with pytest.raises(ganflow.GanflowError) as error:
        ganflow.loads(BASE + extra + "\n")
    assert error.value.code == code
    assert line is None or (error.value.location is not None and error.value.location.line == line)


def test_an_unknown_name_has_a_caret_under_it() -> None:
    with pytest.raises(ganflow.GanflowError) as error:
        ganflow.schedule(ganflow.loads(BASE.replace("bcel(D(fake), 1)", "bcel(D(fke), 1) + men(real)")))
    assert "unknown" in str(error.value) and "^^^" in str(error.value) and error.value.location.line == 11
