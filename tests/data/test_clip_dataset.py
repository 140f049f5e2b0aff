"""What a network is fed: the same from every source, mirrored as the clip is, by name alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from deft_llm.data.clip_dataset import ClipDataset, MeasuredClip
from deft_llm.data.feature_files import save_features
from deft_llm.data.features import Features, mirror_features
from deft_llm.data.inputs import INPUTS, mirror_inputs
from deft_llm.data.records import ClipRecord
from deft_llm.errors import UserError
from deft_llm.files import write_lines
from deft_llm.motion.encoding import stretch

MakeFeatures = Callable[[int], Features]
COUNT = 5

# Curves are measured on whole videos (tests/data/test_roi_curves.py).
OF_CLIPS = [name for name, made in INPUTS.items() if "roi_curves" not in made.sources]


def features(make: MakeFeatures, seed: int) -> Features:
    rng = np.random.default_rng(seed)
    # A texture that moves, so that the flow between key frames is one. With an odd side, the
    # pyramid of the flow has the same grid in the mirror.
    skin = cv2.GaussianBlur(rng.normal(120, 200, (80, 80, 3)), (0, 0), 2).astype(np.float32)
    moves = [np.array([[1, 0, -8 - x], [0, 1, -8 + x / 2]]) for x in (0, 0.4, 0.5)]
    moved = np.stack([cv2.warpAffine(skin, m, (65, 65)) for m in moves])
    return {
        **make(seed),
        "frames": rng.integers(0, 255, (9, 32, 32)).astype(np.uint8),
        "landmarks": rng.uniform(20, 100, (68, 2)).astype(np.float32),
        "sub_clips": rng.integers(0, 255, (2, 8, 128, 128)).astype(np.uint8),
        "key_frames": moved.transpose(0, 3, 1, 2).astype(np.float16),
    }


def record(i: int) -> ClipRecord:
    return ClipRecord(f"c{i}", f"s{i % 2}", "happiness", True, ("12",), dataset="d")


@pytest.fixture
def in_memory(make_features: MakeFeatures) -> ClipDataset:
    clips = [MeasuredClip(record(i), features(make_features, i)) for i in range(COUNT)]
    return ClipDataset.of_clips(clips)


def test_a_folder_and_memory_hand_out_the_same(
    in_memory: ClipDataset, make_features: MakeFeatures, tmp_path: Path
) -> None:
    rows = [features(make_features, i) for i in range(COUNT)]
    save_features(tmp_path / "a.safetensors", rows)
    lines = (
        ClipRecord(**{**vars(record(i)), "shard": "a.safetensors", "row": i}).to_json()
        for i in range(COUNT)
    )
    write_lines(tmp_path / "clips.jsonl", lines)
    opened = ClipDataset.open(tmp_path)
    assert opened.clips.tolist() == in_memory.clips.tolist()
    for name in OF_CLIPS:
        assert np.array_equal(opened.inputs([name])[name], in_memory.inputs([name])[name])
    part = opened.subset([3, 1])
    assert part.clips.tolist() == ["c3", "c1"]
    assert np.array_equal(part.stack("flow"), in_memory.stack("flow")[[3, 1]])


@pytest.mark.parametrize("side", [None, 28])
def test_mirrored_features_give_mirrored_inputs(
    in_memory: ClipDataset, make_features: MakeFeatures, side: int | None
) -> None:
    """Training on both sides rests on it: the input of the flipped clip is the flipped input."""
    flipped = [
        MeasuredClip(record(i), mirror_features(features(make_features, i))) for i in range(COUNT)
    ]
    made = in_memory.inputs(OF_CLIPS, side)
    mirrored = mirror_inputs({n: torch.from_numpy(x.copy()) for n, x in made.items()})
    for name, wanted in ClipDataset.of_clips(flipped).inputs(OF_CLIPS, side).items():
        if name == "flow_diff_volume":  # estimated anew, on other grids
            assert np.corrcoef(mirrored[name].numpy().ravel(), wanted.ravel())[0, 1] > 0.99
            continue
        np.testing.assert_allclose(mirrored[name].numpy(), wanted, atol=2e-5)


def test_published_images_and_measured_flow_mean_the_same(in_memory: ClipDataset) -> None:
    """Stretched images lost gain and offset, which the encoding takes out anyhow."""
    flow = in_memory.stack("flow").astype(np.float32)[:, 0]
    images = ClipDataset.of_arrays(in_memory.records, {"flow_image": stretch(flow)})
    uv = [clips.inputs(["flow_uvs"])["flow_uvs"][:, :2] for clips in (in_memory, images)]
    assert np.corrcoef(uv[0].ravel(), uv[1].ravel())[0, 1] > 0.99


def test_sides_are_those_asked_for(in_memory: ClipDataset) -> None:
    made = in_memory.inputs(["flow_uvs", "flow_dual", "frames"], side=24)
    assert made["flow_uvs"].shape == (COUNT, 3, 24, 24)
    assert made["flow_dual"].shape == (COUNT, 2, 3, 24, 24)
    assert made["frames"].shape == (COUNT, 9, 3, 24, 24)
    assert 0 <= made["frames"].min() < made["frames"].max() <= 1


def test_what_could_not_be_measured_stays_a_row(make_features: MakeFeatures) -> None:
    clips = ClipDataset.of_clips(
        [MeasuredClip(record(0), make_features(0)), MeasuredClip(record(1), None, "no face")]
    )
    assert clips.found == (True, False) and clips[1].features is None
    assert len(clips.measured()) == 1
    assert repr(clips) == "<ClipDataset 'clips': 2 clips, 1 measured>"
    assert repr(clips[0]).startswith("<MeasuredClip 'c0' of subject ") and len(repr(clips[0])) < 99
    with pytest.raises(UserError, match="c1 could not be measured"):
        clips.stack("flow")


def test_clips_measured_in_two_sizes_are_told(make_features: MakeFeatures) -> None:
    frames = [np.zeros((9, side, side), np.uint8) for side in (64, 48)]
    clips = ClipDataset.of_clips(
        MeasuredClip(record(i), {**make_features(i), "frames": x}) for i, x in enumerate(frames)
    )
    told = "'frames' is 9 x 48 x 48 for some clips and 9 x 64 x 64 for others"
    with pytest.raises(UserError, match=told):
        clips.inputs(["frames"])


def test_two_folders_with_one_clip_are_refused(make_features: MakeFeatures, tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        save_features(tmp_path / name / "p.safetensors", [make_features(0)])
        row = replace(record(0), shard="p.safetensors")
        write_lines(tmp_path / name / "clips.jsonl", [row.to_json()])
    with pytest.raises(UserError, match="'c0' is also in"):
        ClipDataset.open(tmp_path / "a", tmp_path / "b")


@pytest.mark.parametrize("order", ["ab", "ba"])
@pytest.mark.parametrize("where", ["two folders", "one folder", "memory"])
def test_offered_is_what_the_clips_of_all_have(
    where: str, order: str, make_features: MakeFeatures, tmp_path: Path
) -> None:
    """A network that needs more is refused by name, not in the middle of reading."""
    # The second has no frames, as a corpus prepared without them beside one prepared with them.
    made = {"a": features(make_features, 0), "b": make_features(1)}
    if where == "memory":
        clips = ClipDataset.of_clips(MeasuredClip(record(i), made[n]) for i, n in enumerate(order))
    else:
        folders = [tmp_path / (name if where == "two folders" else "both") for name in order]
        lines: dict[Path, list[str]] = {folder: [] for folder in folders}
        for i, (name, folder) in enumerate(zip(order, folders, strict=True)):
            folder.mkdir(exist_ok=True)
            save_features(folder / f"{name}.safetensors", [made[name]])
            lines[folder].append(replace(record(i), shard=f"{name}.safetensors").to_json())
            write_lines(folder / "clips.jsonl", lines[folder])
        clips = ClipDataset.open(*lines)
    assert set(clips.features) == set(made["b"])
    with pytest.raises(UserError, match="'frames' is made of frames"):
        clips.inputs(["frames"])


def test_an_unknown_input_names_those_that_exist(in_memory: ClipDataset) -> None:
    with pytest.raises(UserError, match="may declare flow_uvs, flow_dual, frames"):
        in_memory.inputs(["views"])
    with pytest.raises(UserError, match=r"no feature 'events'; the clips have .*flow"):
        in_memory.stack("events")


def test_a_clip_whose_onset_is_its_apex_is_no_motion_and_stops_no_table(
    make_features: MakeFeatures,
) -> None:
    still = features(make_features, 0)
    still["key_frames"] = np.stack([still["key_frames"][0]] * 3)
    moving = features(make_features, 1)
    clips = [MeasuredClip(record(i), f) for i, f in enumerate((still, moving))]
    volumes = ClipDataset.of_clips(clips).inputs(["flow_diff_volume"], 28)["flow_diff_volume"]
    assert volumes.shape == (2, 5, 10, 28, 28)
    assert not volumes[0].any() and volumes[1].any()
