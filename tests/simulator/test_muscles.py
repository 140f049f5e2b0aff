"""Waters' muscles pull as his paper says: towards the bone, in a sector, with a radial falloff."""

import numpy as np
import pytest

from deft_llm.simulator.muscles import Linear, MuscleSheet, Sphincter

ZYGOMATIC = Linear(5.0, -3.0, 3.0, -7.0, pull=1.0, beyond=2.0, spread=30.0)
FIBRE = np.array([-2.0, -4.0])
LENGTH = float(np.linalg.norm(FIBRE))


def _at(distance: float, degrees: float) -> np.ndarray:
    """Displacement at a distance from the attachment, turned off the fibre's direction."""
    turn = np.radians(degrees)
    unit = FIBRE / LENGTH
    ray = [
        unit[0] * np.cos(turn) - unit[1] * np.sin(turn),
        unit[0] * np.sin(turn) + unit[1] * np.cos(turn),
    ]
    x, y = np.array([[5.0], [-3.0]]) + distance * np.array(ray)[:, None]
    moved: np.ndarray = ZYGOMATIC.displacement(x, y)[0]
    return moved


def test_a_linear_muscle_pulls_its_insertion_to_the_bone() -> None:
    moved = _at(LENGTH, 0.0)
    np.testing.assert_allclose(moved[:2], -FIBRE / LENGTH, atol=1e-9)
    for degrees in (-20.0, 10.0):  # elsewhere in the sector as well: all fibres meet at the bone
        moved = _at(0.8 * LENGTH, degrees)[:2]
        x, y = np.radians(degrees), np.arctan2(*FIBRE[::-1])
        away = np.array([np.cos(x + y), np.sin(x + y)])
        assert moved @ away == pytest.approx(-np.linalg.norm(moved))


def test_its_pull_grows_along_the_muscle_and_ends_behind_the_skin() -> None:
    size = [np.linalg.norm(_at(d, 0.0)) for d in np.linspace(1e-3, LENGTH, 20)]
    assert size[0] < 1e-3 and (np.diff(size) > 0).all()
    size = [np.linalg.norm(_at(LENGTH + d, 0.0)) for d in np.linspace(0, 2.0, 20)]
    assert size[-1] < 1e-9 and (np.diff(size) < 0).all()


def test_its_pull_ends_at_the_edge_of_the_sector() -> None:
    size = [np.linalg.norm(_at(LENGTH, angle)) for angle in (0, 10, 20, 29, 31)]
    assert (np.diff(size) <= 0).all() and size[3] < 0.01 and size[4] < 1e-9


def test_a_sphincter_draws_its_ellipse_together_without_folding() -> None:
    x = np.linspace(-4.5, 4.5, 181)
    moved = Sphincter(0, 0, 4.0, 2.0, 0.55, 0.3, 0.5).displacement(x, 0.2 + 0 * x)
    assert (moved[:, 0] * x <= 0).all() and (moved[:, 1] <= 0).all()
    assert (np.diff(x + moved[:, 0]) > 0).all()
    assert not moved[np.abs(x) >= 4.0].any()


def test_a_sheet_moves_its_zone_one_way() -> None:
    x = np.array([0.0, 0.5, 1.0, 1.5])
    moved = MuscleSheet(0, 0, 1.0, 2.0, 0.0, 0.7, 0.1).displacement(x, 0 * x)
    np.testing.assert_allclose(moved[:, 1], [0.7, 0.35, 0, 0], atol=1e-9)
    np.testing.assert_allclose(moved[:, 2], moved[:, 1] / 7)
