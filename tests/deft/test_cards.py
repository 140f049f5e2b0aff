"""The code in model cards runs word for word as it stands there."""

from __future__ import annotations

import os
import re
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from deft_llm import resources
from deft_llm.config import read_yaml, validate_settings
from deft_llm.deft.tuning.export import card
from deft_llm.deft.tuning.recipe import DeftRecipe
from deft_llm.deft.tuning.usage import usage

ROOT = Path(__file__).resolve().parents[2]
EMBEDDED = resources.checkpoint() / "README.md"


def snippet(text: str, folder: Path) -> Path:
    """The card's only Python code, as a file."""
    (code,) = re.findall(r"^```python\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    (folder / "snippet.py").write_text(code, encoding="utf-8")
    return folder / "snippet.py"


def test_the_embedded_card_runs_in_an_empty_folder(tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    environment = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    done = subprocess.run(
        [sys.executable, str(snippet(EMBEDDED.read_text(encoding="utf-8"), tmp_path))],
        env={**environment, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        cwd=empty,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "AU1 inner brow raiser" in done.stdout
    assert not list(empty.iterdir())


def test_the_embedded_card_says_what_exported_cards_say() -> None:
    said = EMBEDDED.read_text(encoding="utf-8")
    assert usage("resources.checkpoint()  # the folder of this card") in said


def test_a_card_tells_no_folders_of_the_machine(tmp_path: Path) -> None:
    # Relative paths of a recipe are found from above its run, and are whole paths by then.
    gone = "/home/me/models/small-chat"
    values = read_yaml(ROOT / "train_configs" / "deft" / "smoke.yaml")
    values = {**values, "experts_from": "/home/me/runs/first/final", "model": {}}
    values["text_model"] = {"name_or_path": gone}
    values.pop("task")
    said = card(validate_settings(DeftRecipe, values, "test"), tmp_path, [], adapters=False)
    assert "/home/me" not in said
    assert "experts_from: first/final" in said and "base_model: small-chat" in said
    values["text_model"] = {"name_or_path": "owner/small-chat"}
    said = card(validate_settings(DeftRecipe, values, "test"), tmp_path, [], adapters=False)
    assert "base_model: owner/small-chat" in said


def test_an_exported_card_runs_where_it_lies(
    tiny_checkpoint: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = tmp_path / "exported"
    shutil.copytree(tiny_checkpoint, folder)
    values = read_yaml(ROOT / "train_configs" / "deft" / "smoke.yaml")
    values.pop("task")
    recipe = validate_settings(DeftRecipe, values, "smoke.yaml")
    code = snippet(card(recipe, tmp_path, [], adapters=False), tmp_path)
    monkeypatch.chdir(folder)
    runpy.run_path(str(code))
    assert capsys.readouterr().out
    assert "```python" not in card(recipe, tmp_path, [], adapters=True)
