"""Landmark training: faces are what they say, what is painted leaves them, a recipe runs."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from deft_llm import facs
from deft_llm.config import read_yaml
from deft_llm.errors import UserError
from deft_llm.landmark_models import faces as landmark_data
from deft_llm.landmark_models.augment import disturb, sample
from deft_llm.landmark_models.faces import FaceData, FaceStore, build_faces, face_specs
from deft_llm.landmark_models.files import load_landmark_net
from deft_llm.landmark_models.task import LandmarkRecipe, LandmarkTask
from deft_llm.media.canonical import CANONICAL_LANDMARKS
from deft_llm.metrics.landmarks import interocular
from deft_llm.simulator.appearance.occluders import _Teeth, add_occluders
from deft_llm.simulator.head import load_head
from deft_llm.training import tasks

ROOT = Path(__file__).resolve().parents[2]
SMOKE = ROOT / "train_configs" / "landmarks" / "smoke.yaml"
DATA = FaceData(clips=2, frames=2, identities=2, workers=1)


@pytest.fixture(scope="module", autouse=True)
def small_shards() -> object:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(landmark_data, "FACES_PER_SHARD", 1)
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, small_shards: object) -> Path:
    folder = tmp_path_factory.mktemp("faces")
    build_faces(DATA, folder)
    return folder


def test_faces_are_faces(folder: Path) -> None:
    store = FaceStore(folder)
    assert store.image.shape == (4, 192, 192) and store.points.shape == (4, 68, 2)
    assert (interocular(store.points) > 20).all() and (interocular(store.points) < 45).all()
    eyes, mouth = store.points[:, 36:48].mean(1), store.points[:, 48:].mean(1)
    assert (mouth[:, 1] > eyes[:, 1] + 20).all()
    assert store.image.std(axis=(1, 2)).min() > 5


def test_faces_are_made_once_and_mended(folder: Path) -> None:
    files = sorted(folder.glob("*.safetensors"))
    before, kept = files[1].read_bytes(), files[0].stat().st_mtime_ns
    files[1].unlink()
    with pytest.raises(UserError, match="own-00001"):
        FaceStore(folder)
    build_faces(DATA, folder)
    assert files[1].read_bytes() == before  # same seed, same bytes
    assert files[0].stat().st_mtime_ns == kept
    whole = files[0].read_bytes()
    files[0].write_bytes(whole[:1000])
    with pytest.raises(UserError, match="not readable"):
        FaceStore(folder)
    files[0].write_bytes(whole)
    with pytest.raises(UserError, match="other settings"):
        build_faces(DATA.model_copy(update={"seed": 5}), folder)


@pytest.mark.usefixtures("no_ict")
def test_a_head_without_its_file_is_told_before_anything_is_rendered(tmp_path: Path) -> None:
    two = DATA.model_copy(update={"heads": ("own", "ict")})
    with pytest.raises(UserError, match="the head 'ict' needs a path"):
        build_faces(two, tmp_path / "faces")
    assert not list(tmp_path.rglob("*.safetensors"))


def test_recipes_reach_far() -> None:
    """Micro to macro, turned heads, closed eyes: what boxes on real faces will show."""
    data = FaceData(clips=200, identities=9, first_identity=50)
    specs = list(face_specs(data, 0, load_head("own")))
    assert {s.identity for s in specs} == set(range(50, 59))
    peaks = np.array([s.peak_px for s in specs])
    assert peaks.min() < 2 and peaks.max() > 20
    yaw, pitch = np.degrees([s.motion.rest[:2] for s in specs]).T
    assert 10 < yaw.std() < 17 and abs(yaw).max() <= 35.1 and 6 < pitch.std() < 11
    assert 0.35 < np.mean([s.blink is not None for s in specs]) < 0.65
    assert 0.05 < np.mean([not s.aus for s in specs]) < 0.35


def test_laughs_are_broad_and_the_other_clips_stay_as_they_were() -> None:
    head = load_head("own")
    plain = DATA.model_copy(update={"clips": 60})
    some = list(face_specs(plain.model_copy(update={"laughs": 0.5}), 0, head))
    laughing = [{"12", "25"} <= set(spec.aus) and spec.peak_px >= 8 for spec in some]
    assert 15 < sum(laughing) < 45
    for spec, without, laughs in zip(some, face_specs(plain, 0, head), laughing, strict=True):
        assert laughs or spec == without


def test_teeth_show_between_open_lips_alone() -> None:
    points = np.array([CANONICAL_LANDMARKS, CANONICAL_LANDMARKS], np.float32)
    points[0, 65:68] = points[0, 63:60:-1]  # shut
    points[1, 65:68] += (0, 14)
    whites = []
    for seed in range(12):
        teeth = _Teeth(np.random.default_rng(seed), 224)
        whites.append([float(teeth.on(face)[1].sum()) for face in points])
        outside = teeth.on(points[1])[1] * (
            1
            - cv2.fillPoly(
                np.zeros((224, 224), np.float32), [points[1, 60:68].astype(np.int32)], 1.0
            )
        )
        assert outside.sum() < 0.5 * whites[-1][1]
    shut, opened = np.mean(whites, axis=0)
    assert opened > 4 * shut


def test_paint_spares_most_of_the_face() -> None:
    """Over many wardrobes the inner face is mostly seen, and what surrounds it mostly is not."""
    points = (CANONICAL_LANDMARKS * 0.45 + 46)[None]
    frames = np.full((1, 192, 192, 3), 100, np.uint8)
    mask = np.zeros((192, 192), np.uint8)
    cv2.ellipse(mask, (96, 100), (46, 62), 0, 0, 360, 1, -1)
    changed = np.mean(
        [
            (
                add_occluders(frames, mask[None].astype(bool), points, np.random.default_rng(s))
                != 100
            ).any(-1)
            for s in range(60)
        ],
        axis=0,
    )[0]
    inner = points[0, 27:].astype(int)
    assert changed[inner[:, 1], inner[:, 0]].mean() < 0.4
    assert changed[mask == 0].mean() > 0.7


def test_points_stay_on_what_they_mark() -> None:
    """Dots at the landmarks are found where the crop's points say, mirrored or not."""
    points = CANONICAL_LANDMARKS * 0.7 + 40
    image = np.zeros((240, 240), np.uint8)
    for x, y in points[[8, 30, 36, 54]]:
        cv2.circle(image, (round(float(x) * 16), round(float(y) * 16)), 64, 255, -1, cv2.LINE_AA, 4)
    rng = np.random.default_rng(0)
    sides = []
    for _ in range(12):
        crop, found = sample(image, points, rng, 96, lambda crop, rng: crop)
        sides.append(found[36, 0] < found[45, 0])
        assert found[36, 0] < found[45, 0]  # the image-left eye stays the image-left eye
        inside = found[((found > 3) & (found < 92)).all(1)]
        marks = [i for i in (8, 30) if (found[i] > 3).all() and (found[i] < 92).all()]
        assert len(inside) and all(
            crop[round(float(found[i, 1])), round(float(found[i, 0]))] > 60 for i in marks
        )


