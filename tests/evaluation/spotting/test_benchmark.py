"""The benchmark of spotting in its reduced form: measured videos without a rendered picture."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from deft_llm.clip import Expression, Interval
from deft_llm.config import load, read_yaml
from deft_llm.data import video_sources
from deft_llm.data.long_videos import LongVideoData, video_specs
from deft_llm.errors import UserError
from deft_llm.evaluation.bayes_rule import BayesRule
from deft_llm.evaluation.benchmark import run
from deft_llm.evaluation.spotting import benchmark, entries
from deft_llm.evaluation.spotting.benchmark import SpottingBenchmark, speech_of
from deft_llm.evaluation.spotting.ceiling import FIGURES as CEILING
from deft_llm.evaluation.spotting.ceiling import ceiling
from deft_llm.evaluation.spotting.scores import ScoredVideo, false_alarms, strong_only
from deft_llm.metrics.figures import Figure, report
from deft_llm.metrics.spotting import SpottedVideo, count_video
from deft_llm.spotters import softnet
from deft_llm.spotters.hysteresis import Thresholds
from deft_llm.spotters.mdmd import fit_share, mdmd, mdmd_curve
from deft_llm.spotters.registry import LoadedSpotter, make_spotter, save_spotter
from deft_llm.spotters.task import SpotterRecipe
from tests.evaluation.spotting.exact import exact_video, exact_videos, exact_windows

FILE = Path(__file__).parents[3] / "eval" / "benchmarks" / "spotting_simulated.yaml"
ENTRIES = ("me_tst_plus", "me_tst", "boosting_vrme")
TINY = [
    *("data.videos=4", "data.identities=2", "data.seconds=[20, 25]", "coding=null"),
    *("data.speech=1", "data.micro=12", "perfect_videos=10", "noise_minutes=2", "ceiling=300"),
]


@pytest.fixture
def spotters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Untrained spotters, and overrides that name them."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(video_sources, "simulated_videos", exact_videos)
    monkeypatch.setattr(entries, "search_returning", lambda path: (Expression(Interval(5, 9, 15)),))
    monkeypatch.setattr(entries, "film_video", lambda *_: None)
    monkeypatch.setattr(video_sources.VideoSource, "windows", lambda *_: exact_windows)
    monkeypatch.setattr(softnet, "MOST", 400)
    monkeypatch.setattr(softnet, "EMOTION_EPOCHS", 1)
    learning, recipe = ("mdmd", "softnet", "mean"), _small_recipe(tmp_path)
    changes = [f"entries.{name}.recipe={recipe}" for name in learning]
    for seed, name in enumerate(ENTRIES):
        torch.manual_seed(seed)
        network = make_spotter(name, {"width": 8, "depth": 1, "states": 4}).eval()
        folder = tmp_path / name
        folder.mkdir()
        save_spotter(LoadedSpotter(name, network, Thresholds(0.05, 0.5)), folder)
        changes.append(f"entries.{name}.spotter={folder}")
    return [*TINY, f"output={tmp_path / 'out'}", "data.workers=1", *changes]


def _small_recipe(folder: Path) -> Path:
    data = "{simulated: {videos: 3, identities: 3, seconds: [20, 20], micro: 12}}"
    text = f"task: spotting\noutput: x\ndata: {data}\nschedule: {{steps: 1, learning_rate: 0.1}}\n"
    (folder / "small.yaml").write_text(text)
    return folder / "small.yaml"


def _by_name(figures: list[Figure]) -> dict[str, Figure]:
    return {figure.name: figure for figure in figures}


def test_every_figure_of_the_file_is_measured(spotters: list[str], tmp_path: Path) -> None:
    figures, text = run(FILE, spotters)
    found = _by_name(figures)
    assert len(found) == len(figures)
    bars = read_yaml(FILE)["bars"]
    # Without the real coding, there is no replay to compare with.
    assert np.isnan(found["decoders_off"].value) and set(bars) <= set(found)
    report(figures, tmp_path / "figures.json")
    assert len(json.loads((tmp_path / "figures.json").read_text())) == len(figures)
    assert found["perfect_hysteresis_sd0"].reached
    assert found["noise_hysteresis_alarms_an_hour"].value == 0
    gain = found["me_tst_plus_own_gain_over_scalable"].value
    assert gain == pytest.approx(
        found["me_tst_plus_own_f1"].value - found["me_tst_plus_scalable_f1"].value
    )
    assert found["mdmd_f1"].value > 0, "exact motion is easy"
    assert found["softnet_f1"].value > 0 and found["mean_f1"].value > 0
    assert "| mdmd | own |" in text and "STRS 3 | STRS 4" in text
    assert (tmp_path / "out" / "found-mdmd.csv").is_file()


def test_a_replay_is_asked_for_by_the_file_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delenv("DEFT_DATA", raising=False)
    for changes in (["coding=null"], ["replayed={}"], []):
        caplog.clear()
        assert load(SpottingBenchmark, FILE, changes)._replayed() == {}
        assert ("set DEFT_DATA" in caplog.text) == (not changes)
    # A sheet that nothing is replayed on is not even opened.
    monkeypatch.setenv("DEFT_DATA", str(tmp_path))
    assert load(SpottingBenchmark, FILE, ["replayed={}"])._replayed() == {}


def test_what_was_searched_in_pictures_is_kept(
    spotters: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = load(SpottingBenchmark, FILE, spotters)
    first = entries.found_by_returning(settings.data, settings.output)
    assert first == [(Expression(Interval(5, 9, 15)),)] * 4
    monkeypatch.setattr(entries, "search_returning", None)
    assert entries.found_by_returning(settings.data, settings.output) == first


def test_a_missing_spotter_misses_its_bars(spotters: list[str]) -> None:
    figures, _ = run(FILE, [*spotters, "entries.me_tst_plus.spotter=nowhere"])
    found = _by_name(figures)
    assert not found["me_tst_plus_f1"].reached and "me_tst_f1" in found
    assert not found["me_tst_plus_gain_over_me_tst_low"].reached


def test_wrong_files_are_told_before_anything_is_rendered(monkeypatch: pytest.MonkeyPatch) -> None:
    def rendered(*_: object) -> None:
        raise AssertionError("rendered")

    monkeypatch.setattr(video_sources, "simulated_videos", rendered)
    for change, message in (
        ("data.first_identity=1000", "training videos of me_tst_plus and test videos share"),
        ("gains=[[me_tst_plus, me_tst], [me_tst_pls, me_tst]]", "no entry 'me_tst_pls'; did"),
        (
            "decoder_gains=[[scalable, fixed], [own, scalable], [own, sharp]]",
            "no decoder 'sharp'; expected some of own, fixed",
        ),
        ("entries.mdmd.recipe=null", "give the recipe that it was trained with"),
        ("entries.mdmd.spotter=x", "give one of spotter and method"),
        ("bars.me_tst_f2={least: 1}", "no figure 'me_tst_f2'"),
    ):
        with pytest.raises(UserError, match=message):
            run(FILE, [change])


def test_recipes_render_the_test_videos_of_the_benchmark() -> None:
    """And each other's training videos: rendering is what costs."""
    settings = load(SpottingBenchmark, FILE)
    recipes = [settings.entries[name].training() for name in ENTRIES]
    for recipe in recipes:
        assert recipe is not None and recipe.test is not None
        assert recipe.test.simulated == settings.data and recipe.cache == settings.cache
        assert recipe.data == recipes[0].data  # type: ignore[union-attr]
        assert settings.entries[recipe.spotter].spotter == recipe.output / "final"


