"""The dual-phase set is what it says, and its benchmark scores from rows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from deft_llm.errors import UserError
from deft_llm.evaluation.benchmark import run
from deft_llm.evaluation.recognition import dual_phase, dual_phase_clips
from deft_llm.evaluation.recognition.dual_phase import table
from deft_llm.evaluation.recognition.dual_phase_clips import (
    OFFSET_CLASSES,
    DualPhaseData,
    DualPhaseSpec,
    dual_phase_set,
    dual_phase_specs,
    film_dual_phase,
)
from deft_llm.media.canonical import CANONICAL_LANDMARKS
from deft_llm.recognizers.task import RecognizerTask
from deft_llm.training.schedule import Schedule

ROOT = Path(__file__).resolve().parents[3]
BENCHMARK = ROOT / "eval" / "benchmarks" / "dual_phase.yaml"
DATA = DualPhaseData(clips=200, identities=40, first_identity=50, seed=1, workers=1)
BROWS, MOUTH = slice(17, 27), slice(48, 68)


def still(spec: DualPhaseSpec) -> DualPhaseSpec:
    """Without head motion, blink or shift of gaze: landmarks show the expression alone."""
    motion = replace(spec.clip.motion, drift=0.0, tremor=0.0)
    gaze = replace(spec.clip.gaze, second=spec.clip.gaze.first)
    return replace(spec, clip=replace(spec.clip, motion=motion, gaze=gaze, blink=None))


@pytest.fixture(scope="module")
def moved() -> dict[tuple[int, int], np.ndarray]:
    """(onset, offset) -> (2, 68) upward motion of the landmarks in both phases, canonical px."""
    spec = still(next(dual_phase_specs(DATA)))
    found = {}
    for onset in (0, 1):
        for offset in (0, 1):
            marks = film_dual_phase(replace(spec, onset_group=onset, offset_group=offset)).landmarks
            scale = np.ptp(CANONICAL_LANDMARKS[36:48, 0]) / np.ptp(marks[0, 36:48, 0])
            found[onset, offset] = -scale * np.diff(marks[..., 1], axis=0)
    return found


def test_one_group_rises_and_one_falls(moved: dict[tuple[int, int], np.ndarray]) -> None:
    groups = (BROWS, MOUTH)
    for (onset, offset), motion in moved.items():
        for phase, acting, sign in ((0, onset, 1), (1, offset, -1)):
            acted = (sign * motion[phase, groups[acting]]).max()
            rest = np.abs(motion[phase, groups[1 - acting]]).max()
            assert acted > 0.1 and rest < 0.1 * acted


def test_a_phase_does_not_tell_what_the_other_moved(
    moved: dict[tuple[int, int], np.ndarray],
) -> None:
    for k in (0, 1):
        np.testing.assert_array_equal(moved[k, 0][0], moved[k, 1][0])  # the future is not known
        size = np.abs(moved[0, k][1]).max()
        np.testing.assert_allclose(moved[0, k][1], moved[1, k][1], atol=0.03 * size)


def test_draws_are_balanced_and_repeatable() -> None:
    drawn = list(dual_phase_specs(DATA))
    assert drawn == list(dual_phase_specs(DATA))
    pairs = np.bincount([2 * spec.onset_group + spec.offset_group for spec in drawn], minlength=4)
    assert pairs.min() > 30
    assert (
        all(spec.label == (spec.onset_group != spec.offset_group) for spec in drawn)
        and len(OFFSET_CLASSES) == 2
    )
    px = [spec.motion_px for spec in drawn]
    assert 0.5 <= min(px) < 0.6 and 2.5 < max(px) <= 3.0


def test_sets_that_share_a_face_or_clip_are_refused() -> None:
    apart = [f"train.{name}={value}" for name, value in {"first_identity": 50, "seed": 1}.items()]
    with pytest.raises(UserError, match="train and test share subject own0000"):
        run(BENCHMARK, [*apart, "test.first_identity=50"])
    with pytest.raises(UserError, match="train and test share clip unlabelled_1"):
        run(BENCHMARK, [*apart, "test.seed=1"])


def test_tables_are_made_of_rows_alone() -> None:
    def row(label: int, guess: int, clip: str, model: str = "fmanet") -> dict[str, object]:
        names = {"label": OFFSET_CLASSES[label], "predicted": OFFSET_CLASSES[guess]}
        return {"model": model, "clip": clip, "parameters": 10, **names}

    rows = [row(0, 0, "a"), row(1, 0, "b"), row(1, 0, "b"), row(1, 1, "a"), row(0, 1, "a", "sum")]
    scores = table(rows, {"a": 0.6, "b": 2.0})
    assert list(scores.index) == ["fmanet", "sum"]
    shown = scores.loc["fmanet", ["accuracy", *OFFSET_CLASSES]].to_numpy(float)
    np.testing.assert_allclose(shown, [0.5, 1, 1 / 3])
    assert scores.loc["fmanet", "< 1.0 px"] == 1 and scores.loc["fmanet", "> 1.7 px"] == 0
    assert scores.loc["sum", "accuracy"] == 0 and scores[OFFSET_CLASSES[1]].isna()["sum"]


@pytest.fixture
def made_up(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Flow made without a camera: a brow or mouth band moves up in one phase, down in the other."""
    calls: list[int] = []

    def observe(drawn: DualPhaseSpec, side: int) -> np.ndarray | None:
        calls.append(drawn.clip.seed)
        if drawn.clip.seed % 20 == 7:
            return None  # no face
        flow = np.random.default_rng(drawn.clip.seed).normal(0, 0.002, (2, 3, side, side))
        for phase, (group, sign) in enumerate(((drawn.onset_group, -1), (drawn.offset_group, 1))):
            top = 4 + 16 * group
            flow[phase, 1, top : top + 8, 6:-6] += sign
        return flow.astype(np.float32)

    monkeypatch.setattr(dual_phase_clips, "dual_phase_flow", observe)
    yield calls


