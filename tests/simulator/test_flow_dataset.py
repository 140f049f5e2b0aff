"""The dataset as written: layout, truth of the flow, resuming, refusing; and as read back."""

import hashlib
import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from deft_llm.cli.main import app
from deft_llm.errors import UserError
from deft_llm.motion.flow_files import write_flow
from deft_llm.simulator.flow import dataset as flow_dataset
from deft_llm.simulator.flow.dataset import FlowSettings, subjects, write_dataset
from deft_llm.simulator.flow.pairs import MOTION_PX
from deft_llm.simulator.flow.srflow_files import list_pairs, read_pairs

SETTINGS = FlowSettings(train=3, val=1, test=1, per_subject=2, size=96, seed=7)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("srflow") / "data"
    write_dataset(folder, SETTINGS)
    return folder


def _files(folder: Path) -> dict[str, bytes]:
    return {
        p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()
    }


def test_the_layout_and_the_manifest(written: Path) -> None:
    files = _files(written)
    manifest = json.loads(files.pop("manifest.json"))
    assert manifest["complete"] and manifest["settings"] == SETTINGS.model_dump()
    assert manifest["files"] == {n: hashlib.sha256(b).hexdigest() for n, b in files.items()}
    names = {n.split("/")[0] + "/" + n.split("/")[1] for n in files}
    kinds = ("camera", "depth", "flow", "mask", "occlusion", "render")
    assert names == {f"{split}/{kind}" for split in ("train", "val", "test") for kind in kinds}
    assert sum(n.endswith(".flo") for n in files) == 5
    assert sum("/render/" in n for n in files) == 10


def test_pairs_read_back_and_their_flow_is_true(written: Path) -> None:
    pairs = [p for split in ("train", "val", "test") for p in read_pairs(written, split)]
    assert len(pairs) == 5
    y, x = np.mgrid[:96, :96].astype(np.float32)
    before, after = 0.0, 0.0
    for pair in pairs:
        reach = np.hypot(*pair.flow)
        assert MOTION_PX[0] <= reach.max() <= MOTION_PX[1]
        assert not reach[~pair.mask].any()
        first, second = (cv2.cvtColor(i, cv2.COLOR_RGB2GRAY) for i in (pair.image1, pair.image2))
        carried = cv2.remap(second, x + pair.flow[0], y + pair.flow[1], cv2.INTER_LINEAR)
        before += float(np.abs(first.astype(float) - second)[pair.mask].mean())
        after += float(np.abs(first.astype(float) - carried)[pair.mask].mean())
    assert after < 0.8 * before


def test_depth_and_camera_give_the_rigid_flow_of_a_still_face(written: Path) -> None:
    # The camera files alone say how the head moved; where the face kept still, so does the flow.
    errors = []
    for files in list_pairs(written, "train"):
        pair, place = files.read(), files.flow.parent.parent.parent
        number = int(files.flow.stem)
        depth = np.load(place / "depth" / files.subject / f"{number:04d}.npy")
        first, second = (
            np.load(place / "camera" / files.subject / f"{number + k:04d}.npy") for k in (0, 1)
        )
        assert np.array_equal(depth > 0, pair.mask)
        y, x = np.nonzero(pair.mask)
        rays = np.stack([x, y, np.ones(len(x))]) * depth[y, x]
        points = np.linalg.solve(first[:, :3], rays - first[:, 3:])
        moved = second[:, :3] @ points + second[:, 3:]
        rigid = moved[:2] / moved[2] - np.stack([x, y])
        errors.append(np.median(np.linalg.norm(rigid - pair.flow[:, y, x], axis=0)))
    assert min(errors) < 0.02


def test_no_face_is_in_two_splits() -> None:
    drawn = subjects(FlowSettings(train=500, val=100, test=105))
    assert len({s.identity for s in drawn}) == len(drawn) == 71
    assert [sum(s.pairs for s in drawn if s.split == n) for n in ("train", "val", "test")] == [
        500,
        100,
        105,
    ]
    other = subjects(FlowSettings(train=500, val=100, test=105, seed=1))
    assert {s.identity for s in drawn} != {s.identity for s in other}


@pytest.mark.slow
def test_workers_do_not_change_a_byte(written: Path, tmp_path: Path) -> None:
    write_dataset(tmp_path / "two", SETTINGS, workers=2)
    assert _files(tmp_path / "two") == _files(written)


