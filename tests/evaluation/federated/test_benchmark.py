"""The benchmark of a federation: figures over seeds, and corpora of flow images as sites."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from deft_llm import resources
from deft_llm.data.features import Features
from deft_llm.errors import UserError
from deft_llm.evaluation.benchmark import run, settings_of
from deft_llm.evaluation.federated.benchmark import FederatedBenchmark
from tests.evaluation.recognition.conftest import write_images
from tests.recognizers.conftest import write_folder

SMALL = {"rounds": 1, "recognizer": "ststnet", "local": {"epochs": 1, "batch_size": 4}}


def write(folder: Path, values: dict[str, object]) -> Path:
    path = folder / "benchmark_file.yaml"
    base = {"benchmark": "federated", "output": str(folder / "out")}
    path.write_text(yaml.safe_dump({**base, **values}), encoding="utf-8")
    return path


def test_figures_over_seeds(tmp_path: Path, make_features: Callable[[int], Features]) -> None:
    sites = {name: str(write_folder(tmp_path / name, make_features, name)) for name in "ab"}
    federation = {**SMALL, "rules": ["local", "p_fedprox", "central"], "sites": sites}
    bars = {"p_fedprox_gain": {"least": 0.08}}
    path = write(tmp_path, {"seeds": 2, "federation": federation, "bars": bars})
    figures, table = run(path)
    values = {f.name: f.value for f in figures}
    gain = values["p_fedprox_uf1"] - values["local_uf1"]
    assert values["p_fedprox_gain"] == pytest.approx(gain)
    assert values["p_fedprox_worst_site"] <= gain
    assert values["p_fedprox_of_central"] == pytest.approx(
        values["p_fedprox_uf1"] / values["central_uf1"]
    )
    assert "local_gain" not in values and 0 <= values["central_membership_auc"] <= 1
    assert table.count("\n") == 5 and "| p_fedprox |" in table


def test_corpora_of_flow_images_are_sites(tmp_path: Path) -> None:
    write_images(tmp_path / "flow")
    values = {
        "data": str(tmp_path / "flow"),
        "resplit": True,
        "seeds": 1,
        "federation": {**SMALL, "rules": ["local", "fedavg"]},
    }
    _, table = run(write(tmp_path, values))
    assert "| UF1 SAMM | UF1 SMIC |" in table
    for subject in ("006", "007"):
        (tmp_path / "flow" / subject).rename(tmp_path / subject)
    with pytest.raises(UserError, match="clips of SMIC alone; a federation has two sites"):
        run(write(tmp_path, {**values, "output": str(tmp_path / "again")}))


@pytest.mark.parametrize("name", ["federated_simulated", "federated_megc2019_flow"])
def test_the_shipped_benchmarks_are_valid(name: str) -> None:
    service = FederatedBenchmark.model_validate(settings_of(resources.benchmark(name)))
    assert set(service.bars) <= set(service.figure_names())
    assert service._recipe(1).seed == 1
