"""The features of the flipped clip are the flipped features: training on both sides rests on it."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from deft_llm import facs
from deft_llm.clip import Interval
from deft_llm.data.features import (
    REGION_COLUMNS,
    Features,
    FeatureSizes,
    mirror_features,
    pack,
    texture_indices,
)
from deft_llm.media.canonical import CANONICAL_LANDMARKS
from deft_llm.motion.regions import region_masks, region_table

REGIONS = list(facs.REGIONS)
U = REGION_COLUMNS.index("u")


@pytest.fixture
def features(make_features: Callable[[int], Features]) -> Features:
    return make_features(0)


def measurement(frames: NDArray[np.uint8], flows: NDArray[np.float32]) -> Any:
    """What ``pack`` reads of a measurement."""
    masks = region_masks(CANONICAL_LANDMARKS)
    tables = [region_table(flow, masks, np.full(len(masks), 0.05, np.float32)) for flow in flows]
    return SimpleNamespace(
        aligned=SimpleNamespace(frames=frames),
        evened=None,
        interval=Interval(1, 4, 6),
        flow_apex=flows[0],
        flow_offset=flows[1],
        table_apex=tables[0],
        table_offset=tables[1],
    )


@pytest.fixture(scope="module")
def moved() -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    rng = np.random.default_rng(1)
    frames = rng.integers(0, 255, (8, 224, 224, 3)).astype(np.uint8)
    coarse = rng.normal(size=(2, 2, 14, 14))
    flows = np.kron(coarse, np.ones((16, 16))).astype(np.float32)
    return frames, flows


def test_mirror_of_mirror_is_the_same(features: Features) -> None:
    twice = mirror_features(mirror_features(features))
    assert twice.keys() == features.keys()
    for name, array in features.items():
        assert twice[name].dtype == array.dtype
        np.testing.assert_array_equal(twice[name], array)


def test_mirror_leaves_its_input_alone(features: Features) -> None:
    before = {name: array.copy() for name, array in features.items()}
    for array in mirror_features(features).values():
        array[...] = 0
    for name, array in before.items():
        np.testing.assert_array_equal(features[name], array)


def test_mirror_flips_u_alone(features: Features) -> None:
    flow = mirror_features(features)["flow"]
    np.testing.assert_array_equal(flow[:, 0], -features["flow"][:, 0, :, ::-1])
    np.testing.assert_array_equal(flow[:, 1:], features["flow"][:, 1:, :, ::-1])


def test_mirror_swaps_the_regions_of_the_two_sides(features: Features) -> None:
    mirrored, table = mirror_features(features)["regions"], features["regions"]
    for i, name in enumerate(REGIONS):
        expected = table[:, REGIONS.index(facs.mirror_region(name))].copy()
        expected[:, U] *= -1
        np.testing.assert_array_equal(mirrored[:, i], expected)


def test_the_packet_of_the_flipped_clip_is_the_mirrored_packet(
    moved: tuple[NDArray[np.uint8], NDArray[np.float32]],
) -> None:
    frames, flows = moved
    flipped = flows[..., ::-1].copy()
    flipped[:, 0] *= -1
    expected = mirror_features(pack(measurement(frames, flows)))
    found = pack(measurement(frames[:, :, ::-1].copy(), flipped))
    for name, array in expected.items():
        np.testing.assert_allclose(
            found[name].astype(np.float32), array.astype(np.float32), atol=0.05, err_msg=name
        )
    np.testing.assert_array_equal(found["onset"], expected["onset"])


def test_shapes_types_and_columns(moved: tuple[NDArray[np.uint8], NDArray[np.float32]]) -> None:
    made = measurement(*moved)
    packed = pack(made)
    sizes = FeatureSizes()
    assert {name: (array.shape, array.dtype.name) for name, array in packed.items()} == {
        "onset": ((sizes.structure, sizes.structure, 3), "uint8"),
        "texture": ((sizes.texture_frames, sizes.texture, sizes.texture), "float16"),
        "flow": ((2, 3, sizes.flow, sizes.flow), "float16"),
        "regions": ((2, len(REGIONS), len(REGION_COLUMNS)), "float16"),
    }
    for i, name in enumerate(REGION_COLUMNS):
        column = np.asarray(getattr(made.table_offset, name), np.float32)
        np.testing.assert_allclose(packed["regions"][1, :, i], column, rtol=1e-3, atol=1e-4)


def test_flow_keeps_its_pixels_when_the_map_shrinks(
    moved: tuple[NDArray[np.uint8], NDArray[np.float32]],
) -> None:
    """u and v stay in pixels of the 224-pixel face, whatever the side of the map."""
    frames, flows = moved
    constant = np.broadcast_to(
        np.array([0.5, -0.25], np.float32)[:, None, None], flows.shape
    ).copy()
    flow = pack(measurement(frames, constant))["flow"]
    np.testing.assert_allclose(flow[:, 0], 0.5)
    np.testing.assert_allclose(flow[:, 1], -0.25)
    np.testing.assert_allclose(flow[:, 2], 0.0, atol=1e-6)


def test_without_flow_or_change_everything_but_the_face_is_zero(
    moved: tuple[NDArray[np.uint8], NDArray[np.float32]],
) -> None:
    frames, flows = moved
    packed = pack(measurement(np.repeat(frames[:1], len(frames), 0), np.zeros_like(flows)))
    assert not packed["texture"].any()
    assert not packed["flow"].any()
    assert not packed["regions"][..., REGION_COLUMNS.index("z")].any()


@pytest.mark.parametrize("interval", [(0, 0, 0), (0, 0, 1), (0, 1, 2), (3, 3, 9), (5, 17, 80)])
@pytest.mark.parametrize("count", [1, 2, 7, 8])
def test_texture_frames_stay_inside_the_interval(
    interval: tuple[int, int, int], count: int
) -> None:
    onset, apex, offset = interval
    indices = texture_indices(onset, apex, offset, count)
    assert len(indices) == count
    assert indices == sorted(indices)
    assert all(onset <= i <= offset for i in indices)
    assert indices[-1] == offset
    if count > 1:
        assert indices[count // 2 - 1] == apex
