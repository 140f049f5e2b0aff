"""What a flow is worth to recognition: the classifier sees flow alone, of faces kept apart."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from deft_llm.data.shards import Arrays
from deft_llm.data.simulated import filmed
from deft_llm.errors import UserError
from deft_llm.evaluation.flow import recognition as flow_recognition
from deft_llm.evaluation.flow.recognition import CLASSES, Frames, film_pairs, recognition_uf1
from deft_llm.media.canonical import CANONICAL_LANDMARKS, CANONICAL_SIZE
from deft_llm.motion.flow import flow_estimator
from deft_llm.motion.measure import measure
from deft_llm.motion.meter import MotionSettings, averaged_frame
from deft_llm.simulator.scene.clips import SimulatedClip, draw_spec, render_clip
from tests.evaluation.flow.conftest import SETS


def marked(seed: int) -> Frames:
    """Blank pairs; the apex says by its grey level of which class it is."""
    labels = [CLASSES[i % 3] for i in range(60)]
    images = np.zeros((60, 2, CANONICAL_SIZE, CANONICAL_SIZE), np.uint16)
    images[:, 1] = [[[256 * (1 + CLASSES.index(name))]] for name in labels]
    points = np.repeat(CANONICAL_LANDMARKS[None], 60, axis=0).astype(np.float64)
    order = np.random.default_rng(seed).permutation(60)
    return Frames(images[order], points, [labels[i] for i in order])


def moving(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """A blob of motion whose place is the class."""
    flow = np.zeros((2, *a.shape), np.float32)
    place = int(b[0, 0]) * 50
    flow[1, place : place + 30, 90:130] = -3
    return flow


def still(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.zeros((2, *a.shape), np.float32)


def test_flow_that_tells_the_class_is_read_and_none_is_chance(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    made = {SETS.train.seed: marked(1), SETS.test.seed: marked(2)}
    monkeypatch.setattr(flow_recognition, "frames_of", lambda data, cache: made[data.seed])
    read = recognition_uf1({"moving": moving, "still": still}, SETS, tmp_path)
    assert read["moving"] == 1.0
    assert read["still"] < 0.4
    same = SETS.train.model_copy(update={"seed": 300})
    with pytest.raises(UserError, match="train and test share subject own00100"):
        recognition_uf1({"still": still}, SETS.model_copy(update={"test": same}), tmp_path)


def test_frames_are_those_that_measure_takes_flow_between(tmp_path: Path) -> None:
    """Kept frames give the flow of ``measure`` but for the rounding of grey levels."""
    spec = draw_spec(5, 7)
    simulated = render_clip(spec)
    row = flow_recognition.film_pairs(simulated)
    _, aligned = filmed(simulated)
    interval = spec.curve.interval
    gap = interval.apex - interval.onset
    frame = averaged_frame(aligned, interval.apex, gap, MotionSettings().averaging)
    np.testing.assert_allclose(row["images"][0, 1] / 256, frame, atol=1 / 256)
    frames = Frames(row["images"], row["landmarks"], ["negative"])
    kept = flow_recognition.encoded_flow(flow_estimator("lk"), frames, CANONICAL_SIZE, "lk")
    whole = measure(aligned, interval, MotionSettings("lk", curve=False)).flow_apex
    centred = whole - np.median(whole, axis=(1, 2), keepdims=True)
    strong = np.abs(centred) > np.abs(centred).max() / 4
    assert (np.sign(kept[0, :2]) == np.sign(centred))[strong].mean() > 0.999


def test_clips_are_kept_and_those_without_a_class_left_out(
    frames_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = flow_recognition.frames_of(SETS.train, frames_folder)
    looked_at: list[int] = []

    def counted(simulated: SimulatedClip) -> Arrays:
        looked_at.append(simulated.spec.seed)
        return film_pairs(simulated)

    monkeypatch.setattr(flow_recognition, "film_pairs", counted)
    again = flow_recognition.frames_of(SETS.train, frames_folder)
    assert len(looked_at) == 1  # and nothing else is rendered again
    assert first.labels == ["surprise", "negative"]
    assert len(first.images) == 2 < SETS.train.clips
    np.testing.assert_array_equal(again.images, first.images)
