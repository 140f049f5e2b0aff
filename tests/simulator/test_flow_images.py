from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from deft_llm import facs
from deft_llm.errors import UserError
from deft_llm.motion.encoding import medsqrt
from deft_llm.simulator.flow.images import (
    AUS,
    FlowImageSettings,
    SimulatedFlow,
    _activations,
    simulate_flow,
)
from deft_llm.simulator.head import load_head


@pytest.fixture(scope="module")
def drawn() -> SimulatedFlow:
    return simulate_flow(FlowImageSettings(images=60, per_identity=30, seed=3))


def test_shapes_and_classes(drawn: SimulatedFlow) -> None:
    assert drawn.images.shape == (60, 28, 28, 3)
    assert drawn.images.dtype == np.uint8
    assert np.bincount(drawn.labels).tolist() == [20, 20, 20]
    assert drawn.aus.shape == (60, len(AUS), 2)
    assert len(np.unique(drawn.identities)) == 2


def test_the_same_settings_the_same_images(drawn: SimulatedFlow) -> None:
    again = simulate_flow(FlowImageSettings(images=4, per_identity=30, seed=3))
    np.testing.assert_array_equal(again.images, drawn.images[:4])
    other = simulate_flow(FlowImageSettings(images=4, per_identity=30, seed=4))
    assert (other.images != again.images).any()


def test_kept_draws_are_read_back(tmp_path: Path) -> None:
    settings = FlowImageSettings(images=2)
    first = simulate_flow(settings, tmp_path)
    (file,) = tmp_path.iterdir()
    stamp = file.stat().st_mtime_ns
    second = simulate_flow(settings, tmp_path)
    assert file.stat().st_mtime_ns == stamp
    np.testing.assert_array_equal(first.images, second.images)
    np.testing.assert_array_equal(first.aus, second.aus)


def test_labels_go_with_their_units(drawn: SimulatedFlow) -> None:
    # Real codings: smiles are mostly AU12, surprise mostly AU1 or 2, negative mostly AU4.
    shown = np.asarray(drawn.aus.any(2))

    def share(label: str, *units: int) -> float:
        rows = shown[drawn.labels == facs.THREE_CLASSES.index(label)]
        return float(rows[:, [AUS.index(u) for u in units]].any(1).mean())

    assert share("positive", 12) > 0.4
    assert share("surprise", 1, 2) > 0.6
    assert share("negative", 4) > 0.4


def test_a_raised_brow_is_seen_up_there_and_up() -> None:
    # Without disturbance, surprise's brows move upwards (v < 0) in the upper third.
    calm = FlowImageSettings(
        images=30, per_identity=30, blink=0, gaze=0, stray=0, turn=0, drift=0, noise=(1e-4, 2e-4)
    )
    made = simulate_flow(calm)
    brows = made.aus[:, [AUS.index(1), AUS.index(2)]].all((1, 2)) & ~made.aus[:, AUS.index(4)].any(
        1
    )
    assert brows.sum() >= 3
    v = medsqrt(made.images)[brows, 1]
    assert v[:, :9].mean() < v[:, 12:].mean() - 0.2


def test_one_sided_codes_move_one_side() -> None:
    rng = np.random.default_rng(0)
    acts = _activations(rng, ("L12", "4"), FlowImageSettings(stray=0), load_head("own").aus)
    assert set(acts) == {"L12", "L4", "R4"}
    assert all(0.02 < value < 1.5 for value in acts.values())


def test_an_unknown_head() -> None:
    with pytest.raises(UserError, match="unknown head 'mine'"):
        simulate_flow(FlowImageSettings(images=1, head="mine"))
