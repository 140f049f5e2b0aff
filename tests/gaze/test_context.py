"""A recording of the eye as context: its blinks on the clock of the face video."""

from __future__ import annotations

from pathlib import Path

import pytest

from deft_llm.gaze.context import eye_context
from deft_llm.gaze.files import WEIGHTS
from deft_llm.gaze.layout import write_recording
from deft_llm.simulator.events import EyeRecording


@pytest.mark.skipif(not WEIGHTS.is_dir(), reason="no trained tracker yet")
def test_blinks_are_on_the_clips_clock(tmp_path: Path, recording: EyeRecording) -> None:
    path = write_recording(tmp_path / "eye", recording)
    seen, later = eye_context(path), eye_context(path.parent, 1.5)
    assert seen.span == pytest.approx((0.0, 3.0), abs=0.01)
    assert later.span == pytest.approx((1.5, 4.5), abs=0.01)
    for first, last in recording.blinks / 1e6:
        near = [(a, b) for a, b in seen.blinks if a < last and b > first]
        assert len(near) == 1
    assert len(later.blinks) == len(seen.blinks)
    for one, two in zip(seen.blinks, later.blinks, strict=True):
        assert two[0] - one[0] == pytest.approx(1.5, abs=1e-6)
