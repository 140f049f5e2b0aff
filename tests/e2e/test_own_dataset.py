"""docs/own_dataset.md, command by command as it is written, on simulated corpora."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from deft_llm.corpora.synthetic import write_corpus

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "own_dataset.md"
#: Corpora of the page -> reader, and the number of people before the first.
CORPORA = {"CASME2": ("casme2", 0), "SAMM": ("samm", 100), "SMIC": ("smic_hs", 200)}
CORPORA |= {"MMEW": ("mmew", 300)}
#: What makes a command short, by its beginning.
SHORT = {
    ("eval", "leaderboard"): [],
    ("eval",): ["seeds=1"],
    ("train",): [
        *("experts.steps=1", "experts.batch_size=4"),
        *("instruct.steps=1", "instruct.batch_size=2"),
    ],
}


def commands() -> list[str]:
    """The commands of the page, one line each."""
    blocks = re.findall(r"^```\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.S | re.M)
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    return [line.removeprefix("deft-llm ") for line in lines if line.startswith("deft-llm ")]


def whole(lines: list[str]) -> list[str]:
    """The commands with those that the page says are made for the other folds too."""
    found: list[str] = []
    folds: list[str] = []
    for line in lines:
        if "fold1" in line or "test1" in line:
            folds.append(line)
        elif folds:
            found += [of_fold(each, k) for k in (2, 3) for each in folds]
            folds = []
        found.append(line)
    return found


def of_fold(line: str, k: int) -> str:
    """A command about the first of three folds, about another."""
    return re.sub(r"\b(fold|test|tuned)1\b", rf"\g<1>{k}", line).replace("1/3", f"{k}/3")


def arguments(line: str) -> list[str]:
    """A command as it is run: folders that exist, and shorter."""
    for title in CORPORA:
        line = line.replace(f"/data/{title}", f"data/{title}")
    line = re.sub(r"\bDIR\b", "data/CASME2", line).replace("--simulated 1000", "--simulated 4")
    line = line.replace("cache/casme2.jsonl", "cache/simulated_casme2.jsonl")
    words = shlex.split(line, comments=True)
    for start, more in SHORT.items():
        if tuple(words[: len(start)]) == start:
            return [*words, *more]
    return words


@pytest.mark.slow
def test_the_page_walked(tmp_path: Path) -> None:
    for title, (reader, seed) in CORPORA.items():
        folder = tmp_path / "data" / title
        write_corpus(reader, folder, subjects=3, clips=5, seed=seed, workers=2)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    for line in whole(commands()):
        words = arguments(line)
        done = subprocess.run(
            [sys.executable, "-m", "deft_llm", *words],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        said = f"deft-llm {' '.join(words)}\n{done.stdout}\n{done.stderr[-3000:]}"
        assert done.returncode == 0 and "Traceback" not in done.stderr, said
        assert "no row of" not in done.stdout, said
    result = json.loads((tmp_path / "runs/benchmarks/casme2_folds/result.json").read_text())
    models = {row["model"] for row in result["tables"][0]["rows"]}
    assert models == {"logistic_flow", "deft", "deft_lora", "deft_tuned"}
    assert result["simulated"] and result["title"] == "simulated CASME II"
    page = (tmp_path / "leaderboard.html").read_text(encoding="utf-8")
    assert "simulated CASME II" in page and "<h3>Published</h3>" not in page
    units = (tmp_path / "runs/benchmarks/cd6me/table.md").read_text(encoding="utf-8")
    assert "simulated clips" in units.splitlines()[0] and "## Published" not in units


def test_every_command_of_the_page_is_found() -> None:
    lines = commands()
    assert sum(line.startswith("eval") for line in lines) >= 8
    doubled = whole(lines)
    assert "train deft/own_data folders=[runs/fold3] output=runs/tuned3" in doubled
    assert any("runs/test2 --corpora cache/casme2.jsonl --fold 2/3 --tested" in x for x in doubled)
