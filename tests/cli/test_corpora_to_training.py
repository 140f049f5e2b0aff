"""Every corpus goes from its official files to a trained model, by the commands alone."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from deft_llm.corpora.base import CORPORA, load_class
from deft_llm.corpora.synthetic import write_corpus
from deft_llm.data import prepared
from deft_llm.data.features import Features
from deft_llm.data.prepared import MeasuringJob, PrepareSettings
from deft_llm.files import read_lines

from ..corpora.conftest import tiny
from .conftest import Result, Run

STEPS = ("experts.steps=1", "instruct.steps=2")


def commands(run: Run, name: str, listing: str) -> Result:
    """Check, prepare, build, validate and train in one folder; each has to succeed."""
    for arguments in (
        ("corpora", "check", "corpus", "--name", name),
        ("corpora", "prepare", "corpus", "--name", name, "--workers", "1"),
        ("instructions", "build", "data", "--corpora", listing, "--variants", "2"),
        ("instructions", "validate", "data"),
        ("train", "deft/smoke", "data=[]", "folders=[data]", "output=run", *STEPS),
    ):
        result = run(*arguments)
        assert result.status == 0, result.err
        assert "dropped" not in result.out and "Traceback" not in result.err
    return result


def test_casme2_trains(
    run: Run,
    here: Path,
    monkeypatch: pytest.MonkeyPatch,
    make_features: Callable[[int], Features],
) -> None:
    """With repression, which is a class of the model; pictures and measurement are left out."""

    def measure(job: MeasuringJob, settings: PrepareSettings) -> tuple[Features, str]:
        return make_features(job.start), "ok"

    monkeypatch.setattr(prepared, "_measure", measure)
    write_corpus("casme2", here / "corpus", subjects=1, clips=2, renderer=tiny)
    commands(run, "casme2", "cache/casme2.jsonl")
    assert "repression" in {row["emotion"] for row in read_lines(here / "data" / "clips.jsonl")}
    config = json.loads((here / "run" / "final" / "config.json").read_text(encoding="utf-8"))
    assert "repression" in config["emotions"]


@pytest.mark.slow
@pytest.mark.parametrize("name", CORPORA)
def test_every_corpus_trains(run: Run, here: Path, name: str) -> None:
    made = run("corpora", "simulate", "corpus", "--name", name, "--subjects", "3", "--clips", "2")
    assert made.status == 0, made.err
    commands(run, name, f"cache/simulated_{name}.jsonl")
    rows = list(read_lines(here / "data" / "clips.jsonl"))
    assert len(rows) >= 5  # a face may be missed
    assert {row["emotion"] for row in rows} <= set(load_class(name).emotions.values()) | {
        *("happiness", "disgust", "repression", "anger", "contempt"),  # of MEGC 2019's parts
    }
    # No label is answered with "none" because nobody coded AUs.
    if name.startswith("smic"):
        answers = {
            turn["value"]
            for row in read_lines(here / "data" / "train.jsonl")
            for kind, turn in zip(row["kinds"], row["conversations"][1::2], strict=True)
            if kind in ("class", "emotion")
        }
        assert answers <= {"negative", "positive", "surprise", "none"} and answers != {"none"}
