"""``deft-llm scan`` and ``deft-llm simulate scans``, with an untrained network."""

from __future__ import annotations

import csv
import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from deft_llm.facet.configuration import FacetConfig
from deft_llm.facet.network import Facet
from deft_llm.facet.scan_reader import ScanReader, ScanReading
from deft_llm.facet.texts import default_prompts, load_text_tower
from deft_llm.resources import clips
from deft_llm.simulator.scan_sets import FIVE, SIX
from deft_llm.weights import save_network
from tests.cli.conftest import Run


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A scan, a sequence, and two networks."""
    from deft_llm.corpora.scan_layouts import ScanLayoutSettings, write_scan_corpus

    folder = tmp_path_factory.mktemp("scans")
    one = ScanLayoutSettings(subjects=1, scans=1, frames=4)
    write_scan_corpus("bosphorus", folder / "bosphorus", one, workers=1)
    write_scan_corpus("bu4dfe", folder / "bu4dfe", one, workers=1)
    for temporal in ("none", "rank"):
        values = {
            **{"classes": list(SIX), "prompts": default_prompts(SIX), "side": 64, "dim": 16},
            **{"visual": {"width": 16, "depth": 1}, "temporal": temporal, "frames": 4},
            "channels": ["depth", "normal_x", "normal_y"],
        }
        config = FacetConfig.model_validate(values)
        torch.manual_seed(0)
        network = Facet(config, load_text_tower(config.text).width)
        (folder / temporal).mkdir()
        save_network(network, folder / temporal)
    return folder


def scan_of(data: Path) -> Path:
    return next((data / "bosphorus").rglob("*.bnt"))


def test_a_scan_gets_a_report(run: Run, here: Path, data: Path) -> None:
    scan = scan_of(data)
    done = run("scan", scan, "--weights", data / "none", "--json", "all.json")
    assert done.status == 0, done.err
    assert "views" in done.out and "note" in done.out
    record = json.loads((here / "all.json").read_text())[0]
    assert sum(record["probabilities"].values()) == pytest.approx(1, abs=1e-3)
    assert list(record["views"]) == ["0", "-45", "45"]
    page = (here / "out" / scan.stem / "report.html").read_text(encoding="utf-8")
    assert record["expression"] in page and "data:image/png" in page and "Nearest prompts" in page
    assert (here / "out" / scan.stem / "views.png").stat().st_size > 20_000


def test_ctrl_c_says_what_is_kept(
    run: Run, here: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, calls = ScanReader.read, []

    def once(*arguments: Any) -> ScanReading:
        calls.append(arguments)
        if len(calls) > 1:
            raise KeyboardInterrupt
        return read(*arguments)

    monkeypatch.setattr(ScanReader, "read", once)
    scan = scan_of(data)
    done = run("scan", scan, scan, "--weights", data / "none", "--json", "all.json")
    assert done.status == 130
    assert done.err == "deft-llm: stopped; 1 of 2 scans are done, and kept\n"
    assert len(json.loads((here / "all.json").read_text())) == 1


def test_a_name_may_hold_bytes_that_are_no_text(run: Run, here: Path, data: Path) -> None:
    scan = here / os.fsdecode(b"caf\xe9.bnt")
    shutil.copy(scan_of(data), scan)
    done = run("scan", scan, "--weights", data / "none", "--json", "all.json")
    assert done.status == 0, done.err
    assert "caf\\udce9.bnt" in (here / "out" / "caf_" / "report.html").read_text(encoding="utf-8")


def test_prompts_and_missing_views(run: Run, here: Path, data: Path) -> None:
    (here / "mine.yaml").write_text("pouting: a pout\nonly: [pouting, anger]\n")
    options = (
        "--weights",
        data / "none",
        "--prompts",
        "mine.yaml",
        "--no-report",
        "--json",
        "a.json",
    )
    done = run("scan", scan_of(data), *options, "--without", "45")
    assert done.status == 0, done.err
    record = json.loads((here / "a.json").read_text())[0]
    assert set(record["probabilities"]) == {"pouting", "anger"}
    assert list(record["views"]) == ["0", "-45"]
    done = run("scan", scan_of(data), *options, "--without", "30")
    assert done.status == 2 and "no view at 30 degrees" in done.err


@pytest.mark.parametrize("temporal", ["none", "rank"])
def test_a_sequence_has_a_curve(run: Run, here: Path, data: Path, temporal: str) -> None:
    folder = next(p for p in (data / "bu4dfe").rglob("*") if p.is_dir() and any(p.glob("*.wrl")))
    done = run("scan", folder, "--weights", data / temporal)
    assert done.status == 0, done.err
    assert "most at frame" in done.out
    record = json.loads((here / "out" / folder.name / "explanation.json").read_text())
    assert len(record["curve_mm"]) == 4 and record["curve_mm"][0] == 0
    assert ("a network for 3D" in " ".join(record["notes"])) == (temporal == "none")


def test_the_network_of_micro_expressions_comes_along(run: Run, here: Path) -> None:
    sequence = clips() / "scans" / "surprise_4d.npz"
    tables = ("--json", "a.json", "--csv", "a.csv")
    done = run("scan", sequence, "--weights", "micro", "--no-report", *tables)
    assert done.status == 0, done.err
    # Those of the sequence, and not only those that the network looked at.
    (row,) = csv.DictReader((here / "a.csv").open(encoding="utf-8"))
    assert row["frames"] == "9" and "9 frames, most at frame" in done.out
    record = json.loads((here / "a.json").read_text())[0]
    assert record["expression"] == "surprise" and record["probabilities"]["surprise"] > 0.5
    assert set(record["probabilities"]) == set(FIVE), "each by itself, not one of all"
    single = run("scan", clips() / "scans" / "smile.npz", "--weights", "micro")
    assert single.status == 2 and "takes sequences; give a folder" in single.err
    # A folder of that name is the user's own.
    (here / "micro").mkdir()
    own = run("scan", sequence, "--weights", "micro")
    assert own.status == 2 and "micro/config.json" in own.err


def test_wrong_inputs_are_one_line(run: Run, here: Path, data: Path) -> None:
    (here / "a.obj").write_text("hello")
    done = run("scan", "a.obj", "b.ply", "--weights", data / "none")
    assert done.status == 2 and len(done.err.splitlines()) == 2
    assert "not a scan" in done.err and "no such file" in done.err
    done = run("scan", scan_of(data), "--weights", data / "rank")
    assert done.status == 2 and "takes sequences" in done.err
    done = run("scan", scan_of(data), "--weights", here / "none")
    assert done.status == 2 and "no such file" in done.err
    done = run("scan", scan_of(data), "--pitch", "1", "--focal", "2")
    assert done.status == 2 and "give one" in done.err


def test_simulated_scans_are_checked(run: Run, here: Path) -> None:
    wrong = run("simulate", "scans", "bu", "--per-subject", "0")
    assert wrong.status == 2 and "--per-subject" in wrong.err  # not a setting's inner name
    done = run("simulate", "scans", "bu", "--subjects", "1", "--per-subject", "1", "--workers", "1")
    assert done.status == 0 and "1 in bu" in done.out
    done = run("corpora", "check", "bu", "--name", "bu3dfe")
    assert done.status == 0 and "1 scans of 1 subjects" in done.out
    done = run("simulate", "scans", "bu", "--layout", "bu3dfe")
    assert done.status == 2 and "exists already" in done.err
    for noise in (("0.3", "0.05"), ("-1", "0"), ("0", "0.3")):
        done = run("simulate", "scans", "other", "--noise", *noise)
        assert done.status == 2 and "expected the least and the largest SD" in done.err
