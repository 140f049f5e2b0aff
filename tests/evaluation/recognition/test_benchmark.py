from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import yaml

from deft_llm import facs
from deft_llm.clip import Prediction
from deft_llm.data.flow_images import read_flow_images
from deft_llm.data.labelled import labelled, three_class
from deft_llm.errors import UserError
from deft_llm.evaluation.benchmark import run
from deft_llm.evaluation.recognition.benchmark import few_subject_splits
from deft_llm.evaluation.recognition.entries import ModelEntry
from deft_llm.evaluation.recognition.results import Result
from deft_llm.evaluation.recognition.tables import Published, leaderboard, table_rows

SUBJECTS = ("s01", "s02", "s03", "006", "007")


def _write(folder: Path) -> None:
    """A folder in the published layout, whose class is the place of a patch of motion."""
    rng = np.random.default_rng(0)
    for subject in SUBJECTS:
        for label in range(3):
            place = folder / subject / "u_test" / str(label)
            place.mkdir(parents=True)
            for i in range(2):
                image = rng.integers(100, 140, (28, 28, 3)).astype(np.uint8)
                image[8 * label + 2 : 8 * label + 10, 8:20] += 60
                # The published names end in a space and repeat the subject.
                name = f"{subject}_{subject}_{label}_{i} .png"
                cv2.imwrite(str(place / name), image[..., ::-1])


@pytest.fixture
def service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    _write(tmp_path / "data" / "flow")
    monkeypatch.setenv("DEFT_DATA", str(tmp_path / "data"))
    values: dict[str, Any] = {
        "benchmark": "recognition",
        "data": "flow",
        "seeds": 2,
        "baseline": "lr",
        "output": str(tmp_path / "out"),
        "entries": {
            "lr": {"recognizer": "logistic_flow", "choices": {"C": [0.001, 0.01]}},
            "net": {
                "recognizer": "ststnet",
                "schedule": {"epochs": 2, "batch_size": 8, "folds_at_once": 4, "processes": 1},
            },
            "lbp": {"recognizer": "lbp_top"},
        },
        "models": ["lr", "net"],
        "few": {"subjects": 2, "draws": 3, "models": ["lr"]},
        "figures": ["lr_few_subjects_uf1"],
        "bars": {
            "lr_uf1": {"least": 0.9},
            "net_gain": {"least": 0.5},
            "lr_gain_over_net": {"least": 0.1},
        },
    }
    path = tmp_path / "service.yaml"
    path.write_text(yaml.safe_dump(values, sort_keys=False), encoding="utf-8")
    return path


def test_a_run_from_images_to_tables(service: Path) -> None:
    figures, text = run(service)
    values = {f.name: f for f in figures}
    assert values["lr_uf1"].value == 1.0
    assert values["lr_few_subjects_uf1"].value > 0.9
    assert not values["net_gain"].reached
    assert values["net_gain_low"].value <= values["net_gain"].value
    # The same pair of models, the other way round.
    assert values["lr_gain_over_net"].value == pytest.approx(-values["net_gain"].value)
    assert values["lr_gain_over_net"].reached
    assert "C by inner subject-wise validation" in text
    out = service.parent / "out"
    with (out / "table.csv").open(encoding="utf-8") as file:
        rows = {row["model"]: row for row in csv.DictReader(file)}
    assert rows["lr"]["seeds"] == "1"  # nothing is random in it
    assert rows["net"]["seeds"] == "2"
    assert rows["net"]["gain over baseline"].startswith("-")
    assert "\\toprule" in (out / "table.tex").read_text(encoding="utf-8")
    picture = cv2.imread(str(out / "confusion-lr.png"))
    assert picture is not None
    assert picture.std() > 20
    assert (out / "leaks.md").read_text(encoding="utf-8").startswith("Leak audit over 30 rows")


def test_done_folds_are_not_run_again(service: Path) -> None:
    run(service, ["models=[net]"])
    files = sorted((service.parent / "out" / "rows").glob("net-*/*.jsonl"))
    assert len(files) == 10
    texts = [file.read_text(encoding="utf-8") for file in files]
    kept = [json.loads(text.splitlines()[0])["probabilities"] for text in texts]
    stamps = [file.stat().st_mtime_ns for file in files]
    files[3].unlink()
    run(service, ["models=[net]"])
    again = json.loads(files[3].read_text(encoding="utf-8").splitlines()[0])["probabilities"]
    assert again == pytest.approx(kept[3], abs=1e-4)  # the same as beside the others
    for i, file in enumerate(files):
        assert i == 3 or file.stat().st_mtime_ns == stamps[i]


