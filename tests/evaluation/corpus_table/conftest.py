"""Tiny corpora in their real layouts, whose features show the class instead of being measured."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from deft_llm.corpora.synthetic import write_corpus
from deft_llm.data import prepared
from deft_llm.data.features import Features
from deft_llm.data.prepared import MeasuringJob, PrepareSettings
from deft_llm.facs import EMOTIONS, THREE_CLASSES
from tests.corpora.conftest import tiny

WriteCorpus = Callable[..., Path]
_WORDS = (*EMOTIONS, *THREE_CLASSES)


@pytest.fixture
def measured(
    monkeypatch: pytest.MonkeyPatch, make_features: Callable[[int], Features]
) -> Iterator[list[str]]:
    """The clips that were measured: noise, with a patch of motion where the emotion says."""
    clips: list[str] = []

    def measure(job: MeasuringJob, settings: PrepareSettings) -> tuple[Features, tuple[str, ...]]:
        coding = job.entry.annotation
        clips.append(coding.clip)
        features = make_features(len(clips))
        row, column = divmod(_WORDS.index(coding.emotion or "others"), 4)
        features["flow"] *= 0.02
        features["flow"][:, :, 14 * row : 14 * row + 12, 14 * column : 14 * column + 12] += 3
        return features, ()

    monkeypatch.setattr(prepared, "_measure", measure)
    yield clips


@pytest.fixture
def write(tmp_path: Path) -> WriteCorpus:
    """``write("casme2", subjects=2, clips=5)`` -> its folder; pictures of 4 pixels."""

    def make(name: str, subjects: int = 2, clips: int = 5, seed: int = 0) -> Path:
        folder = tmp_path / f"as_unpacked_{name}"
        write_corpus(name, folder, subjects=subjects, clips=clips, seed=seed, renderer=tiny)
        return folder

    return make