def test_the_ceiling_is_where_emotions_differ_for_the_same_units() -> None:
    data = LongVideoData(videos=6, identities=2, seconds=(20, 20), micro=30)
    specs = list(video_specs(data))
    videos = [ScoredVideo(exact_video(spec)) for spec in specs]
    found = ceiling(videos, specs, 400)
    assert set(found) == set(CEILING)
    # Every interval is right, yet units do not tell the emotion, and of four classes less.
    assert 0.3 < found["strs_4"] < found["strs_3"] < 1
    # Were happiness all that moves AU 12, and nothing else shown, it would be 1.
    happy = [
        replace(spec, expressions=tuple(replace(e, emotion="happiness") for e in spec.expressions))
        for spec in specs
    ]
    known = BayesRule((each for spec in happy for each in spec.expressions), "three")
    assert {known(each.aus) for spec in happy for each in spec.expressions} == {"positive"}


def _expressions(*places: tuple[int, int, int]) -> tuple[Expression, ...]:
    return tuple(Expression(Interval(*place)) for place in places)


def test_weak_expressions_are_neither_to_be_found_nor_alarms() -> None:
    coded = _expressions((10, 15, 20), (50, 55, 60))
    found = _expressions((10, 15, 20), (51, 55, 60), (90, 95, 99))
    left = strong_only(SpottedVideo("s", "v", coded, found), (0.5, 2.0))
    assert left.coded == coded[1:] and left.found == found[1:]
    counts = count_video(left)
    assert (counts.hits, counts.false_alarms, counts.misses) == (1, 1, 0)
    unknown = strong_only(SpottedVideo("s", "v", coded, found), (float("nan"), 2.0))
    assert unknown.coded == coded and unknown.found == found