def test_changed_settings_are_run_anew(service: Path) -> None:
    run(service, ["models=[net]"])
    run(service, ["models=[net]", "entries.net.schedule.epochs=1"])
    assert len(list((service.parent / "out" / "rows").glob("net-*"))) == 2


def test_a_model_that_needs_more_than_there_is(service: Path) -> None:
    with pytest.raises(UserError, match="lbp_top needs 'frames'"):
        run(service, ["models=[lbp]"])


def test_the_oracle_is_asked_for_by_name_and_told_in_every_table(service: Path) -> None:
    _, text = run(service, ["models=[lr,net]", "seeds=1", "oracle_epoch=true"])
    out = service.parent / "out"
    with (out / "table.csv").open(encoding="utf-8") as file:
        rows = {row["model"]: row for row in csv.DictReader(file)}
    assert set(rows) == {"lr", "oracle_net"}
    assert rows["oracle_net"]["selection"].startswith("ORACLE")
    assert "ORACLE" in (out / "leaderboard.md").read_text(encoding="utf-8")
    assert "ORACLE" in (out / "table.tex").read_text(encoding="utf-8")
    assert "ORACLE" in text


def test_hold_out_and_cross_dataset_test_what_they_say(service: Path) -> None:
    fixed = ["models=[lr]", "entries.lr.choices={}", "few=null"]
    run(service, [*fixed, "protocol=cross_dataset"])
    (rows,) = (service.parent / "out" / "rows").iterdir()
    tested = [
        {json.loads(line)["dataset"] for line in file.read_text(encoding="utf-8").splitlines()}
        for file in sorted(rows.glob("*.jsonl"))
    ]
    assert tested == [{"SAMM"}, {"SMIC"}]
    shutil.rmtree(service.parent / "out")
    run(service, [*fixed, "protocol=hold_out", "share=0.4"])
    (file,) = (service.parent / "out" / "rows").glob("*/*.jsonl")
    lines = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    assert len({line["subject"] for line in lines}) == 2
    assert len(lines) == 2 * 6


def test_a_bar_of_an_unknown_model(service: Path) -> None:
    values = yaml.safe_load(service.read_text(encoding="utf-8"))
    values["bars"]["lr_gain_over_nett"] = values["bars"].pop("lr_gain_over_net")
    service.write_text(yaml.safe_dump(values), encoding="utf-8")
    with pytest.raises(UserError, match="'lr_gain_over_nett'; did you mean 'lr_gain_over_net'"):
        run(service)
    with pytest.raises(UserError, match="figures: no figure 'lr_uf2'; did you mean 'lr_uf1'"):
        run(service, ["bars={}", "figures=[lr_uf2]"])


def test_an_unknown_model(service: Path) -> None:
    with pytest.raises(UserError, match="model 'svm'; expected some of lr, net, lbp"):
        run(service, ["models=[svm]"])


def test_a_copied_clip_stops_the_run(service: Path) -> None:
    place = service.parent / "data" / "flow"
    source = next((place / "s01" / "u_test" / "0").iterdir())
    (place / "s02" / "u_test" / "0" / "s02_s02_copy .png").write_bytes(source.read_bytes())
    with pytest.raises(UserError, match="2 equal contents"):
        run(service, ["models=[lr]"])


def test_a_class_of_one_subject(service: Path) -> None:
    place = service.parent / "data" / "flow"
    for subject in SUBJECTS[1:]:
        for file in (place / subject / "u_test" / "2").iterdir():
            file.unlink()
    with pytest.raises(UserError, match="no training clip of class 'surprise'"):
        run(service, ["models=[lr]"])


# ----------------------------------------------------------------------------- reading


def test_reading_the_published_layout(service: Path) -> None:
    images = read_flow_images(service.parent / "data" / "flow")
    assert len(images) == 30
    assert images.clips[0] == "006_0_0"
    assert set(images.datasets[images.subjects == "s01"]) == {"SMIC"}
    assert set(images.datasets[images.subjects == "006"]) == {"SAMM"}
    assert np.bincount(labelled(images, facs.THREE_CLASSES, three_class).labels).tolist() == [
        10,
        10,
        10,
    ]


