"""Raw frames: one transform a clip, sub-clips without a frame twice, key frames, cache keys."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from deft_llm.clip import Interval
from deft_llm.data import sources
from deft_llm.data.features import DEFAULT_SIZES, FeatureSizes, mirror_features, pack
from deft_llm.data.inputs import INPUTS, source_of
from deft_llm.data.raw_frames import (
    RAW_SIDE,
    key_frames,
    one_transform,
    sub_clip_indices,
    sub_clips,
)
from deft_llm.data.simulated import SimulatedData
from deft_llm.errors import UserError
from deft_llm.media.canonical import CANONICAL_SIZE
from deft_llm.media.face import AlignedClip
from deft_llm.motion.measure import Measurement

MakeMeasurement = Callable[..., Measurement]


@pytest.mark.parametrize("frames", [8, 15, 16, 31])
def test_sub_clips_have_no_frame_twice(frames: int) -> None:
    indices = sub_clip_indices(frames)
    assert indices.shape == (frames // 8, 8)
    assert len(set(indices.ravel().tolist())) == indices.size and indices.max() < frames
    assert (np.diff(indices) == frames // 8).all()


def test_a_clip_of_seven_frames_is_refused() -> None:
    with pytest.raises(UserError, match="clip of 7 frames; expected at least 8"):
        sub_clip_indices(7)


def test_frames_without_a_face_are_left_out(make_measurement: MakeMeasurement) -> None:
    aligned = make_measurement().aligned
    numbered = np.arange(12, dtype=np.uint8)[:, None, None, None] * np.ones_like(aligned.frames)
    present = np.ones(12, bool)
    present[3] = False
    found = sub_clips(replace(aligned, frames=numbered, present=present), reference=1, side=16)
    assert found.shape == (2, 8, 16, 16)
    assert found[0, :, 0, 0].tolist() == [0, 1, 2, 4, 5, 6, 7, 8]


def with_jitter(aligned: AlignedClip) -> AlignedClip:
    """The same still picture, as alignment with a transform of its own for each frame shows it."""
    shifts = np.random.default_rng(0).normal(0, 1.5, (12, 2))
    transforms = np.tile(np.eye(2, 3), (12, 1, 1))
    transforms[:, :, 2] = shifts
    frames = [cv2.warpAffine(aligned.frames[0], m, (224, 224)) for m in transforms]
    return replace(aligned, frames=np.stack(frames), transforms=transforms, constant=False)


def test_the_jitter_of_alignment_does_not_enter(make_measurement: MakeMeasurement) -> None:
    jittered = with_jitter(make_measurement().aligned)
    every = np.arange(12)
    still = one_transform(jittered, every, reference=1).astype(float)[:, 20:-20, 20:-20]
    moved = jittered.frames.astype(float)[:, 20:-20, 20:-20]
    assert np.abs(still - still[1]).mean() < 0.15 * np.abs(moved - moved[1]).mean()


def test_key_frames_are_onset_before_and_apex(make_measurement: MakeMeasurement) -> None:
    aligned = make_measurement().aligned
    numbered = np.arange(12, dtype=np.uint8)[:, None, None, None] * np.ones_like(aligned.frames)
    numbered[..., 0] += 100
    clip = replace(aligned, frames=numbered)
    found = key_frames(clip, Interval(1, 5, 9), side=32)
    assert found.shape == (3, 3, 32, 32)
    assert found[:, :, 0, 0].tolist() == [[101, 1, 1], [104, 4, 4], [105, 5, 5]]
    assert key_frames(clip, Interval(4, 5, 9), side=32)[1, 0, 0, 0] == 104
    with pytest.raises(UserError, match="onset 4 and apex 4; expected an apex after"):
        key_frames(clip, Interval(4, 4, 9), side=32)


def test_a_drifting_head_does_not_move_the_apex(make_measurement: MakeMeasurement) -> None:
    aligned = make_measurement().aligned
    brow = slice(60, 90), slice(130, 170)
    moved = cv2.warpAffine(aligned.frames[5], np.array([[1, 0, 1.7], [0, 1, -1.2]]), (224, 224))
    moved[brow] = 0
    frames = aligned.frames.copy()
    frames[5] = moved
    found = key_frames(replace(aligned, frames=frames), Interval(1, 5, 9), side=224)
    inner = (..., slice(100, 180), slice(40, 180))
    change = np.abs(found[2] - found[0])[inner].astype(float).mean()
    drift = np.abs(moved.transpose(2, 0, 1) - found[0])[inner].astype(float).mean()
    assert change < 0.15 * drift
    assert found[2][:, 70:80, 140:160].max() < 20  # what the brow does, stays


def test_raw_frames_are_packed_on_demand(make_measurement: MakeMeasurement) -> None:
    measurement = make_measurement()
    assert not {"sub_clips", "key_frames"} & set(pack(measurement))
    found = pack(measurement, FeatureSizes(raw=16))
    assert found["sub_clips"].shape == (2, 8, 16, 16)
    assert found["key_frames"].shape == (3, 3, 16, 16)


def test_landmarks_are_shares_of_the_frame_at_any_side(make_measurement: MakeMeasurement) -> None:
    measurement = make_measurement()
    true = (measurement.aligned.landmarks + 0.5) / CANONICAL_SIZE  # from edge to edge
    for side in (64, RAW_SIDE):
        found = pack(measurement, FeatureSizes(raw=side))
        _, make = source_of("landmarks", found, "a clip")
        shares = make(found["landmarks"][None], None)
        np.testing.assert_allclose(shares[0], true, atol=1e-5)
        mirrored = make(mirror_features(found)["landmarks"][None], None)
        expected = INPUTS["landmarks"].mirror(torch.from_numpy(shares)).numpy()
        np.testing.assert_allclose(mirrored, expected, atol=1e-5)


def test_clips_without_raw_frames_keep_their_key() -> None:
    assert set(DEFAULT_SIZES.facts()) == {
        *("structure", "texture", "texture_frames", "flow", "frames"),
    }
    assert FeatureSizes(raw=16).facts()["raw"] == 16


@pytest.mark.parametrize(
    ("inputs", "expected"),
    [
        (["flow_uvs"], FeatureSizes()),
        (["frames"], FeatureSizes(frames=64)),
        (["sub_clips"], FeatureSizes(raw=128)),
        (["flow_uvs", "landmarks"], FeatureSizes(raw=128)),
        (["flow_diff_volume", "nothing"], FeatureSizes(raw=128)),
    ],
)
def test_inputs_decide_what_is_stored(
    inputs: list[str], expected: FeatureSizes, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked = []
    monkeypatch.setattr(sources, "simulated_clips", lambda *a, sizes: asked.append(sizes))
    sources.ClipSource(simulated=SimulatedData(clips=1, identities=1)).open(inputs, tmp_path)
    assert asked == [expected]
