"""Temperatures are fitted on faces that nothing was trained or tested on, and then used."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from deft_llm.config import read_yaml
from deft_llm.data.simulated import SimulatedData
from deft_llm.deft.inference.calibration import Calibration
from deft_llm.deft.inference.explainer import Explainer
from deft_llm.errors import UserError
from deft_llm.evaluation.explanation import calibrate
from tests.evaluation.explanation.conftest import BENCHMARKS, ROOT, SMALL, by_name


@pytest.fixture
def settings(several: Path, tmp_path: Path, tiny_checkpoint: Path) -> Path:
    checkpoint = tmp_path / "checkpoint"
    checkpoint.mkdir()
    for file in tiny_checkpoint.iterdir():
        (checkpoint / file.name).symlink_to(file)
    values: dict[str, Any] = {
        "checkpoint": str(checkpoint),
        "recipes": [str(tmp_path / "recipe.yaml")],
        "data": [{**SMALL, "clips": 20, "first_identity": 800000, "seed": 8000000}],
        "apart_from": [str(several), str(BENCHMARKS / "simulated.yaml")],
        "output": str(tmp_path / "output"),
    }
    path = tmp_path / "calibration.yaml"
    path.write_text(yaml.safe_dump(values), encoding="utf-8")
    return path


@pytest.mark.usefixtures("rendered")
def test_calibration_is_fitted_and_used(settings: Path, tmp_path: Path) -> None:
    figures, written = calibrate.calibrate(settings)
    named = by_name(figures)
    fitted = Calibration.load(tmp_path / "checkpoint")
    assert written.parent == tmp_path / "checkpoint"
    for name in ("coarse", "three", "seven"):
        assert fitted.temperatures[name] == named[f"temperature_{name}"].value
    assert fitted.fitted_on["clips"] == 20 and fitted.fitted_on["subjects"] <= 6
    assert Explainer.load(tmp_path / "checkpoint").calibration == fitted


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ("data.0.first_identity=900000", "deft_simulated.yaml and validation share subject own9"),
        ("data.0.first_identity=920000", "deft_simulated.yaml and validation share subject own92"),
        ("data=[]", "no validation clips"),
    ],
)
def test_tested_faces_are_no_validation_faces(
    settings: Path, tmp_path: Path, change: str, word: str
) -> None:
    values = read_yaml(settings)
    key, _, value = change.partition("=")
    if key == "data":
        values["data"] = []
    else:
        values["data"][0]["first_identity"] = int(value)
    settings.write_text(yaml.safe_dump(values), encoding="utf-8")
    with pytest.raises(UserError, match=word):
        calibrate.calibrate(settings)
    assert not (tmp_path / "checkpoint" / "calibration.json").exists()


def test_a_benchmark_like_another_tests_its_faces_too(settings: Path, tmp_path: Path) -> None:
    values = read_yaml(settings)
    like, other = tmp_path / "like.yaml", tmp_path / "other.yaml"
    like.write_text(yaml.safe_dump({"like": values["apart_from"][0], "grammar": True}))
    values["apart_from"] = [str(like)]
    values["data"][0]["first_identity"] = 900000
    settings.write_text(yaml.safe_dump(values), encoding="utf-8")
    with pytest.raises(UserError, match=r"like\.yaml and validation share subject own9"):
        calibrate.calibrate(settings)
    # Of a benchmark that has no such clips nothing could be said, and of a wrong one neither.
    values["apart_from"] = [str(other)]
    settings.write_text(yaml.safe_dump(values), encoding="utf-8")
    for data, said in (
        ("flow_images", r"other\.yaml has no simulated clips"),
        ({"own": {"clips": 3}}, r"other\.yaml: data\.own: identities"),
    ):
        other.write_text(yaml.safe_dump({"data": data}))
        with pytest.raises(UserError, match=said):
            calibrate.calibrate(settings)


def test_the_pinned_plan_is_apart_from_the_benchmarks() -> None:
    values = read_yaml(ROOT / "eval" / "benchmarks" / "calibration.yaml")
    own = [SimulatedData(**s) for s in values["data"]]
    for name in values["apart_from"]:
        for tested in calibrate._tested(ROOT / name):
            for data in own:
                first, last = data.first_identity, data.first_identity + data.identities
                assert last <= tested.first_identity or (
                    first >= tested.first_identity + tested.identities
                )
