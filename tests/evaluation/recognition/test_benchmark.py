"""Recognition benchmarks: from images to tables, gone on with, under every protocol."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import cv2
import pytest
import yaml

from deft_llm.errors import UserError
from deft_llm.evaluation.benchmark import run
from deft_llm.metrics.figures import Figure
from tests.evaluation.recognition.conftest import SUBJECTS

ROOT = Path(__file__).resolve().parents[3]


def test_a_run_from_images_to_tables(first_run: tuple[Path, list[Figure], str]) -> None:
    path, figures, text = first_run
    values = {f.name: f for f in figures}
    assert values["lr_uf1"].value == 1.0
    assert values["lr_few_subjects_uf1"].value > 0.9
    assert not values["net_gain"].reached
    assert values["net_gain_low"].value <= values["net_gain"].value
    # The same pair of models, the other way round.
    assert values["lr_gain_over_net"].value == pytest.approx(-values["net_gain"].value)
    assert values["lr_gain_over_net"].reached
    assert "C by inner subject-wise validation" in text
    out = path.parent / "out"
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


def test_done_folds_are_not_run_again(done: Path) -> None:
    files = sorted((done.parent / "out" / "rows").glob("net-*/*.jsonl"))
    assert len(files) == 10
    texts = [file.read_text(encoding="utf-8") for file in files]
    kept = [json.loads(text.splitlines()[0])["probabilities"] for text in texts]
    stamps = [file.stat().st_mtime_ns for file in files]
    files[3].unlink()
    run(done, ["models=[net]", "few=null"])
    again = json.loads(files[3].read_text(encoding="utf-8").splitlines()[0])["probabilities"]
    assert again == pytest.approx(kept[3], abs=1e-4)  # the same as beside the others
    for i, file in enumerate(files):
        assert i == 3 or file.stat().st_mtime_ns == stamps[i]


def test_changed_settings_are_run_anew(done: Path) -> None:
    run(done, ["models=[net]", "entries.net.schedule.epochs=1", "seeds=1"])
    assert len(list((done.parent / "out" / "rows").glob("net-*"))) == 2


def test_a_model_that_needs_more_than_there_is(benchmark_file: Path) -> None:
    with pytest.raises(
        UserError, match="'frames' is made of frames, and the clips were measured for flow_image"
    ):
        run(benchmark_file, ["models=[lbp]"])


def test_the_oracle_is_asked_for_by_name_and_named_in_every_table(done: Path) -> None:
    _, text = run(done, ["models=[lr,net]", "seeds=1", "oracle_epoch=true"])
    out = done.parent / "out"
    with (out / "table.csv").open(encoding="utf-8") as file:
        rows = {row["model"]: row for row in csv.DictReader(file)}
    assert set(rows) == {"lr", "oracle_net"}
    assert rows["oracle_net"]["selection"].startswith("ORACLE")
    assert "ORACLE" in (out / "leaderboard.md").read_text(encoding="utf-8")
    assert "ORACLE" in (out / "table.tex").read_text(encoding="utf-8")
    assert "ORACLE" in text


def test_hold_out_and_cross_dataset_test_what_they_say(benchmark_file: Path) -> None:
    fixed = ["models=[lr]", "entries.lr.choices={}", "few=null"]
    run(benchmark_file, [*fixed, "protocol=cross_dataset"])
    (rows,) = (benchmark_file.parent / "out" / "rows").iterdir()
    tested = [
        {json.loads(line)["dataset"] for line in file.read_text(encoding="utf-8").splitlines()}
        for file in sorted(rows.glob("*.jsonl"))
    ]
    assert tested == [{"SAMM"}, {"SMIC"}]
    shutil.rmtree(benchmark_file.parent / "out")
    run(benchmark_file, [*fixed, "protocol=hold_out", "share=0.4"])
    (file,) = (benchmark_file.parent / "out" / "rows").glob("*/*.jsonl")
    lines = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    assert len({line["subject"] for line in lines}) == 2
    assert len(lines) == 2 * 6


def test_a_bar_of_an_unknown_model(benchmark_file: Path) -> None:
    values = yaml.safe_load(benchmark_file.read_text(encoding="utf-8"))
    values["bars"]["lr_gain_over_nett"] = values["bars"].pop("lr_gain_over_net")
    benchmark_file.write_text(yaml.safe_dump(values), encoding="utf-8")
    with pytest.raises(UserError, match="'lr_gain_over_nett'; did you mean 'lr_gain_over_net'"):
        run(benchmark_file)
    with pytest.raises(UserError, match="figures: no figure 'lr_uf2'; did you mean 'lr_uf1'"):
        run(benchmark_file, ["bars={}", "figures=[lr_uf2]"])


def test_an_unknown_model(benchmark_file: Path) -> None:
    with pytest.raises(UserError, match="model 'svm'; expected some of lr, net, lbp"):
        run(benchmark_file, ["models=[svm]"])


def test_a_copied_clip_stops_the_run(benchmark_file: Path) -> None:
    place = benchmark_file.parent / "data" / "flow"
    source = next((place / "s01" / "u_test" / "0").iterdir())
    (place / "s02" / "u_test" / "0" / "s02_s02_copy .png").write_bytes(source.read_bytes())
    with pytest.raises(UserError, match="2 equal contents"):
        run(benchmark_file, ["models=[lr]"])


def test_a_class_of_one_subject(benchmark_file: Path) -> None:
    place = benchmark_file.parent / "data" / "flow"
    for subject in SUBJECTS[1:]:
        for file in (place / subject / "u_test" / "2").iterdir():
            file.unlink()
    with pytest.raises(UserError, match="no training clip of class 'surprise'"):
        run(benchmark_file, ["models=[lr]"])


def test_deft_stands_in_the_same_table(done: Path, tiny_checkpoint: Path) -> None:
    """Without any real label: rows of every clip, a gain over the baseline."""
    entry = {"recognizer": "deft", "options": {"checkpoint": str(tiny_checkpoint)}}
    values = yaml.safe_load(done.read_text(encoding="utf-8"))
    values |= {"entries": {**values["entries"], "deft": entry}, "models": ["lr", "deft"]}
    values["bars"] = {"deft_gain": {"least": -0.03}}
    values["few"] = None
    done.write_text(yaml.safe_dump(values), encoding="utf-8")
    figures, text = run(done)
    assert {"deft_gain", "deft_gain_low"} <= {f.name for f in figures}
    assert "| deft |" in text
    rows = list((done.parent / "out" / "rows").glob("deft-*/*.jsonl"))
    assert len(rows) == len(SUBJECTS)


def test_the_pinned_flow_benchmark_of_deft_asks_what_the_issue_asks() -> None:
    values = yaml.safe_load(
        (ROOT / "eval" / "benchmarks" / "deft_megc2019_flow.yaml").read_text(encoding="utf-8")
    )
    assert values["baseline"] == "prior_flow_simulation"
    assert values["bars"] == {
        "deft_uf1": {"least": 0.58},
        "deft_gain": {"least": -0.03},
        "deft_lora_gain_over_prior_flow": {"least": -0.02},
    }