def test_reading_what_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such folder; expected <subject>/u_test"):
        read_flow_images(tmp_path / "absent")
    with pytest.raises(UserError, match="no images; expected"):
        read_flow_images(tmp_path)


def test_reading_a_wrong_image(service: Path) -> None:
    file = next((service.parent / "data" / "flow").glob("s01/u_test/0/*.png"))
    cv2.imwrite(str(file), np.zeros((64, 64, 3), np.uint8))
    with pytest.raises(UserError, match="expected a 28x28 RGB PNG"):
        read_flow_images(service.parent / "data" / "flow")
    file.write_bytes(b"")
    with pytest.raises(UserError, match="no image"):
        read_flow_images(service.parent / "data" / "flow")


# ------------------------------------------------------------------------------ tables


def _result(name: str, oracle: bool = False) -> Result:
    probabilities = {"negative": 1.0, "positive": 0.0, "surprise": 0.0}
    rows = [
        Prediction("SMIC", f"s{i}", f"c{i}", i, seed, label, label, probabilities, 0.1)
        for seed in range(2)
        for i, label in enumerate(probabilities)
    ]
    schedule = {"oracle_epoch": oracle}
    entry = ModelEntry.model_validate({"recognizer": "ststnet", "schedule": schedule})
    return Result(name, entry, rows)


def test_an_oracle_is_called_one_everywhere() -> None:
    results = {"honest": _result("honest"), "peeked": _result("peeked", oracle=True)}
    rows = {row["model"]: str(row["selection"]) for row in table_rows(results, "honest")}
    assert rows["honest"] == "fixed schedule"
    assert rows["peeked"].startswith("ORACLE")
    number = Published(model="X", uf1=0.5, data="442 clips", selection="unknown", source="[1]")
    page = leaderboard(results, [number])
    assert "| peeked | 1.000 | 1.000 | 3 clips | ORACLE: best epoch on the test subject |" in page
    assert page.index("peeked") < page.index("| X | 0.500 |")


def test_draws_of_few_subjects_show_every_class() -> None:
    subjects = np.repeat(["a", "b", "c", "d"], 2)
    labels = np.array([0, 1, 0, 0, 2, 2, 1, 2])
    splits = few_subject_splits(subjects, labels, 2, 20)
    assert len({tuple(s.train) for s in splits}) > 2
    for split in splits:
        assert len(set(subjects[split.train])) == 2
        assert set(labels[split.train]) == {0, 1, 2}
        assert not set(subjects[split.train]) & set(subjects[split.test])
    with pytest.raises(UserError, match="expected fewer"):
        few_subject_splits(subjects, labels, 4, 1)


def test_rows_of_other_weights_are_other_rows(tmp_path: Path) -> None:
    entry = ModelEntry(recognizer="prior_flow", options={"weights": str(tmp_path), "C": 0.1})
    assert entry.weights() == []
    seen = []
    for content in (b"one", b"two"):
        (tmp_path / "net0.safetensors").write_bytes(content)
        seen.append(entry.weights())
    assert seen[0] != seen[1]


def test_deft_stands_in_the_same_table(service: Path, tiny_checkpoint: Path) -> None:
    """Without any real label: rows of every clip, a gain over the baseline, no fold learnt."""
    entry = {"recognizer": "deft", "options": {"checkpoint": str(tiny_checkpoint)}}
    values = yaml.safe_load(service.read_text(encoding="utf-8"))
    values |= {"entries": {**values["entries"], "deft": entry}, "models": ["lr", "deft"]}
    values["bars"] = {"deft_gain": {"least": -0.03}}
    values["few"] = None
    service.write_text(yaml.safe_dump(values), encoding="utf-8")
    figures, text = run(service)
    assert {"deft_gain", "deft_gain_low"} <= {f.name for f in figures}
    assert "| deft |" in text
    rows = list((service.parent / "out" / "rows").glob("deft-*/*.jsonl"))
    assert len(rows) == len(SUBJECTS)


def test_the_pinned_flow_benchmark_of_deft_asks_what_the_issue_asks() -> None:
    root = Path(__file__).resolve().parents[3]
    values = yaml.safe_load(
        (root / "eval" / "benchmarks" / "deft_megc2019_flow.yaml").read_text(encoding="utf-8")
    )
    assert values["baseline"] == "prior_flow_simulation"
    assert values["bars"] == {
        "deft_uf1": {"least": 0.58},
        "deft_gain": {"least": -0.03},
        "deft_lora_gain_over_prior_flow": {"least": -0.02},
    }
