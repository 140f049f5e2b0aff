"""What ``train.py`` answers to wrong configurations."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from deft_llm.errors import UserError
from deft_llm.training import tasks

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("task: deff\n", ["'deff'", "did you mean 'deft'"]),
        ("output: runs/x\n", ["None", "expected one of deft"]),
        ("task: [deft]\n", ["['deft']", "expected one of deft"]),
        ("- task\n", ["list", "mapping"]),
        ("task: deft\noutputs: runs/x\n", ["'outputs'", "did you mean 'output'"]),
        ("task: deft\noutput: runs/x\ndata: {clipz: 3}\n", ["'data.clipz'", "'clips'"]),
        ("task: deft\noutput: runs/x\ndata: [{clipz: 3}]\n", ["'data.0.clipz'", "'clips'"]),
    ],
)
def test_wrong_configuration_is_named(tmp_path: Path, text: str, words: list[str]) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UserError) as caught:
        tasks.run(path)
    assert "\n" not in str(caught.value)
    for word in [str(path), *words]:
        assert word in str(caught.value)


def test_override_is_named(tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text("task: deft\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"data\.clips=100"):
        tasks.run(path, ["clips"])


def test_missing_file_in_a_process(tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "train.py"), str(tmp_path / "nowhere.yaml")]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=120)
    assert (done.returncode, done.stdout) == (2, "")
    assert len(done.stderr.splitlines()) == 1
    assert "nowhere.yaml" in done.stderr


@pytest.mark.parametrize(
    "path", sorted((ROOT / "train_configs").glob("*/*.yaml")), ids=lambda p: p.stem
)
def test_the_list_of_recipes_has_them_all(path: Path) -> None:
    text = (ROOT / "train_configs" / "README.md").read_text(encoding="utf-8")
    names = (f"`{path.parent.name}/{path.name}`", f"`{path.name}`", f"`{path.stem}`")
    assert any(name in text for name in names)