def test_points_go_along_when_a_face_is_bent() -> None:
    points = CANONICAL_LANDMARKS * 0.7 + 40
    image = np.zeros((240, 240), np.uint8)
    marked = [8, 30, 36, 54]
    for x, y in points[marked]:
        cv2.circle(image, (round(float(x) * 16), round(float(y) * 16)), 64, 255, -1, cv2.LINE_AA, 4)
    off, moved = [], []
    for seed in range(20):
        plain, reshaped = (
            sample(image, points, np.random.default_rng(seed), 96, warp=warp) for warp in (0, 0.03)
        )
        moved.append(np.linalg.norm(reshaped[1] - plain[1], axis=1).mean())
        for x, y in reshaped[1][marked]:
            if 8 < x < 88 and 8 < y < 88:
                rows, columns = np.mgrid[round(y) - 5 : round(y) + 6, round(x) - 5 : round(x) + 6]
                light = reshaped[0][rows, columns] / 255
                place = [(light * axis).sum() / light.sum() for axis in (columns, rows)]
                off.append(np.hypot(place[0] - x, place[1] - y))
    assert len(off) > 50 and np.mean(off) < 0.35 and max(off) < 1
    assert 2 < np.mean(moved) < 7  # px of 96: of SD 0.03 in two directions, bent and stretched


