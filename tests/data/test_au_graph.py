"""Patches of flow at the points of the face, and coded AUs as an input of trainings."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from deft_llm.clip import Annotation
from deft_llm.data.au_graph import (
    GRAPH_AUS,
    MIRRORED_POINTS,
    PATCH,
    POINTS,
    coded_aus,
    flow_patches,
    mirror_patches,
)
from deft_llm.data.clip_dataset import ClipDataset, MeasuredClip
from deft_llm.data.features import Features, mirror_features
from deft_llm.data.records import ClipRecord
from deft_llm.media.canonical import CANONICAL_LANDMARKS, CANONICAL_SIZE


def record(emotion: str | None, *aus: str) -> ClipRecord:
    return ClipRecord.of(Annotation("x", "s", "c", emotion=emotion, aus=aus))


def test_the_points_are_those_of_the_published_groups() -> None:
    assert len(POINTS) == len(set(POINTS)) == 65
    # Distinct places inside the face, and the mirrored face has the same points.
    places = np.stack([CANONICAL_LANDMARKS[list(p)].mean(0) for p in POINTS])
    apart = np.linalg.norm(places[:, None] - places[None], axis=-1) + 9 * np.eye(65)
    assert apart.min() > 2 and (places > 0).all() and (places < CANONICAL_SIZE).all()
    mirrored = places[list(MIRRORED_POINTS)]
    np.testing.assert_allclose(mirrored[:, 0], CANONICAL_SIZE - 1 - places[:, 0], atol=1e-3)
    np.testing.assert_allclose(mirrored[:, 1], places[:, 1], atol=1e-3)


def test_a_patch_shows_the_motion_at_its_point() -> None:
    flow = np.zeros((1, 2, 3, 56, 56), np.float16)
    x, y = CANONICAL_LANDMARKS[48] / 4  # a corner of the mouth, in cells of 4 px
    flow[0, 0, 1, round(float(y)) - 1 : round(float(y)) + 2, round(float(x)) - 1 :][..., :3] = -1
    patches = flow_patches(flow, None)
    assert patches.shape == (1, 65, 3, PATCH, PATCH)
    strongest = np.abs(patches[0, :, 1]).max((1, 2)).argsort()[::-1]
    assert POINTS[strongest[0]] == (48,)
    # Rows run down and columns right: the patch is not transposed, as in the public code.
    flow = np.zeros((1, 2, 3, 56, 56), np.float16)
    flow[0, 0, 0] = np.linspace(-1, 1, 56)
    rising = flow_patches(flow, None)[0, POINTS.index((30,)), 0]
    assert (np.diff(rising, axis=1) > 0).all() and np.abs(np.diff(rising, axis=0)).max() < 1e-6


def test_patches_of_the_mirrored_clip(make_features: Callable[[int], Features]) -> None:
    clips = [make_features(i) for i in range(3)]
    shown, mirrored = (
        torch.from_numpy(flow_patches(np.stack([f["flow"] for f in some]), None))
        for some in (clips, [mirror_features(f) for f in clips])
    )
    torch.testing.assert_close(mirror_patches(shown), mirrored, atol=2e-4, rtol=0)
    torch.testing.assert_close(mirror_patches(mirror_patches(shown)), shown)


def test_coded_aus() -> None:
    found = coded_aus(record("happiness", "6", "L12", "25"))
    assert {n for n, there in zip(GRAPH_AUS, found, strict=True) if there} == {6, 12}
    assert coded_aus(record(None)).sum() == 0
    # An emotion without AUs was coded for its emotion alone.
    assert np.isnan(coded_aus(record("happiness"))).all()


def test_they_are_an_input_beside_measured_ones(make_features: Callable[[int], Features]) -> None:
    clips = [MeasuredClip(record("happiness", "12"), make_features(0))]
    made = ClipDataset.of_clips(clips).inputs(("aus", "patches", "flow_uvs"), 28)
    shapes = {name: x.shape[1:] for name, x in made.items()}
    assert shapes == {"aus": (12,), "patches": (65, 3, 5, 5), "flow_uvs": (3, 28, 28)}
