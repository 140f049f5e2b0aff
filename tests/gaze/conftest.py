"""One short simulated recording that the tests of this folder share."""

from __future__ import annotations

import pytest

from deft_llm.simulator.events import EyeRecording, EyeSpec, simulate_eye


@pytest.fixture(scope="package")
def recording() -> EyeRecording:
    """Three seconds of an eye with saccades and a blink."""
    return simulate_eye(EyeSpec(seed=2, eye=71, seconds=3.0, activity="blink"))