def test_an_interrupted_run_is_gone_on_with(
    written: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rendered: list[int] = []
    real = flow_dataset.render_pair

    def stops(seed: tuple[int, ...], identity: int, *rest: object) -> object:
        rendered.append(identity)
        if len(rendered) == 4:
            raise KeyboardInterrupt
        return real(seed, identity, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(flow_dataset, "render_pair", stops)
    folder = tmp_path / "data"
    with pytest.raises(KeyboardInterrupt):
        write_dataset(folder, SETTINGS)
    assert not json.loads((folder / "manifest.json").read_text())["complete"]
    rendered.clear()
    rendered += [0] * 4
    write_dataset(folder, SETTINGS)
    assert len(rendered) == 4 + 2, "two subjects with two and one pairs were whole"
    assert _files(folder) == _files(written)
    # A finished folder is left alone, and a missing file made again.
    shutil.rmtree(folder / "val" / "depth")
    write_dataset(folder, SETTINGS)
    assert len(rendered) == 4 + 3
    assert _files(folder) == _files(written)


def test_a_folder_with_something_else_is_refused(written: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="seed 7, not 8"):
        write_dataset(written, SETTINGS.model_copy(update={"seed": 8}))
    with pytest.raises(UserError, match="size 96, not 128"):
        write_dataset(written, SETTINGS.model_copy(update={"size": 128}))
    (tmp_path / "letter.txt").write_text("dear")
    with pytest.raises(UserError, match="new or empty folder"):
        write_dataset(tmp_path, SETTINGS)
    with pytest.raises(UserError, match="no pairs"):
        write_dataset(tmp_path / "new", FlowSettings(train=0, val=0, test=0))
    with pytest.raises(UserError, match="unknown head 'owl'"):
        write_dataset(tmp_path / "new", SETTINGS.model_copy(update={"head": "owl"}))
    assert not (tmp_path / "new").exists()
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "manifest.json").write_text("{")
    with pytest.raises(UserError, match="damaged"):
        write_dataset(tmp_path / "bad", SETTINGS)


def test_the_command_names_a_wrong_setting(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["simulate", "flow", str(tmp_path / "a"), "--size", "8"])
    assert isinstance(result.exception, UserError)
    assert "size" in str(result.exception) and "got 8" in str(result.exception)


# ------------------------------------------------------------------ the published layout


@pytest.fixture
def published(tmp_path: Path) -> Path:
    """Three frames of a subject as JPEG, with the flow between them."""
    rng = np.random.default_rng(0)
    for kind in ("render", "flow", "mask"):
        (tmp_path / "train" / kind / "018").mkdir(parents=True)
    for n in range(3):
        smooth = cv2.resize(rng.integers(0, 255, (6, 8, 3)).astype(np.uint8), (40, 30))
        cv2.imwrite(str(tmp_path / f"train/render/018/{n:04d}.jpg"), smooth)
        mask = np.zeros((30, 40), np.uint8)
        mask[5:20, 10:30] = 255
        cv2.imwrite(str(tmp_path / f"train/mask/018/{n:04d}.jpg"), mask)
    for n in range(2):
        flow = rng.normal(0, 1, (2, 30, 40)).astype(np.float32)
        write_flow(tmp_path / f"train/flow/018/{n:04d}.flo", flow)
    return tmp_path


def test_the_published_layout_is_read(published: Path) -> None:
    first, second = read_pairs(published, "train")
    assert (first.name, second.name) == ("018/0000", "018/0001")
    assert np.array_equal(first.image2, second.image1)
    assert not np.array_equal(first.image1, first.image2)
    assert first.flow.shape == (2, 30, 40) and first.mask.sum() == 15 * 20
    np.save(published / "train/mask/018/0001.npy", first.mask)
    (published / "train/mask/018/0001.jpg").unlink()
    assert np.array_equal(list(read_pairs(published, "train"))[1].mask, first.mask)


def test_flow_without_a_value_is_masked(published: Path) -> None:
    flow = np.zeros((2, 30, 40), "<f4")
    flow[0, 0, 0], flow[1, 6, 12], flow[0, 7, 12] = np.nan, 2e9, np.nan
    file = published / "train/flow/018/0000.flo"
    file.write_bytes(file.read_bytes()[:12] + flow.transpose(1, 2, 0).tobytes())
    pair = next(read_pairs(published, "train"))
    assert not pair.flow.any() and not pair.mask[6:8, 12].any() and pair.mask.sum() == 298


def test_what_is_wrong_with_a_pair_is_named(published: Path) -> None:
    with pytest.raises(UserError, match="no flow in split 'test'; expected"):
        list_pairs(published, "test")
    flo = published / "train/flow/018/0000.flo"
    whole = flo.read_bytes()
    flo.write_bytes(whole[:-5])
    with pytest.raises(UserError, match=r"0000\.flo"):
        next(read_pairs(published, "train"))
    flo.write_bytes(whole)
    mask = published / "train/mask/018/0000.npy"
    (published / "train/mask/018/0000.jpg").unlink()
    for shape, words in (((20, 40), "expected .30, 40."), ((30, 40, 2), "expected .H, W.")):
        np.save(mask, np.ones(shape, np.uint8))
        with pytest.raises(UserError, match=words):
            next(read_pairs(published, "train"))
    mask.write_bytes(b"nothing")
    with pytest.raises(UserError, match="not readable as an array"):
        next(read_pairs(published, "train"))
    np.save(mask, np.ones((30, 40), bool))
    image = published / "train/render/018/0001.jpg"
    cv2.imwrite(str(image), np.zeros((10, 40, 3), np.uint8))
    with pytest.raises(UserError, match=r"0001\.jpg: shape .10, 40.; expected .30, 40."):
        next(read_pairs(published, "train"))
    image.write_bytes(b"")
    with pytest.raises(UserError, match="not readable as an image"):
        next(read_pairs(published, "train"))
    image.unlink()
    with pytest.raises(UserError, match=r"0001\.png: no such file; expected"):
        list_pairs(published, "train")
