"""Joint training of MOL: targets move with the frames, labels may be few, a recipe runs."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from deft_llm.data.clip_dataset import ClipDataset
from deft_llm.data.features import Features, mirror_features
from deft_llm.data.labelled import LabelledClips
from deft_llm.data.records import ClipRecord
from deft_llm.data.sources import ClipSource
from deft_llm.recognizers.mol import MOL
from deft_llm.recognizers.mol_examples import mirrored_points, neighbour_flow, shifted
from deft_llm.recognizers.mol_losses import NO_CLASS
from deft_llm.recognizers.mol_task import MolRecipe, MolTask
from deft_llm.training import tasks
from tests.recognizers.conftest import write_folder

RECIPES = Path(__file__).resolve().parents[2] / "train_configs" / "recognizers"
MakeFeatures = Callable[[int], Features]


def sub_clips(seed: int) -> NDArray[np.uint8]:
    """Two sub-clips of a texture that moves to the right, a quarter of a pixel a frame."""
    noise = np.random.default_rng(seed).normal(120, 150, (160, 160)).astype(np.float32)
    skin = np.clip(cv2.GaussianBlur(noise, (0, 0), 2), 0, 255)
    moves = [np.array([[1, 0, 0.25 * t - 16], [0, 1, -16]]) for t in range(8)]
    moved = [cv2.warpAffine(skin, m, (128, 128)).round().astype(np.uint8) for m in moves]
    return np.stack([moved, moved])


def raw(seed: int) -> Features:
    rng = np.random.default_rng(seed)
    return {
        "sub_clips": sub_clips(seed),
        "key_frames": rng.normal(120, 30, (3, 3, 128, 128)).astype(np.float16),
        "landmarks": rng.uniform(20, 100, (68, 2)).astype(np.float32),
    }


def examples(count: int = 4) -> LabelledClips:
    records = [ClipRecord(f"c{i}", f"s{i}", None, True, ()) for i in range(count)]
    rows = [raw(i) for i in range(count)]
    arrays = {name: np.stack([row[name] for row in rows]) for name in rows[0]}
    clips = ClipDataset.of_arrays(records, arrays)
    return LabelledClips(clips, np.arange(count) % 2, ("a", "b"))


def task(count: int = 4, heads: bool = True, **changes: Any) -> MolTask:
    torch.manual_seed(0)
    network = MOL(2, flow=heads, landmarks=heads, flow_width=0.0625)
    recipe = MolRecipe(output=Path("run"), data=ClipSource(folder=Path("data")), **changes)
    return MolTask(network, examples(count), count, 0, recipe=recipe)


def test_maps_are_shifted_by_whole_pixels() -> None:
    x = torch.arange(2 * 25.0).view(2, 1, 5, 5)
    found = shifted(x, torch.tensor([[1, 0], [0, -2]]))
    assert torch.equal(found[0, 0, :, 1:], x[0, 0, :, :-1])
    assert torch.equal(found[0, 0, :, 0], x[0, 0, :, 0])
    assert torch.equal(found[1, 0, :3], x[1, 0, 2:])
    assert shifted(x, torch.zeros(2, 2, dtype=torch.long)) is x


def test_flow_targets_are_those_between_neighbours() -> None:
    flow = neighbour_flow(sub_clips(0)[None], "lk")
    assert flow.shape == (1, 2, 7, 2, 128, 128)
    middle = flow[..., 30:-30, 30:-30].astype(np.float32)
    assert middle[:, :, :, 0].mean() == pytest.approx(0.25, abs=0.05)
    assert abs(middle[:, :, :, 1].mean()) < 0.05


def test_targets_move_with_the_frames() -> None:
    made = task(shift=8)
    seen = set()
    for index in range(3):
        rows, flipped = made.drawn(index)
        batch = made.batch(index)
        for i, (row, mirrored) in enumerate(zip(rows.tolist(), flipped.tolist(), strict=True)):
            features = raw(row)
            if mirrored:
                features = mirror_features({**features, **NOTHING})
            offset = batch["landmarks"][i, 0] - torch.from_numpy(features["landmarks"])
            x, y = (int(v) for v in offset[0].round())
            torch.testing.assert_close(offset, torch.tensor([x, y]).expand(68, 2).float())
            frame = torch.from_numpy(features["sub_clips"][0, 0]) / 255
            inner = slice(20, 100)
            moved = batch["frames"][i, 0, 20 + y : 100 + y, 20 + x : 100 + x]
            torch.testing.assert_close(moved, frame[inner, inner])
            sign = -1 if mirrored else 1
            assert sign * float(batch["flow"][i, :, 0, 40:-40, 40:-40].mean()) > 0.15
            seen.add((x, y, mirrored))
    assert len(seen) > 6 and {True, False} == {m for _, _, m in seen}
    assert torch.equal(made.batch(1)["frames"], made.batch(1)["frames"])


# What ``mirror_features`` needs besides.
NOTHING: Features = {
    "flow": np.zeros((2, 3, 4, 4)),
    "onset": np.zeros((4, 4, 3)),
    "regions": np.zeros((2, 29, 8)),
}


def test_mirroring_points_twice_changes_nothing() -> None:
    points = 128 * torch.rand(2, 68, 2)
    torch.testing.assert_close(mirrored_points(mirrored_points(points)), points)


def test_only_a_share_of_the_clips_has_labels() -> None:
    made = task(10, heads=False, labelled=0.3)
    labels = made.batch(0)["labels"]
    assert (labels != NO_CLASS).sum() == 3
    assert set(made.batch(0)) == {"frames", "labels"}
    assert set(made.training_step(made.batch(0))) == {"loss", "emotion"}


def test_the_smoke_recipe_trains_all_heads(tmp_path: Path, make_features: MakeFeatures) -> None:
    for part in ("data", "test"):
        write_folder(tmp_path / part, lambda i: {**make_features(i), **raw(i)}, part)
    changes = {part: tmp_path / part for part in ("data", "test")} | {"output": tmp_path / "run"}
    tasks.run(
        RECIPES / "mol_smoke.yaml",
        [*(f"{k}={v}" for k, v in changes.items()), "schedule.steps=2", "batch_size=2"],
    )
    rows = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").open(encoding="utf-8")]
    assert {"loss", "emotion", "flow", "landmarks"} <= set(rows[0])
    final = tmp_path / "run" / "final"
    saved = json.loads((final / "config.json").read_text(encoding="utf-8"))
    assert saved["recognizer"] == "mol" and (final / "scores.json").is_file()
