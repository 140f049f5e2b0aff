"""Training of spotters: what is held out, what is stored, and that it learns."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from deft_llm.config import read_recipe, read_yaml
from deft_llm.data import video_sources
from deft_llm.data.long_videos import CodedVideo
from deft_llm.errors import UserError
from deft_llm.metrics.spot_then_recognize import score_videos
from deft_llm.spotters import task
from deft_llm.spotters.registry import load_spotter
from deft_llm.spotters.task import SpotterRecipe, SpotterSettings, SpottingTask, spot_videos, train
from deft_llm.training.loop import fit
from deft_llm.training.schedule import Schedule
from deft_llm.training.tasks import run
from tests.spotters.conftest import FPS, made_video

SMOKE = Path(__file__).parents[2] / "train_configs" / "spotters" / "smoke.yaml"
TINY = {"width": 8, "depth": 1, "states": 4}


def _settings(steps: int = 2, **changes: Any) -> SpotterSettings:
    schedule = Schedule(steps=steps, learning_rate=1e-2, log_every=1, save_every=1)
    values = {"model": TINY, "frames": 64, "batch_size": 4, **changes}
    return SpotterSettings(schedule=schedule, **values)


def _recipe(tmp_path: Path, **changes: Any) -> dict[str, Any]:
    simulated = {"videos": 2, "identities": 2}
    return {
        **_settings().model_dump(),
        "output": tmp_path / "run",
        "data": {"simulated": simulated},
        "cache": tmp_path / "videos",
        **changes,
    }


def test_held_out_subjects_are_not_learned_from(videos: list[CodedVideo]) -> None:
    settings = _settings()
    made = SpottingTask(settings.network(), settings, videos)
    held = {video.subject for video in made.held}
    assert held and len(held) < 4
    learned = [curves.tobytes() for curves in made.segments.curves]
    others = [v for v in videos if v.subject not in held]
    assert learned == [video.curves(18).tobytes() for video in others]


def test_batches_depend_on_their_number_alone(videos: list[CodedVideo]) -> None:
    settings = _settings()
    one, other = (SpottingTask(settings.network(), settings, videos) for _ in range(2))
    one.batch(0)
    for name, values in one.batch(3).items():
        assert torch.equal(values, other.batch(3)[name])
    assert not torch.equal(one.batch(3)["curves"], one.batch(4)["curves"])


def test_it_learns_and_stores_calibrated_thresholds(
    videos: list[CodedVideo], tmp_path: Path
) -> None:
    torch.manual_seed(0)
    settings = _settings(60, spotter="boosting_vrme", positives=0.7)
    made = SpottingTask(settings.network(), settings, videos)
    final = fit(made, settings.schedule, tmp_path, cpu=True)
    spotter = load_spotter(final)
    assert spotter.thresholds == made.thresholds
    lengths = sorted(e.interval.offset - e.interval.onset for v in videos for e in v.coded)
    assert spotter.half == (lengths[len(lengths) // 2] + 1) // 2
    fresh = [made_video(50 + k, k, every=0 if k == 2 else 100) for k in range(4)]
    scores = score_videos(spot_videos(spotter, fresh), ("4",))
    assert scores["f1"] > 0.8 and scores["false_alarms_a_minute"] < 1


def test_windows_are_read_as_they_were_learned(videos: list[CodedVideo]) -> None:
    settings = _settings(frames=30, windowed=True)
    made = SpottingTask(settings.network(), settings, videos)
    assert made.spotter.window == 30
    with pytest.raises(ValueError, match="even number"):
        _settings(frames=31, windowed=True)


def test_a_recipe_trains_scores_and_is_not_trained_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, videos: list[CodedVideo]
) -> None:
    opened: list[int] = []

    def simulated(data: Any, folder: Path) -> list[CodedVideo]:
        opened.append(data.seed)
        return videos if data.seed == 1 else [made_video(70, 0), made_video(70, 1, every=0)]

    monkeypatch.setattr(video_sources, "simulated_videos", simulated)
    data, test = (
        {"simulated": {"videos": 2, "identities": 2, "seed": seed, "first_identity": 10 * seed}}
        for seed in (1, 9)
    )
    recipe = _recipe(tmp_path, data=data, test=test)
    train(recipe, "x.yaml")
    final = tmp_path / "run" / "final"
    kept = {path.name: path.read_bytes() for path in final.iterdir()}
    assert set(kept) == {"config.json", "model.safetensors", "found.csv", "scores.json"}
    train(recipe, "x.yaml")
    assert opened == [1, 9, 1, 9]
    assert kept == {path.name: path.read_bytes() for path in final.iterdir()}


def test_wrong_recipes_are_told_before_anything_is_rendered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def rendered(*_: object) -> None:
        raise AssertionError("rendered")

    monkeypatch.setattr(video_sources, "simulated_videos", rendered)
    same = {"simulated": {"videos": 1, "identities": 1}}
    for changes, message in (
        ({"spotter": "me_tst_pluss"}, "did you mean 'me_tst_plus'"),
        ({"model": {"channels": 20}}, "model.channels: 20; expected 10 or 36"),
        ({"model": {"widht": 8}}, "widht"),
        ({"test": same}, "data and test share subject"),
        (
            {"test": {"simulated": {**same["simulated"], "first_identity": 9000}}},
            "data and test draw 1 videos from the same seeds",
        ),
        ({"data": {}}, "give one of simulated and corpus"),
        ({"data": {"corpus": {"name": "casme3", "root": tmp_path / "no"}}}, "no such folder"),
    ):
        with pytest.raises(UserError, match=message):
            train(_recipe(tmp_path, **changes), "x.yaml")


def test_nothing_coded_in_the_held_out_videos(
    videos: list[CodedVideo], caplog: pytest.LogCaptureFixture
) -> None:
    settings = _settings()
    made = SpottingTask(settings.network(), settings, videos)
    made.held = [video for video in made.held if not video.coded]
    scores = made.evaluate()
    assert made.thresholds == task.Thresholds() and "not calibrated" in caplog.text
    assert np.isfinite(list(scores.values())).all()


@pytest.mark.parametrize("path", sorted(SMOKE.parent.glob("*.yaml")), ids=lambda p: p.stem)
def test_recipes_fit_and_keep_subjects_apart(path: Path) -> None:
    """Small enough to come with the package, too."""
    values = read_yaml(path)
    assert values.pop("task") == "spotting"
    recipe = read_recipe(SpotterRecipe, values, str(path))
    size = torch.finfo(getattr(torch, recipe.save_dtype)).bits // 8
    assert size * sum(p.numel() for p in recipe.network().parameters()) < 4e6
    if path != SMOKE:
        assert recipe.test and not recipe.data.subjects() & recipe.test.subjects()
        assert recipe.data.simulated
        assert recipe.frames / FPS < recipe.data.simulated.seconds[0]


@pytest.mark.slow
def test_the_smoke_recipe_from_pixels_to_intervals(tmp_path: Path) -> None:
    run(SMOKE, [f"output={tmp_path / 'run'}", f"cache={tmp_path / 'videos'}"])
    spotter = load_spotter(tmp_path / "run" / "final")
    assert spotter.rois == 18 and spotter.network.config.width == 8
