"""Few clips for recognition, rendered once for all tests of this room."""

from __future__ import annotations

from pathlib import Path

import pytest

from deft_llm.data.simulated import SimulatedData
from deft_llm.evaluation.flow.recognition import RecognitionSets

# Of the training clips one is of surprise, one is negative and one has no class. Of the test clips
# one is negative and one is of surprise, so that whoever answers one class alone has one right.
SETS = RecognitionSets(
    train=SimulatedData(clips=3, identities=3, first_identity=1000, seed=1, workers=1),
    test=SimulatedData(clips=2, identities=2, first_identity=2000, seed=27, workers=1),
)


@pytest.fixture(scope="session")
def frames_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where rendered clips are kept."""
    return tmp_path_factory.mktemp("frames")