def test_mirrored_samples_are_mirrored_faces() -> None:
    """Of a symmetric face and its mirror image nothing but the order of the points could differ."""
    points = CANONICAL_LANDMARKS * 0.7 + 40
    image = np.zeros((240, 240), np.uint8)
    seen = set()
    for seed in range(8):
        plain = sample(image, points, np.random.default_rng(seed), 96)[1]
        either = sample(image, points, np.random.default_rng(seed), 96, lambda crop, rng: crop)[1]
        mirrored = plain[list(facs.MIRROR_68)] * (-1, 1) + (95, 0)
        same, flipped = (np.allclose(either, p, atol=1e-4) for p in (plain, mirrored))
        assert same != flipped
        seen.add(same)
    assert seen == {True, False}


def test_disturbed_crops_still_show_something() -> None:
    crop = np.tile(np.linspace(20, 220, 96).astype(np.uint8), (96, 1))
    rng = np.random.default_rng(0)
    many = [disturb(crop, rng) for _ in range(100)]
    assert all(m.shape == crop.shape and m.dtype == np.uint8 for m in many)
    slopes = [np.corrcoef(m.mean(0), crop[0])[0, 1] for m in many if m.std() > 2]
    assert len(slopes) > 90 and np.mean(np.array(slopes) > 0.5) > 0.75
    assert len({m.tobytes() for m in many}) == 100


def recipe(output: Path) -> LandmarkRecipe:
    values = {**read_yaml(SMOKE), "output": str(output)}
    values.pop("task")
    return LandmarkRecipe(**values)


def test_batches_are_a_function_of_their_number(folder: Path, tmp_path: Path) -> None:
    task = LandmarkTask(recipe(tmp_path), FaceStore(folder))
    one, again, other = task.batch(3), task.batch(3), task.batch(4)
    assert all(torch.equal(one[name], again[name]) for name in one)
    assert not torch.equal(one["crop"], other["crop"])
    assert set(task.training_step(one)) == {"loss", "distance", "nll"}


def test_it_learns_one_batch(folder: Path, tmp_path: Path) -> None:
    """Forty steps on the same eight crops must halve the distance."""
    torch.manual_seed(0)
    values = recipe(tmp_path).model_copy(update={"batch_size": 8})
    task = LandmarkTask(values, FaceStore(folder))
    batch = task.batch(0)
    optimizer = torch.optim.AdamW(task.model.parameters(), lr=1e-2)
    distances = []
    for _ in range(40):
        losses = task.training_step(batch)
        losses["loss"].backward()
        optimizer.step()
        optimizer.zero_grad()
        distances.append(float(losses["distance"]))
    assert distances[-1] < 0.5 * distances[0]


def test_a_recipe_runs_and_starts_another(tmp_path: Path) -> None:
    output = tmp_path / "run"
    tasks.run(SMOKE, [f"output={output}"])
    assert load_landmark_net(output / "final").config.side == 32
    rows = [json.loads(line) for line in (output / "log.jsonl").read_text().splitlines()]
    assert [r["step"] for r in rows if "loss" in r] == [1, 2, 3, 4]
    assert rows[-1]["nme"] > 0 and rows[-1]["error_over_stated"] > 0
    with pytest.raises(UserError, match="another recipe"):
        tasks.run(SMOKE, [f"output={output}", "seed=1"])
    changes = [f"faces={output / 'faces'}", "schedule.steps=1", "validation=null"]
    tasks.run(SMOKE, [f"output={tmp_path / 'tuned'}", f"start={output / 'final'}", *changes])
    assert (tmp_path / "tuned" / "final" / "model.safetensors").is_file()
    wide = [f"output={tmp_path / 'wide'}", f"start={output / 'final'}", "model.side=64"]
    with pytest.raises(UserError, match="other sizes than the recipe's model"):
        tasks.run(SMOKE, [*wide, *changes])


def test_wrong_recipes_are_named(tmp_path: Path) -> None:
    for change, words in (
        ("model.widht=8", "'model.widht'; did you mean 'width'"),
        ("model.side=40", "model.side"),
        ("data.clips=0", "data.clips"),
        ("validation.first_identity=1001", "validation.first_identity 1001: 1 of its identities"),
        ("validation.seed=3000001", "are those of data too, from 3000001 on; give another"),
    ):
        with pytest.raises(UserError, match=words):
            tasks.run(SMOKE, [f"output={tmp_path}", change])