def test_measured_sets_are_kept_and_gone_on_with(
    tmp_path: Path, made_up: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dual_phase_clips, "_SHARD", 16)
    data = DATA.model_copy(update={"clips": 40, "side": 32})
    first = dual_phase_set(data, tmp_path)
    assert len(made_up) == 40 and first.clips.clips.stack("flow").shape == (38, 2, 3, 32, 32)
    assert [spec.label for spec in first.specs] == first.clips.labels.tolist()
    shard = next(tmp_path.glob("*/flow-00001.safetensors"))
    shard.unlink()  # as if it had been interrupted
    again = dual_phase_set(data, tmp_path)
    assert len(made_up) == 40 + 1 + 16  # one of those that are there is looked at again
    np.testing.assert_array_equal(first.clips.clips.stack("flow"), again.clips.clips.stack("flow"))
    # The measurement has changed since then, and no clip of before stays.
    observe = dual_phase_clips.dual_phase_flow
    monkeypatch.setattr(
        dual_phase_clips,
        "dual_phase_flow",
        lambda drawn, side: None if (flow := observe(drawn, side)) is None else 2 * flow,
    )
    changed = dual_phase_set(data, tmp_path)
    twice = 2 * first.clips.clips.stack("flow")
    np.testing.assert_allclose(changed.clips.clips.stack("flow"), twice, atol=1e-6)


def test_the_benchmark_runs(tmp_path: Path, made_up: list[int]) -> None:
    overrides = [
        f"output={tmp_path}",
        "variants=[fmanet,phase_1]",
        "options.width=4",
        "schedule.steps=60",
        "schedule.learning_rate=5.0e-3",
        "batch_size=16",
        *(f"{part}.{key}" for part in ("train", "test") for key in ("workers=1", "side=32")),
        "train.clips=128",
        "test.clips=40",
    ]
    figures, text = run(BENCHMARK, overrides)
    values = {figure.name: figure for figure in figures}
    assert values["fmanet_accuracy"].value > 0.85
    for name in ("phase_1", "linear"):
        assert values[f"{name}_accuracy"].value < 0.7 and not values[f"{name}_accuracy"].above
    assert values["test_clips"].value == 38
    assert text.count("\n") == 5 and "| phase 1 |" in text
    assert len((tmp_path / "predictions-dual-phase.jsonl").read_text().splitlines()) == 3 * 38
    assert not list(tmp_path.glob("dual-phase-runs*"))
    with pytest.raises(UserError, match="variant 'both'"):
        run(BENCHMARK, ["variants=[both]"])


def test_an_interrupted_run_goes_on_with_the_same_settings_alone(
    tmp_path: Path, made_up: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    trained: list[str] = []
    fit, stopped = dual_phase.fit, [True]

    def stopping(task: RecognizerTask, schedule: Schedule, output: Path) -> Path:
        if output.name == "phase_2-0" and stopped[0]:
            raise KeyboardInterrupt
        if not (output / "final").is_dir():
            trained.append(output.name)
        return fit(task, schedule, output)

    monkeypatch.setattr(dual_phase, "fit", stopping)
    few = (f"{part}.{key}" for part in ("train", "test") for key in ("workers=1", "side=32"))
    changes = [
        *(f"output={tmp_path}", "variants=[fmanet,phase_1,phase_2]", "options.width=4", *few),
        *("schedule.steps=1", "batch_size=16", "train.clips=32", "test.clips=20"),
    ]
    with pytest.raises(KeyboardInterrupt):
        run(BENCHMARK, changes)
    with pytest.raises(KeyboardInterrupt):
        run(BENCHMARK, changes)
    first = ["fmanet-0", "phase_1-0"]
    assert trained == first
    with pytest.raises(KeyboardInterrupt):
        run(BENCHMARK, [*changes, "schedule.learning_rate=1.0e-4"])
    with pytest.raises(KeyboardInterrupt):
        run(BENCHMARK, [*changes, "train.seed=77"])
    assert trained == first * 3
    stopped[0] = False
    run(BENCHMARK, changes)
    assert trained == [*first * 3, "phase_2-0"]
