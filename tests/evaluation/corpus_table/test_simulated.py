"""Simulated corpora in a benchmark: made once, kept apart from real ones, compared in pairs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from deft_llm import resources
from deft_llm.corpora import synthetic
from deft_llm.corpora.base import SIMULATED_MARK, load_corpus
from deft_llm.errors import UserError
from deft_llm.evaluation.benchmark import run
from deft_llm.evaluation.corpus_table.leaderboard import leaderboard
from tests.corpora.conftest import tiny

from .conftest import WriteCorpus

FILE = resources.benchmark("corpora_simulated")
FEW = ["simulate.casme2={subjects: 4, clips: 5}", "simulate.samm={subjects: 4, clips: 6, seed: 9}"]


def rendered(specs: list[Any], *_: object) -> Any:
    """Four pixels in place of a face."""
    return map(tiny, specs)


def options(tmp_path: Path, *more: str) -> list[str]:
    places = [f"output={tmp_path / 'out'}", f"cache={tmp_path / 'cache'}", "workers=1"]
    places.append(f"simulate_into={tmp_path / 'corpora'}")
    return [*places, *FEW, "folds=2", "models=[logistic_flow,bi_woof]", *more]


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch, measured: list[str]) -> list[str]:
    """The simulator, and measuring, without a face."""
    monkeypatch.setattr(synthetic, "render_many", rendered)
    return measured


def test_made_once_and_compared_in_pairs(tmp_path: Path, drawn: list[str]) -> None:
    bars = (
        "bars={logistic_flow_3_gain_over_bi_woof_low: {least: -1},"
        " bi_woof_3_gain_over_best_recognizer: {least: -0.02}}"
    )
    figures, text = run(FILE, options(tmp_path, bars))
    values = {figure.name: figure for figure in figures}
    assert text.startswith("# simulated CASME II and simulated SAMM: 2-fold")
    # The best is logistic regression itself, which sees where the patch of motion lies.
    low, gain = (values[f"bi_woof_3_gain_over_best_recognizer{end}"] for end in ("_low", ""))
    assert low.value <= gain.value <= 0 and gain.bar == -0.02
    one, other = values["bi_woof_3_uf1"].value, values["logistic_flow_3_uf1"].value
    assert gain.value == pytest.approx(one - other)
    assert values["logistic_flow_3_gain_over_bi_woof"].value == pytest.approx(other - one)
    assert "| gap to unseen corpus |" in text
    result = json.loads((tmp_path / "out" / "result.json").read_text())
    assert result["simulated"] and not result["tables"][0]["published"]
    # Each corpus was tested once by what learned from the other.
    across = list((tmp_path / "out" / "folds" / "unseen").glob("3/logistic_flow-*/*.jsonl"))
    assert len(across) == 2 and (tmp_path / "out" / "3" / "unseen" / "leaks.md").is_file()
    assert "minus UF1 of the same model" in (tmp_path / "out" / "protocol.md").read_text()
    gap = result["tables"][0]["rows"][0]["gap to unseen corpus"]
    assert f'data-value="{gap}"' in leaderboard([tmp_path / "out"])

    count, stamp = len(drawn), (tmp_path / "corpora").stat().st_mtime_ns
    again, _ = run(FILE, options(tmp_path, bars))
    assert [f.value for f in again] == [f.value for f in figures]
    assert len(drawn) == count and (tmp_path / "corpora").stat().st_mtime_ns == stamp


def test_a_corpus_that_was_half_rendered_is_begun_anew(
    tmp_path: Path, drawn: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(specs: list[Any], *_: object) -> Any:
        yield tiny(specs[0])
        raise KeyboardInterrupt

    monkeypatch.setattr(synthetic, "render_many", stopped)
    with pytest.raises(KeyboardInterrupt):
        run(FILE, options(tmp_path))
    monkeypatch.setattr(synthetic, "render_many", rendered)
    run(FILE, options(tmp_path, "unseen=false"))
    assert len(drawn) == 4 * 5 + 4 * 6


def test_no_table_takes_simulated_and_real_clips_together(
    tmp_path: Path, drawn: list[str], write: WriteCorpus
) -> None:
    with pytest.raises(UserError) as caught:
        run(FILE, options(tmp_path, f"corpora.samm={write('samm')}"))
    message = str(caught.value)
    assert "simulated (simulated.json is there), and" in message and "\n" not in message
    assert not drawn


def test_the_leaderboard_keeps_them_apart(
    tmp_path: Path, drawn: list[str], write: WriteCorpus
) -> None:
    folder = tmp_path / "rendered"
    synthetic.write_corpus("casme2", folder, subjects=2, clips=5)
    assert load_corpus("casme2", folder).simulated
    assert not load_corpus("casme2", write("casme2")).simulated
    common = [f"cache={tmp_path / 'cache'}", "workers=1", "models=[logistic_flow]", "schemes=[3]"]
    for name, corpus in (("one", folder), ("two", tmp_path / "as_unpacked_casme2")):
        given = [f"corpus={corpus}", f"output={tmp_path / name}"]
        run(resources.benchmark("casme2"), [*common, *given])
    page = leaderboard([tmp_path / "one", tmp_path / "two"])
    assert "simulated CASME II, 3 classes" in page and "<h2>CASME II, 3 classes" in page
    assert page.count("<h3>Published</h3>") == 1


def test_every_corpus_marks_what_the_simulator_wrote(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(synthetic, "render_many", rendered)
    synthetic.write_corpus("megc2019", tmp_path / "c", subjects=2, clips=3)
    marks = {p.parent.name for p in (tmp_path / "c").rglob(SIMULATED_MARK)}
    assert marks == {"c", "CASME2", "SAMM", "SMIC"}
