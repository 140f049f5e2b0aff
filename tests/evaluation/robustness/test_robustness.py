"""The checks of what is said, on explanations that are right and ones that were made wrong."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from deft_llm.clip import Explanation
from deft_llm.deft.inference import wording
from deft_llm.evaluation.robustness.agreement import contradictions
from deft_llm.evaluation.robustness.light import still_specs
from deft_llm.motion.evidence import measured_evidence
from deft_llm.motion.measure import Measurement
from deft_llm.simulator.render.lighting import LIGHTS

CURVE = np.array([0, 0, 0.3, 0.6, 0.8, 0.9, 0.7, 0.4, 0.2, 0.1, 0, 0], np.float32)


@pytest.fixture
def measurement(make_measurement: Callable[..., Measurement]) -> Measurement:
    return replace(make_measurement(), curve=CURVE)


@pytest.fixture
def explanation(measurement: Measurement) -> Explanation:
    """A raised left inner brow, read as surprise."""
    rows = measured_evidence(measurement.table_apex)
    return Explanation(
        emotion="surprise",
        probabilities={"surprise": 0.9, "negative": 0.1},
        aus={"L1": 0.9},
        evidence=tuple(replace(row, aus=wording.fits(row, ("L1",))) for row in rows),
        fine_emotion="surprise",
        rationale=wording.rationale(rows, ("L1",), "surprise"),
    )


def test_what_agrees_is_left_alone(measurement: Measurement, explanation: Explanation) -> None:
    assert contradictions(measurement, explanation) == []


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({"rationale": "No region moved above the noise floor."}, "said that none did"),
        ({"evidence": ()}, "the evidence is not the active regions"),
        ({"rationale": "The left inner brow moves down: AU1 inner brow raiser."}, "not borne out"),
        ({"rationale": "The chin moves up: AU1 inner brow raiser."}, "not borne out"),
        ({"aus": {"L1": 0.9, "12": 0.8}}, "other AUs than the list"),
        ({"aus": {"12": 0.8}}, "no motion speaks for AU12"),
        ({"aus": {"L12": 0.8}}, "no motion speaks for L12"),
        ({"fine_emotion": "fear"}, "fear is concluded, the class is surprise"),
        ({"probabilities": {"negative": 0.9, "surprise": 0.1}}, "the likeliest negative"),
    ],
)
def test_every_kind_of_contradiction_is_found(
    measurement: Measurement, explanation: Explanation, change: dict[str, Any], found: str
) -> None:
    wrong = contradictions(measurement, replace(explanation, **change))
    assert any(found in line for line in wrong), wrong


def test_a_still_face_may_say_nothing_about_motion(
    make_measurement: Callable[..., Measurement], explanation: Explanation
) -> None:
    still = replace(make_measurement(lift=0.0, found=False), curve=CURVE)
    silent = Explanation(None, {}, {}, (), remarks=still.remarks)
    assert contradictions(still, silent) == []
    assert contradictions(still, explanation)


def test_the_apex_is_the_top_of_the_curve(
    measurement: Measurement, explanation: Explanation
) -> None:
    moved = replace(measurement, curve=np.roll(CURVE, -1))
    assert contradictions(moved, explanation) == ["the apex is not where the curve is highest"]


@pytest.mark.parametrize("kind", LIGHTS)
def test_lights_stay_within_their_strength_and_change(kind: str) -> None:
    y, x = np.mgrid[:32, :32] / 32
    t = np.linspace(0, 1, 40)[:, None, None]
    gain = np.broadcast_to(LIGHTS[kind](t, x, y, 0.5), (40, 32, 32))
    assert gain.min() >= 0.5 - 1e-6 and gain.max() <= 1.5 + 1e-6
    assert np.ptp(gain, axis=0).max() > 0.3


def test_still_faces_do_nothing() -> None:
    for spec in still_specs(3, 1, 2, "own"):
        assert (spec.aus, spec.emotion, spec.blink) == ((), None, None)
        assert spec.gaze.first == spec.gaze.second
