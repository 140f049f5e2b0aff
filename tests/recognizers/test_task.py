"""Training of recognizers: batches, mirroring, and a recipe from start to end."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from deft_llm import facs
from deft_llm.clip import UNREAD
from deft_llm.data.clip_dataset import ClipDataset
from deft_llm.data.features import Features, mirror_features
from deft_llm.data.labelled import LabelledClips, labelled, three_class
from deft_llm.data.records import ClipRecord
from deft_llm.errors import UserError
from deft_llm.files import write_lines
from deft_llm.recognizers.base import RECOGNIZERS, load_recognizer
from deft_llm.recognizers.task import RecognizerTask, train
from deft_llm.training import tasks
from tests.recognizers.conftest import write_folder

ROOT = Path(__file__).resolve().parents[2]
RECIPE = ROOT / "train_configs" / "recognizers" / "fmanet.yaml"


def flows(count: int = 10) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(count, 2, 3, 16, 16)).astype(np.float32)


def clips_of(flow: np.ndarray, labels: Sequence[int], mirrored: tuple[int, int]) -> LabelledClips:
    records = [ClipRecord(f"c{i}", f"s{i}", None, True, ()) for i in range(len(flow))]
    clips = ClipDataset.of_arrays(records, {"flow": flow})
    return LabelledClips(clips, np.array(labels), ("a", "b"), mirrored)


def examples(count: int = 10) -> LabelledClips:
    return clips_of(flows(count), [i % 2 for i in range(count)], mirrored=(1, 0))


def test_an_epoch_shows_every_clip_once() -> None:
    data = examples()
    task = RecognizerTask(load_recognizer("fmanet", 2, width=4), data, batch_size=5)  # type: ignore[arg-type]
    whole = torch.cat([task.batch(i)["flow_dual"].abs() for i in (2, 3)])
    key = data.batches(("flow_dual",)).inputs["flow_dual"].abs().mean((1, 2, 3, 4))
    torch.testing.assert_close(whole.mean((1, 2, 3, 4)).sort()[0], key.sort()[0])
    again = [task.batch(7), task.batch(7)]
    assert all(torch.equal(again[0][name], again[1][name]) for name in again[0])
    assert not torch.equal(task.batch(7)["flow_dual"], task.batch(9)["flow_dual"])


def test_mirroring_is_that_of_features(make_features: Callable[[int], Features]) -> None:
    features = make_features(0)
    pair = [features["flow"], mirror_features(features)["flow"]]
    clips = clips_of(np.stack(pair).astype(np.float32), [0, 1], (1, 0))
    data = clips.batches(("flow_uvs", "flow_dual"))
    rows, flipped = torch.tensor([0, 1]), torch.tensor([True, False])
    batch = data.batch(rows, flipped)
    assert batch["labels"].tolist() == [1, 1]
    for name in ("flow_uvs", "flow_dual"):
        torch.testing.assert_close(batch[name][0], batch[name][1])


def test_inputs_that_the_clips_were_not_measured_for_are_named() -> None:
    with pytest.raises(UserError, match="'frames'"):
        examples().batches(("frames",))
    with pytest.raises(UserError, match="may declare flow_uvs, flow_dual, frames"):
        examples().batches(("flow_uv",))


def test_only_the_three_classes_are_read(
    tmp_path: Path, make_features: Callable[[int], Features]
) -> None:
    clips = ClipDataset.open(write_folder(tmp_path / "data", make_features, "s"))
    data = labelled(clips, facs.THREE_CLASSES, three_class)
    names = [facs.THREE_CLASSES[i] for i in data.labels]
    assert len(data) == 9 and names[:3] == ["positive", "negative", "surprise"]
    others = clips.subset(i for i, r in enumerate(clips.records) if r.emotion == "others")
    with pytest.raises(UserError, match="no clip with an emotion"):
        labelled(others, facs.THREE_CLASSES, three_class)


def overrides(tmp_path: Path, validation: Path) -> list[str]:
    values = {
        "output": tmp_path / "run",
        "test": "",
        "data": tmp_path / "data",
        "validation": validation,
        "options.width": 4,
        "batch_size": 4,
        "schedule.steps": 2,
    }
    return [f"{key}={value}" for key, value in values.items()]


def test_a_recipe_runs(tmp_path: Path, make_features: Callable[[int], Features]) -> None:
    write_folder(tmp_path / "data", make_features, "s")
    other = write_folder(tmp_path / "other", make_features, "t")
    tasks.run(RECIPE, overrides(tmp_path, other))
    final = tmp_path / "run" / "final"
    saved = json.loads((final / "config.json").read_text())
    model = load_recognizer(saved["recognizer"], len(saved["classes"]), **saved["options"])
    model.load_state_dict(load_file(final / "model.safetensors"))  # type: ignore[union-attr]
    last = json.loads((tmp_path / "run" / "log.jsonl").read_text().splitlines()[-1])
    assert {"uf1", "uar", "accuracy"} <= set(last)


def test_shared_seeds_stop_a_recipe(tmp_path: Path) -> None:
    """Other faces, but the expressions, lights and noise that were learned from."""
    sets = [{"clips": 3, "identities": 2, "first_identity": first} for first in (1000, 2000)]
    values: dict[str, Any] = {"recognizer": "ststnet", "output": str(tmp_path / "run")}
    values |= {"schedule": {"steps": 1}}
    values |= {name: {"simulated": s} for name, s in zip(("data", "test"), sets, strict=True)}
    with pytest.raises(UserError, match="data and test draw 3 clips from the same seeds"):
        train(values, "recipe.yaml")


def test_shared_subjects_stop_a_recipe(
    tmp_path: Path, make_features: Callable[[int], Features]
) -> None:
    folder = write_folder(tmp_path / "data", make_features, "s")
    with pytest.raises(UserError, match="share subject s0 and 11 more"):
        tasks.run(RECIPE, overrides(tmp_path, folder))
    assert not (tmp_path / "run").exists()


# ------------------------------------------------------------------- one form for all


def with_frames(make: Callable[[int], Features]) -> Callable[[int], Features]:
    """Clips that were measured for networks that read frames, too."""

    def made(seed: int) -> Features:
        rng = np.random.default_rng(seed)
        return {**make(seed), "frames": rng.integers(0, 255, (9, 32, 32)).astype(np.uint8)}

    return made


@pytest.mark.parametrize("name", ["fmanet", "htnet", "lbp_top"])
def test_one_form_of_recipe_trains_and_scores_each_kind(
    name: str, tmp_path: Path, make_features: Callable[[int], Features]
) -> None:
    """Dual flow at any side, flow at the 28 pixels that HTNet is made for, and frames."""
    for part in ("data", "test"):
        write_folder(tmp_path / part, with_frames(make_features), part)
    changes: dict[str, object] = {part: tmp_path / part for part in ("data", "test")}
    changes["output"] = tmp_path / "run"
    if name != "lbp_top":
        changes |= {"schedule.steps": 2, "batch_size": 4}
    if name == "fmanet":
        changes |= {"options.width": 4}
    tasks.run(RECIPE.with_name(f"{name}.yaml"), [f"{k}={v}" for k, v in changes.items()])
    final = tmp_path / "run" / "final"
    rows = [json.loads(line) for line in (final / "predictions.jsonl").open(encoding="utf-8")]
    assert len(rows) == 9  # those of the three classes
    right = np.mean([row["label"] == row["predicted"] for row in rows])
    assert json.loads((final / "scores.json").read_text())["accuracy"] == pytest.approx(right)
    assert all(sum(row["probabilities"].values()) == pytest.approx(1, abs=1e-4) for row in rows)


class Drawing:
    """A recognizer that is fitted in one call, with random numbers of its own."""

    inputs = ("flow_uvs",)
    seeds: ClassVar[list[int]] = []

    def __init__(self, classes: int, seed: int = 0) -> None:
        self.classes = classes
        self.seeds.append(seed)

    def fit(self, inputs: dict[str, np.ndarray], labels: np.ndarray) -> None:
        """Keep nothing."""

    def predict_proba(self, inputs: dict[str, np.ndarray]) -> np.ndarray:
        """The same for all."""
        return np.full((len(inputs["flow_uvs"]), self.classes), 1 / self.classes)


def test_the_seed_of_a_recipe_is_that_of_a_recognizer_fitted_in_one_call(
    tmp_path: Path, make_features: Callable[[int], Features], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(RECOGNIZERS, "drawing", f"{__name__}:Drawing")
    data = write_folder(tmp_path / "data", make_features, "s")
    made = [f"data={data}", "validation=", "test=", f"output={tmp_path / 'run'}"]
    changes = [*made, "recognizer=drawing", "options={}", "seed=3"]
    tasks.run(RECIPE, changes)
    tasks.run(RECIPE, [*changes, "options.seed=5", f"output={tmp_path / 'other'}"])
    assert Drawing.seeds == [3, 5]


class Silent(Drawing):
    """Gives no answer about any clip."""

    fits: ClassVar[list[int]] = []

    def fit(self, inputs: dict[str, np.ndarray], labels: np.ndarray) -> None:
        """Count the calls."""
        self.fits.append(len(labels))

    def predict_proba(self, inputs: dict[str, np.ndarray]) -> np.ndarray:
        """Zeros."""
        return np.zeros((len(inputs["flow_uvs"]), self.classes))


def test_no_answer_is_no_vote_for_the_first_class(
    tmp_path: Path, make_features: Callable[[int], Features], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(RECOGNIZERS, "silent", f"{__name__}:Silent")
    parts = {name: write_folder(tmp_path / name, make_features, name) for name in ("data", "test")}
    changes = [f"{name}={folder}" for name, folder in parts.items()]
    changes += ["recognizer=silent", "options={}", f"output={tmp_path / 'run'}"]
    tasks.run(RECIPE, changes)
    final = tmp_path / "run" / "final"
    assert json.loads((final / "scores.json").read_text())["accuracy"] == 0
    rows = [json.loads(line) for line in (final / "predictions.jsonl").open(encoding="utf-8")]
    assert {row["predicted"] for row in rows} == {UNREAD}


def test_a_finished_run_without_a_loop_is_not_fitted_again(
    tmp_path: Path, make_features: Callable[[int], Features], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(RECOGNIZERS, "silent", f"{__name__}:Silent")
    parts = {name: write_folder(tmp_path / name, make_features, name) for name in ("data", "test")}
    changes = [f"{name}={folder}" for name, folder in parts.items()]
    changes += ["recognizer=silent", "options={}", f"output={tmp_path / 'run'}"]
    Silent.fits.clear()
    tasks.run(RECIPE, changes)
    scores = tmp_path / "run" / "final" / "scores.json"
    tasks.run(RECIPE, changes)
    assert Silent.fits == [9]
    scores.unlink()  # stopped between fitting and scoring
    tasks.run(RECIPE, changes)
    assert Silent.fits == [9, 9] and scores.is_file()


def test_one_clip_in_two_sets_stops_a_recipe(
    tmp_path: Path, make_features: Callable[[int], Features]
) -> None:
    """Under other names, of other subjects: the corpora CASME and CASME II overlap, for one."""
    for name in ("data", "other"):
        folder = write_folder(tmp_path / name, make_features, name)
        lines = [json.loads(line) for line in (folder / "clips.jsonl").open(encoding="utf-8")]
        for i, line in enumerate(lines):
            line["content"] = f"{name if i else 'both'}{i}"
        write_lines(folder / "clips.jsonl", map(json.dumps, lines))
    with pytest.raises(UserError, match="data and validation share content both0; "):
        tasks.run(RECIPE, overrides(tmp_path, tmp_path / "other"))


def test_clips_without_frames_are_told_to_a_recognizer_of_frames(
    tmp_path: Path, make_features: Callable[[int], Features]
) -> None:
    folder = write_folder(tmp_path / "data", make_features, "s")
    recipe = RECIPE.with_name("lbp_top.yaml")
    with pytest.raises(UserError, match="made of frames, and the clips were measured for"):
        tasks.run(recipe, [f"data={folder}", "test=", f"output={tmp_path / 'run'}"])