def test_alarms_count_where_their_apex_lies() -> None:
    data = LongVideoData(videos=2, identities=1, seconds=(20, 20), speech=0, micro=12)
    quiet, full = (exact_video(spec) for spec in video_specs(data))
    quiet = replace(quiet, coded=(), peaks=())
    assert full.coded
    videos = [ScoredVideo(quiet, ((5.0, 8.0), (7.0, 10.0))), ScoredVideo(full, ((0.0, 15.0),))]
    hit = full.coded[0].interval
    assert hit.offset / 30 < 15
    found = [
        _expressions((100, 110, 120), (200, 210, 220)),  # at rest, and in speech
        _expressions((hit.onset, hit.apex, hit.apex + 1)),  # of an expression: no alarm
    ]
    rates = false_alarms(videos, found)
    # Five seconds of the one, fifteen of the other; fifteen seconds are quiet.
    assert rates["false_alarms_speech"] == pytest.approx(1 / (20 / 60), rel=0.02)
    assert rates["false_alarms_without"] == pytest.approx(1 / (15 / 60), rel=0.02)


def test_speech_is_where_the_recipe_has_it() -> None:
    data = LongVideoData(videos=3, identities=1, seconds=(20, 20), speech=1)
    for spec in video_specs(data):
        spans = speech_of(spec)
        assert spans and spec.speaks
        assert ScoredVideo(exact_video(spec), spans).spoken.any()


def test_mdmd_finds_what_comes_and_goes() -> None:
    motion = np.zeros((36, 200), np.float32)
    motion[:12, 60:81] = np.hanning(21)  # comes and goes about frame 70
    motion[:, 140:] = 1.0  # stays
    curve = mdmd_curve(motion, 8)
    assert abs(int(np.argmax(curve)) - 70) <= 1
    (found,) = mdmd(motion, 8)
    assert (found.onset, found.offset) == (found.apex - 8, found.apex + 8)
    assert mdmd(motion[:, :10], 8) == []
    coded = [Expression(Interval(62, 70, 78))]
    assert 0 < fit_share([(motion, coded)], 8) < 1


def test_the_reading_of_recipes(tmp_path: Path) -> None:
    entry: Any = entries.SpottingEntry(method="mdmd", recipe=_small_recipe(tmp_path))
    recipe = entry.training()
    assert isinstance(recipe, SpotterRecipe) and recipe.data.simulated
    assert recipe.data.simulated.videos == 3
    assert entries.SpottingEntry(method="returning").training() is None
    assert benchmark.OWN == "own"
