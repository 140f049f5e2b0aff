"""MOL's heads against exact motion: the ground truth lies where the frames are."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from deft_llm.errors import UserError
from deft_llm.evaluation.recognition.mol_heads import ExactSubClip, observed, scores
from deft_llm.recognizers.mol import MOL
from deft_llm.simulator.scene.clip_spec import draw_spec
from deft_llm.simulator.scene.clips import render_clip


@pytest.fixture(scope="module")
def clip() -> ExactSubClip:
    found = observed(render_clip(draw_spec(3, 900_000, aus=("12",), emotion="happiness")))
    assert found is not None
    return found


@pytest.fixture(scope="module")
def values(clip: ExactSubClip) -> dict[str, float]:
    torch.manual_seed(0)
    return scores(MOL(3, flow_width=0.0625).eval(), [clip])


def test_the_ground_truth_belongs_to_the_frames(
    clip: ExactSubClip, values: dict[str, float]
) -> None:
    assert clip.frames.shape == (8, 128, 128) and clip.flow.shape == (7, 2, 128, 128)
    assert clip.points.shape == (8, 68, 2)
    assert clip.skin.mean() > 0.2
    # The exact flow explains what moves: an estimator that has not seen it comes near.
    assert values["lk_flow_epe"] < 0.5 * values["zero_flow_epe"]
    assert values["finder_landmarks"] < 0.1


def test_a_network_of_nothing_is_zero_flow(values: dict[str, float]) -> None:
    # An untrained flow head starts from zero.
    assert values["mol_flow_epe"] == pytest.approx(values["zero_flow_epe"])
    assert values["mol_flow_of_zero"] == pytest.approx(1)
    classical = min(values[f"{n}_flow_epe"] for n in ("lk", "dis", "tvl1", "farneback"))
    assert values["mol_flow_of_classical"] == pytest.approx(values["mol_flow_epe"] / classical)
    assert np.isfinite(list(values.values())).all()


def test_without_clips_there_is_nothing_to_score() -> None:
    with pytest.raises(UserError, match="no clip could be measured"):
        scores(MOL(3, flow_width=0.0625), [])
