"""Flow training: the pairs are what they say, augmentation keeps them so, a recipe runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from deft_llm.errors import UserError
from deft_llm.flow_models import pairs as flow_data
from deft_llm.flow_models.files import load_flow_net
from deft_llm.flow_models.first_flow import FirstFlowConfig
from deft_llm.flow_models.pairs import PairData, PairStore, build_pairs, pair_specs
from deft_llm.flow_models.task import FlowRecipe, FlowTask, augment
from deft_llm.simulator.head import load_head
from deft_llm.training import tasks

ROOT = Path(__file__).resolve().parents[2]
SMOKE = ROOT / "train_configs" / "flow" / "smoke.yaml"
DATA = PairData(
    clips=2, identities=2, crop=96, crops=1, workers=1, peak_px=(3.0, 4.0), compressed_share=0.0
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pairs")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(flow_data, "PAIRS_PER_SHARD", 1)
        build_pairs(DATA, folder)
    return folder


@pytest.fixture
def store(folder: Path, monkeypatch: pytest.MonkeyPatch) -> PairStore:
    monkeypatch.setattr(flow_data, "PAIRS_PER_SHARD", 1)
    return PairStore(folder)


def residuals(pair: dict[str, NDArray[Any]]) -> tuple[float, float]:
    """Mean difference of what moves, before and after the second image is carried back."""
    first, second = (image.astype(np.float32).mean(0) for image in pair["images"])
    flow = pair["flow"].astype(np.float32)
    height, width = first.shape
    y, x = np.mgrid[:height, :width].astype(np.float32)
    back = cv2.remap(second, x + flow[0], y + flow[1], cv2.INTER_CUBIC)
    moved = pair["mask"].astype(bool) & (np.hypot(*flow) > 0.5)
    moved[:6], moved[-6:], moved[:, :6], moved[:, -6:] = False, False, False, False
    if moved.sum() < 100:
        return 0.0, 0.0
    return float(abs(first - second)[moved].mean()), float(abs(first - back)[moved].mean())


def test_true_flow_carries_the_images(store: PairStore) -> None:
    before, after = np.array([residuals(store[i]) for i in range(len(store))]).sum(0)
    assert before > 0 and after < 0.75 * before


def test_augmented_pairs_are_pairs(store: PairStore) -> None:
    rng = np.random.default_rng(0)
    total = np.zeros(2)
    for i in range(len(store)):
        for _ in range(6):
            cut = augment(store[i], rng, 80)
            assert cut["images"].shape == (2, 3, 80, 80) and cut["flow"].shape == (2, 80, 80)
            assert cut["images"].min() >= 0 and cut["images"].max() <= 255
            total += residuals(cut)
    assert total[0] > 0 and total[1] < 0.85 * total[0]


def test_pairs_are_made_once_and_mended(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flow_data, "PAIRS_PER_SHARD", 1)
    files = sorted(folder.glob("*.safetensors"))
    assert len(files) == 2
    bytes_before = files[1].read_bytes()
    kept = files[0].stat().st_mtime_ns
    files[1].unlink()
    with pytest.raises(UserError, match="pairs-00001"):
        PairStore(folder)
    build_pairs(DATA, folder)
    assert files[1].read_bytes() == bytes_before  # same seed, same bytes
    assert files[0].stat().st_mtime_ns == kept
    with pytest.raises(UserError, match="other settings"):
        build_pairs(DATA.model_copy(update={"seed": 5}), folder)


def test_notes_are_those_of_earlier_runs() -> None:
    """A field more, or in another place, and no run of an earlier version could go on."""
    asked = PairData(clips=1, identities=1).model_dump_json(exclude={"workers", "head_file"})
    assert asked == (
        '{"clips":1,"identities":1,"first_identity":1000,"seed":2000000,"head":"own",'
        '"peak_px":[0.1,4.0],"drift_px":[0.1,4.0],"still_share":0.5,"compressed_share":0.5,'
        '"coded_share":0.5,"crop":128,"crops":2}'
    )


def test_recipes_cover_what_is_asked(tmp_path: Path) -> None:
    data = PairData(clips=200, identities=10, first_identity=50)
    specs = list(pair_specs(data, load_head("own")))
    assert {s.identity for s in specs} <= set(range(50, 60))
    peaks = np.array([s.peak_px for s in specs])
    assert peaks.min() >= 0.1 and peaks.max() <= 4 and np.median(peaks) < 1
    assert 0.35 < np.mean([s.motion.drift == 0 for s in specs]) < 0.65
    assert all(s.aus for s in specs)
    with pytest.raises(UserError, match=r"no pairs\.json"):
        PairStore(tmp_path)


def recipe(output: Path) -> FlowRecipe:
    values = {**_smoke(), "output": str(output)}
    return FlowRecipe(**values)


def _smoke() -> dict[str, Any]:
    from deft_llm.config import read_yaml

    values = read_yaml(SMOKE)
    values.pop("task")
    return values


def test_batches_are_a_function_of_their_number(store: PairStore, tmp_path: Path) -> None:
    task = FlowTask(recipe(tmp_path), store)
    one, again, other = task.batch(3), task.batch(3), task.batch(4)
    assert all(torch.equal(one[name], again[name]) for name in one)
    assert not torch.equal(one["images1"], other["images1"])
    losses = task.training_step(one)
    assert set(losses) == {"loss", "sequence", "mask", "gradient", "tv"}


def test_a_recipe_runs_and_starts_another(tmp_path: Path) -> None:
    output = tmp_path / "run"
    tasks.run(SMOKE, [f"output={output}"])
    network = load_flow_net(output / "final")
    assert network.config.first == FirstFlowConfig(widths=(8, 12), windows=(2.5, 5.0))
    rows = [json.loads(line) for line in (output / "log.jsonl").read_text().splitlines()]
    assert [r["step"] for r in rows if "loss" in r] == [1, 2, 3, 4]
    assert rows[-1]["epe"] > 0 and rows[-1]["epe_zero_flow"] > 0
    with pytest.raises(UserError, match="another recipe"):
        tasks.run(SMOKE, [f"output={output}", "seed=1"])
    tuned = tmp_path / "tuned"
    changes = [
        f"pairs={output / 'pairs'}",
        f"start={output / 'final'}",
        "schedule.steps=1",
        "validation=null",
    ]
    tasks.run(SMOKE, [f"output={tuned}", "schedule.learning_rate=1e-9", *changes])
    before, after = network.state_dict(), load_flow_net(tuned / "final").state_dict()
    head = "update.head.after.2.weight"
    torch.testing.assert_close(before[head], after[head], atol=1e-6, rtol=0)
    aligned = tmp_path / "aligned"
    tasks.run(SMOKE, [f"output={aligned}", "model.first.aligned=true", *changes])
    first = load_flow_net(aligned / "final").config.first
    assert first is not None and first.aligned
    with pytest.raises(UserError, match="other sizes than the recipe's model"):
        tasks.run(SMOKE, [f"output={tmp_path / 'wide'}", "model.width=0.125", *changes])


def test_wrong_recipes_are_named(tmp_path: Path) -> None:
    for change, words in (
        ("losses.gradien=1", "'losses.gradien'; did you mean 'gradient'"),
        ("model.stride=2", "model.stride"),
        ("schedule.steps=0", "schedule.steps"),
        ("validation.first_identity=1001", "validation.first_identity 1001: 1 of its identities"),
        ("validation.seed=2000001", "are those of data too, from 2000001 on; give another"),
    ):
        with pytest.raises(UserError, match=words):
            tasks.run(SMOKE, [f"output={tmp_path}", change])
