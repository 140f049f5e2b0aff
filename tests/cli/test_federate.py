"""``deft-llm federate``: a recipe in place of a command, and one line for what is wrong."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from deft_llm.data.features import Features
from tests.cli.conftest import Run
from tests.recognizers.conftest import write_folder


@pytest.fixture
def recipe(here: Path, make_features: Callable[[int], Features]) -> Path:
    values = {
        "task": "federated",
        "output": "out",
        "recognizer": "ststnet",
        "rules": ["local", "fedavg"],
        "rounds": 1,
        "sites": {n: str(write_folder(here / n, make_features, n)) for n in "ab"},
        "local": {"epochs": 1, "batch_size": 4},
    }
    path = here / "recipe.yaml"
    path.write_text(yaml.safe_dump(values), encoding="utf-8")
    return path


def test_a_recipe_is_run(run: Run, here: Path, recipe: Path) -> None:
    done = run("federate", recipe)
    assert done.status == 0
    assert "| fedavg |" in done.out and "written   out" in done.out
    assert "fedavg 1/1 · UF1" in done.err and "site a: train" in done.err
    assert (here / "out" / "fedavg" / "final" / "b" / "model.safetensors").is_file()


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (("nothing.yaml",), "no such file"),
        (("server", "recipe.yaml", "--rule", "local"), "expected one that exchanges weights"),
        (("client", "recipe.yaml", "--site", "a", "--rule", "x"), "rule 'x'"),
        (("server", "federated/psyau"), "simulated sites have no machines"),
    ],
)
def test_what_is_wrong_is_one_line(
    run: Run, recipe: Path, command: tuple[str, ...], words: str
) -> None:
    done = run("federate", *command)
    assert done.status == 2 and words in done.err
    assert len(done.err.splitlines()) == 1


@pytest.mark.parametrize("command", ["server", "client", "certificates"])
def test_without_flower_it_is_told(
    run: Run, recipe: Path, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    _hide_flower(monkeypatch)
    more = () if command == "certificates" else (recipe,)
    site = ("--site", "a") if command == "client" else ()
    done = run("federate", command, *more, *site)
    assert done.status == 2
    assert 'pip install "deft-llm[federated]"' in done.err and len(done.err.splitlines()) == 1


def test_without_flower_no_rule_is_trained_before_it_is_told(
    run: Run, here: Path, recipe: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _hide_flower(monkeypatch)
    done = run("federate", recipe, "engine=simulation")
    assert done.status == 2 and len(done.err.splitlines()) == 1
    assert "this engine needs the extra federated" in done.err and not (here / "out").exists()
    # Rules that exchange nothing run without an engine.
    assert run("federate", recipe, "engine=simulation", "rules=[local]").status == 0


def _hide_flower(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(sys.modules):
        if name == "flwr" or name.startswith("flwr."):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr("deft_llm.federated.flower.find_spec", lambda package: None)
