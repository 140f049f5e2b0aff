"""Instruction data per fold: the benchmark's folds, and nothing of a test fold in training."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from itertools import count
from pathlib import Path

import pytest

from deft_llm.corpora.synthetic import write_corpus
from deft_llm.data import prepared
from deft_llm.data.features import Features
from deft_llm.data.prepared import MeasuringJob, PrepareSettings
from deft_llm.files import read_lines

from ..corpora.conftest import tiny
from .conftest import Run

LISTING = "cache/casme2.jsonl"


@pytest.fixture
def corpus(
    run: Run,
    here: Path,
    monkeypatch: pytest.MonkeyPatch,
    make_features: Callable[[int], Features],
) -> Path:
    """Three subjects, prepared; every clip has other pixels."""
    numbers = count()

    def measure(job: MeasuringJob, settings: PrepareSettings) -> tuple[Features, tuple[str, ...]]:
        return make_features(next(numbers)), ()

    monkeypatch.setattr(prepared, "_measure", measure)
    write_corpus("casme2", here / "corpus", subjects=3, clips=5, renderer=tiny)
    done = run("corpora", "prepare", "corpus", "--name", "casme2", "--workers", "1")
    assert done.status == 0 and f"listed in {LISTING}" in done.out
    return here / "corpus"


def subjects(folder: Path) -> set[str]:
    return {row["subject"] for row in read_lines(folder / "clips.jsonl")}


def test_a_build_from_what_cannot_be_is_refused(run: Run, here: Path) -> None:
    some = ("instructions", "build", "out", "--simulated", "2")
    for wrong, words in (
        (("--fold", "1/3"), "--fold divides the subjects of --corpora"),
        (("--balanced-share", "3"), "balanced_share: input should be less than or equal to 1"),
        (("--variants", "0"), "'--variants': 0 is not in the range"),
        (("--turns", "0"), "'--turns': 0 is not in the range"),
        (("--workers", "-3"), "'--workers': -3 is not in the range"),
    ):
        done = run(*some, *wrong)
        assert done.status == 2 and words in " ".join(done.err.split())
    assert not (here / "out").exists()


def test_folds_of_data_are_those_of_the_table(
    run: Run, here: Path, corpus: Path, tiny_checkpoint: Path
) -> None:
    for k in (1, 2, 3):
        of = ("--corpora", LISTING, "--fold", f"{k}/3", "--variants", "1")
        assert run("instructions", "build", f"fold{k}", *of).status == 0
        assert run("instructions", "build", f"test{k}", *of, "--tested").status == 0
        trained, tested = subjects(here / f"fold{k}"), subjects(here / f"test{k}")
        assert len(trained) == 2 and len(tested) == 1 and not trained & tested
        assert run("instructions", "audit", f"fold{k}", f"test{k}").status == 0
        (here / f"tuned{k}").symlink_to(tiny_checkpoint)
    table = (
        *("eval", "casme2", "corpus=corpus", "protocol=kfold", "folds=3", "schemes=[3]"),
        *("models=[deft_tuned]", "entries.deft_tuned.options.checkpoint=tuned{fold}", "workers=1"),
    )
    done = run(*table, "entries.deft_tuned.learned_from=fold{fold}")
    assert done.status == 0 and "| deft_tuned |" in done.out
    # A checkpoint that has seen its test fold gets no row, and the reason is one line.
    leaked = run(*table, "entries.deft_tuned.learned_from=test{fold}", "output=leaked")
    assert leaked.status == 2 and "Traceback" not in leaked.err
    assert "instruction data and test set share subject" in leaked.err


def test_data_follow_the_corpus_when_it_is_prepared_again(
    run: Run, here: Path, corpus: Path
) -> None:
    build = ("instructions", "build", "data", "--corpora", LISTING, "--variants", "1")
    assert "about 15 clips of 3 subjects" in run(*build).out
    shutil.rmtree(corpus / "CASME2_RAW_selected" / "sub03")
    assert run("corpora", "prepare", "corpus", "--name", "casme2", "--workers", "1").status == 0
    assert "about 10 clips of 2 subjects" in run(*build).out
    assert len(subjects(here / "data")) == 2
    assert run("instructions", "validate", "data").status == 0


def test_wrong_folds_are_said(run: Run, corpus: Path) -> None:
    for words, said in (
        (("--corpora", LISTING, "--fold", "0/3"), "fold '0/3': expected i/n"),
        (("--corpora", LISTING, "--fold", "1/4"), "4 folds of 3 subjects"),
        (("--corpora", LISTING, "--tested"), "--tested is for --fold i/n"),
        (("--corpora", LISTING, "--fold", "1/3", "--tested", "--simulated", "4"), "--tested is"),
    ):
        found = run("instructions", "build", "data", *words)
        assert found.status == 2 and said in found.err and "Traceback" not in found.err
