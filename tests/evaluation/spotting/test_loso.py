"""Leave one subject out on simulated videos in the layouts of corpora, without a picture."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deft_llm.config import load
from deft_llm.corpora.megc_spotting import read_spotting
from deft_llm.data import corpus_videos
from deft_llm.data.roi_tracking import RoiTrack
from deft_llm.errors import UserError
from deft_llm.evaluation.benchmark import run
from deft_llm.evaluation.spotting import loso
from deft_llm.evaluation.spotting.loso import SpottingLoso
from deft_llm.media.options import ReadOptions
from deft_llm.metrics.figures import report
from deft_llm.simulator.scene.video_drawing import Rates, draw_video
from deft_llm.simulator.scene.video_spec import VideoSpec
from deft_llm.spotters import softnet
from deft_llm.spotters.task import SpotterSettings, SpottingTask
from tests.corpora.written_videos import write_long_videos
from tests.evaluation.spotting.exact import exact_video, exact_windows

FOLDER = Path(__file__).parents[3] / "eval" / "benchmarks"
FILES = {"casme3": "spotting_casme3.yaml", "samm_long_videos": "spotting_samm_lv.yaml"}
SMALL = [
    "models=[me_tst_plus, mdmd, returning, mean]",
    "entries.me_tst_plus.recipe.model={width: 8, depth: 1, states: 4}",
    *("entries.me_tst_plus.recipe.frames=64", "entries.me_tst_plus.recipe.batch_size=4"),
    *("entries.me_tst_plus.recipe.held_out=0.5",),
    "entries.me_tst_plus.recipe.schedule={steps: 2, learning_rate: 0.01, log_every: 1}",
]


@dataclass
class Corpus:
    """A written corpus, and how often its videos were measured."""

    root: Path
    specs: dict[Path, VideoSpec]
    measured: list[Path]
    strides: set[int]


@pytest.fixture(params=FILES)
def corpus(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[str, Corpus]:
    """Three people with two videos each; the last video shows nothing."""
    name, rates = request.param, Rates(micro=14)
    specs = [draw_video(300 + k, k // 2, 12.0, without=k == 5, rates=rates) for k in range(6)]
    pixel = np.zeros((2, 2, 3), np.uint8)
    root = tmp_path / name
    written = write_long_videos(name, root, specs, lambda spec: iter([pixel] * spec.frames))
    made = Corpus(root, {each.folder: each.spec for each in written}, [], set())

    def track(folder: Path, options: ReadOptions, cache: Path) -> RoiTrack:
        made.measured.append(folder)
        made.strides.add(options.stride)
        return exact_video(made.specs[folder]).track

    monkeypatch.setattr(corpus_videos, "roi_track", track)
    monkeypatch.setattr(loso, "search_returning", lambda source, reading: ())
    monkeypatch.setattr(loso, "windows_of", exact_windows)
    monkeypatch.setattr(softnet, "MOST", 400)
    monkeypatch.setattr(softnet, "EMOTION_EPOCHS", 1)
    return name, made


def _changes(name: str, corpus: Corpus, out: Path) -> list[str]:
    return [f"corpus.root={corpus.root}", f"output={out}", f"cache={out / 'cache'}", *SMALL]


def test_a_fold_knows_nothing_of_its_subject(
    corpus: tuple[str, Corpus], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, made = corpus
    seen: list[tuple[set[str], int]] = []
    original = SpottingTask.__init__

    def noted(task: SpottingTask, network: Any, settings: SpotterSettings, videos: Any) -> None:
        original(task, network, settings, videos)
        seen.append(({video.subject for video in videos}, len(videos)))

    monkeypatch.setattr(SpottingTask, "__init__", noted)
    out = tmp_path / "out"
    figures, text = run(FOLDER / FILES[name], _changes(name, made, out))
    assert made.strides == {1 if name == "casme3" else 7}
    everybody = {subject for subjects, _ in seen for subject in subjects}
    # One fold a subject: four videos of two others.
    assert len(seen) == len(everybody) == 3
    assert {frozenset(everybody - subjects) for subjects, _ in seen} == {
        frozenset([subject]) for subject in everybody
    }
    assert {count for _, count in seen} == {4}
    report(figures, tmp_path / "figures.json")
    values = {figure.name: figure.value for figure in figures}
    assert values["mdmd_f1"] > 0.2 and values["returning_f1"] == 0
    assert values["mean_f1"] > 0.2 and values["mean_recognition_f1_4"] > 0, "it names emotions"
    assert np.isfinite(values["me_tst_plus_gain_over_mdmd_low"])
    assert "BoostingVRME replayed" in text and "F1 greedy | F1 soft | F1 strs | F1 one" in text
    # Every fold is kept: nothing is trained, and the same is found.
    seen.clear()
    again, _ = run(FOLDER / FILES[name], _changes(name, made, out))
    assert not seen
    assert [f.value for f in again] == pytest.approx([f.value for f in figures], nan_ok=True)
    # MEGC's table counts the images of the corpus, from 1.
    found = read_spotting(out / "found-mdmd.csv")
    last = max(each.interval.offset for rows in found.values() for each in rows)
    assert last < 12 * 30 * (1 if name == "casme3" else 7)
    assert last > 12 * 30 * (0.5 if name == "casme3" else 3.5)


def test_what_was_found_at_other_times_is_not_taken_over(
    corpus: tuple[str, Corpus], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rest is a median over seconds: at another rate the same motion makes other curves."""
    name, made = corpus
    changes = [*_changes(name, made, tmp_path / "out"), "models=[mdmd]"]
    run(FOLDER / FILES[name], changes)
    measured = corpus_videos.roi_track

    def faster(folder: Path, options: ReadOptions, cache: Path) -> RoiTrack:
        track = measured(folder, options, cache)
        return replace(track, timestamps=track.timestamps / 2)

    monkeypatch.setattr(corpus_videos, "roi_track", faster)
    run(FOLDER / FILES[name], changes)
    assert len(list((tmp_path / "out").glob("mdmd-*"))) == 2


def test_what_cannot_work_is_told_before_anything_is_measured(tmp_path: Path) -> None:
    for change, message in (
        ("corpus.root=nowhere", "nowhere"),
        ("entries.me_tst_plus.recipe.spotter=me_tst_pls", "did you mean 'me_tst_plus'"),
        ("entries.mdmd.recipe={schedule: {steps: 1, learning_rate: 1}}", "one of recipe and"),
        ("gains=[[me_tst_plus, sofnet]]", "no entry 'sofnet'"),
        ("models=[mdmdd]", "no entry 'mdmdd'; did you mean 'mdmd'"),
        ("corpus.name=casme2", "no sheet CASME2"),
    ):
        with pytest.raises(UserError, match=message):
            run(FOLDER / FILES["casme3"], [f"corpus.root={tmp_path}", change])


@pytest.mark.parametrize("name", FILES)
def test_files_are_of_small_networks(name: str) -> None:
    settings = load(SpottingLoso, FOLDER / FILES[name])
    for entry in settings.entries.values():
        if entry.recipe is not None:
            assert sum(p.numel() for p in entry.recipe.network().parameters()) < 1_000_000
    assert {each.entry for each in settings.published} >= {"ME-TST", "BoostingVRME replayed"}
