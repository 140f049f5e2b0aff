"""Changes of measured clips: the labels stay true, and what follows from a value follows."""

import numpy as np
import pytest

from deft_llm.data.features import REGION_COLUMNS, Features
from deft_llm.data.perturbation import perturbed

COLUMN = {name: i for i, name in enumerate(REGION_COLUMNS)}
REGIONS, SIDE = 20, 56


@pytest.fixture
def smile() -> Features:
    """Mouth corners that go up by 2 px; one region that is not placed."""
    rng = np.random.default_rng(0)
    table = np.zeros((2, REGIONS, len(REGION_COLUMNS)), np.float32)
    table[:, 1:, COLUMN["v"]] = -0.01  # what is measured of a region at rest
    table[:, 14:16, COLUMN["v"]] = -2.0
    table[..., COLUMN["magnitude"]] = -table[..., COLUMN["v"]]
    table[..., COLUMN["peak"]] = 1.25 * table[..., COLUMN["magnitude"]]
    table[..., COLUMN["noise"]] = 0.1  # of the region that is not placed as well
    table[..., COLUMN["z"]] = table[..., COLUMN["magnitude"]] / 0.1
    table[..., COLUMN["active"]] = table[..., COLUMN["z"]] >= 3
    flow = np.zeros((2, 3, SIDE, SIDE), np.float32)
    flow[:, 1, 35:45, 15:40] = -2.0
    return {
        "onset": rng.integers(0, 255, (64, 64, 3), np.uint8),
        "texture": rng.normal(0, 3, (8, 48, 48)).astype(np.float16),
        "flow": flow.astype(np.float16),
        "regions": table.astype(np.float16),
    }


def test_a_smile_stays_a_smile(smile: Features) -> None:
    for seed in range(20):
        table = perturbed(smile, np.random.default_rng(seed))["regions"].astype(np.float32)
        corners = table[:, 14:16]
        assert (corners[..., COLUMN["v"]] < -0.7).all()
        assert (corners[..., COLUMN["active"]] == 1).all()
        # Half a floor of error rarely makes three floors of motion.
        assert table[:, 1:14, COLUMN["active"]].mean() < 0.05


def test_a_table_agrees_with_itself(smile: Features) -> None:
    table = perturbed(smile, np.random.default_rng(1))["regions"].astype(np.float64)[:, 1:]
    length = np.hypot(table[..., COLUMN["u"]], table[..., COLUMN["v"]])
    assert table[..., COLUMN["magnitude"]] == pytest.approx(length, abs=2e-3)
    z = table[..., COLUMN["magnitude"]] / table[..., COLUMN["noise"]]
    assert table[..., COLUMN["z"]] == pytest.approx(z, rel=0.02, abs=0.02)
    assert (table[..., COLUMN["peak"]] >= 0).all()


def test_a_region_that_is_not_placed_stays_empty(smile: Features) -> None:
    table = perturbed(smile, np.random.default_rng(2))["regions"][:, 0]
    assert (np.delete(table, COLUMN["noise"], axis=-1) == 0).all()


def test_shapes_types_and_the_clip_itself_stay(smile: Features) -> None:
    before = {name: values.copy() for name, values in smile.items()}
    changed = perturbed(smile, np.random.default_rng(3))
    for name, values in before.items():
        assert np.array_equal(smile[name], values)
        assert changed[name].shape == values.shape and changed[name].dtype == values.dtype
        assert not np.array_equal(changed[name], values)
        assert np.isfinite(changed[name].astype(np.float32)).all()


def test_equal_sources_change_equally(smile: Features) -> None:
    one, other = (perturbed(smile, np.random.default_rng(4)) for _ in range(2))
    assert all(np.array_equal(one[name], other[name]) for name in one)


def test_map_and_table_grow_together(smile: Features) -> None:
    for seed in range(10):
        changed = perturbed(smile, np.random.default_rng(seed))
        corner = changed["regions"][0, 14, COLUMN["v"]].astype(float)
        middle = changed["flow"][0, 1, 38:42, 20:35].astype(float).mean()
        # Apart from the zoom and the errors of both.
        assert middle == pytest.approx(corner, rel=0.2, abs=0.2)
