"""Result folders joined into one page; folders that hold none are named."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from deft_llm import resources
from deft_llm.errors import UserError
from deft_llm.evaluation.benchmark import run
from deft_llm.evaluation.corpus_table.leaderboard import leaderboard

from .conftest import WriteCorpus

PUBLISHED = "{model: <MPFNet>, uf1: 0.9, data: 145 clips, selection: not stated, source: a paper}"


@pytest.fixture
def folders(tmp_path: Path, write: WriteCorpus, measured: list[str]) -> list[Path]:
    """CASME II by itself, and as the unseen one of three."""
    parts = {"casme2": "casme2", "samm": "samm", "smic": "smic_hs"}
    given = [
        f"corpora.{part}={write(reader, clips=6, seed=50 * i)}"
        for i, (part, reader) in enumerate(parts.items())
    ]
    common = [f"cache={tmp_path / 'cache'}", "workers=1", "models=[logistic_flow]", "schemes=[3]"]
    alone, others = tmp_path / "alone", tmp_path / "others"
    published = f"published={{'3': [{PUBLISHED}]}}"
    run(resources.benchmark("casme2"), [*common, given[0], f"output={alone}", published])
    changed = [f"output={others}", "protocol=cross_dataset", "published={}"]
    run(resources.benchmark("composite"), [*common, *given, *changed])
    return [alone, others]


def test_the_page(folders: list[Path]) -> None:
    page = leaderboard(folders)
    heads = re.findall(r"<h2>(.*?)</h2>", page)
    assert heads == [
        "CASME II, 3 classes: negative, positive, surprise",
        "CASME II, SAMM and SMIC-HS, 3 classes: negative, positive, surprise",
    ]
    assert page.count("<table>") == 3  # published numbers stand apart
    assert "&lt;MPFNet&gt;" in page and "<MPFNet>" not in page
    row = json.loads((folders[0] / "result.json").read_text())["tables"][0]["rows"][0]
    other = json.loads((folders[1] / "result.json").read_text())["tables"][0]["rows"][0]
    gap = row["UF1 casme2"] - other["UF1 casme2"]
    assert f'data-value="{gap}"' in page
    assert "http" not in page.replace("http-equiv", "")  # opens without a network


def test_what_a_table_left_out_stands_with_it_alone(
    tmp_path: Path, write: WriteCorpus, measured: list[str]
) -> None:
    common = [f"cache={tmp_path / 'cache'}", "workers=1", "models=[logistic_flow,svm_flow]"]
    given = [f"corpus={write('casme2')}", f"output={tmp_path / 'out'}"]
    run(resources.benchmark("casme2"), [*common, *given])
    three, five = leaderboard([tmp_path / "out"]).split("</section>")[:2]
    # svm_flow has no inner folds in either; "others" is a class of five alone.
    assert three.count("no row of svm_flow") == five.count("no row of svm_flow") == 1
    assert "an emotion that is no class" in three and "an emotion that is no class" not in five


def test_wrong_folders(tmp_path: Path, folders: list[Path]) -> None:
    with pytest.raises(UserError, match="no folder"):
        leaderboard([])
    with pytest.raises(UserError, match=r"nowhere/result\.json: no such file"):
        leaderboard([tmp_path / "nowhere"])
    (folders[0] / "result.json").write_text("[]")
    with pytest.raises(UserError, match="damaged"):
        leaderboard(folders)


def test_a_hold_out_set_need_not_test_every_corpus(tmp_path: Path, folders: list[Path]) -> None:
    held = tmp_path / "held"
    held.mkdir()
    result = json.loads((folders[1] / "result.json").read_text())
    result["protocol"] = "a hold-out set of 25% of the subjects"
    for row in (row for table in result["tables"] for row in table["rows"]):
        del row["UF1 smic_hs"]
    (held / "result.json").write_text(json.dumps(result))
    assert "a hold-out set of 25% of the subjects" in leaderboard([*folders, held])
