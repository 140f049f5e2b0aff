"""From a folder as it was unpacked to tables: CASME II in full, every other corpus in short."""

from __future__ import annotations

import csv
import json
import logging
import re
import subprocess
from pathlib import Path

import cv2
import pandas as pd
import pytest

from deft_llm import facs, resources
from deft_llm.config import apply_overrides, validate_settings
from deft_llm.corpora.synthetic import write_corpus
from deft_llm.data.inputs import INPUTS
from deft_llm.evaluation import benchmark as benchmarks
from deft_llm.evaluation.benchmark import run
from deft_llm.evaluation.corpus_table.benchmark import CorpusBenchmark
from deft_llm.evaluation.corpus_table.models import inputs_of
from deft_llm.recognizers.base import load_recognizer

from .conftest import WriteCorpus

NAMES = ("casme2", "samm", "smic", "mmew", "casme_sq", "casme3", "dfme", "4dme", "composite")
READERS = {"smic": "smic_hs", "casme_sq": "casme_squared", "4dme": "four_dme"}
QUICK = ["entries.ststnet.schedule={epochs: 2, batch_size: 8, processes: 1}", "seeds=2"]


def changes(tmp_path: Path, *more: str) -> list[str]:
    places = [f"output={tmp_path / 'out'}", f"cache={tmp_path / 'cache'}", "workers=1"]
    return [*places, *more]


def end_of(folder: Path) -> str:
    return "/".join(folder.parts[-2:])


def test_casme2_end_to_end(
    tmp_path: Path,
    write: WriteCorpus,
    measured: list[str],
    tiny_checkpoint: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    corpus, out = write("casme2"), tmp_path / "out"
    options = changes(
        tmp_path,
        *(f"corpus={corpus}", "models=[logistic_flow,ststnet,deft_heads]", *QUICK),
        f"entries.deft_heads.options.checkpoint={tiny_checkpoint}",
    )
    figures, text = run(resources.benchmark("casme2"), options)
    values = {f.name: f.value for f in figures}
    assert values["logistic_flow_3_uf1"] == values["logistic_flow_5-casme2_uf1"] == 1.0
    # What it costs is said before the first model runs.
    assert "2 folds x 2 seeds" in caplog.text and "in all about" in caplog.text
    assert "s a step" in caplog.text

    assert "# CASME II: leave-one-subject-out" in text
    assert "| negative | disgust 2, repression 2 | 4 | 2 | 88 |" in text
    assert "2 of casme2: an emotion that is no class of this table" in text  # others
    rows = pd.read_parquet(out / "5-casme2" / "rows.parquet")
    assert set(rows["model"]) == {"logistic_flow", "ststnet", "deft_heads"}
    ststnet = rows[rows["model"] == "ststnet"]
    assert len(ststnet) == 10 * 2 and set(ststnet["seed"]) == {0, 1}
    shares = rows[[f"p_{name}" for name in facs.SCHEMES["5-casme2"]]].sum(axis=1)
    assert shares.to_numpy() == pytest.approx(1, abs=1e-4)
    for file in ("table.csv", "table.tex", "leaks.md", "confusion-deft_heads.pdf", "classes.csv"):
        assert (out / "3" / file).stat().st_size > 100
    picture = cv2.imread(str(out / "3" / "subjects-ststnet.png"))
    assert picture is not None and picture.std() > 20
    said = (out / "protocol.md").read_text()
    assert "CASME II (10 clips of 2 subjects)" in said
    # Nobody has looked at what the user's checkpoint learned from, and nothing else is claimed.
    assert "it does not cover what deft_heads learned from before" in said
    assert "and means over seeds; intervals" in said and "on the clips, of the first seed." in said
    own = "; ".join(
        ["its emotion head alone, as it is", f"checkpoint {end_of(tiny_checkpoint)}: what"]
    )
    assert f"{own} it learned from is not checked here" in text and own in said
    assert json.loads((out / "result.json").read_text())["tables"][1]["clips"] == 10
    with (out / "left_out.csv").open(encoding="utf-8") as listed:
        assert [row["table"] for row in csv.DictReader(listed)] == ["3", "3"]

    # Again: nothing is measured, and only the fold that is missing is run.
    assert len(measured) == 10
    (gone, *_) = sorted((out / "folds" / "3").glob("ststnet-*/*.jsonl"))
    kept = {p: p.stat().st_mtime_ns for p in (out / "folds").glob("*/*/*.jsonl") if p != gone}
    gone.unlink()
    again, _ = run(resources.benchmark("casme2"), options)
    assert {f.name: f.value for f in again} == values and len(measured) == 10
    assert all(path.stat().st_mtime_ns == stamp for path, stamp in kept.items()) and gone.exists()


def test_the_script_makes_the_table_again(
    tmp_path: Path, write: WriteCorpus, measured: list[str]
) -> None:
    corpus, out = write("casme2"), tmp_path / "out"
    figures, _ = run(
        resources.benchmark("casme2"),
        changes(tmp_path, f"corpus={corpus}", "models=[logistic_flow]", "schemes=[3]"),
    )

    # The command line, from wherever somebody has it, and with nothing of this machine.
    def called(**given: str) -> subprocess.CompletedProcess[str]:
        words = ["/bin/sh", str(out / "reproduce.sh"), "workers=1"]
        return subprocess.run(
            words, env={"PATH": "/usr/bin:/bin", **given}, capture_output=True, text=True
        )

    found = called(DEFT_LLM="echo")
    assert found.stdout == f"eval {out}/benchmark.yaml output={out}/again workers=1\n"
    missing = called(DEFT_LLM="no-such-deft")
    assert missing.returncode == 127 and missing.stderr.count("\n") == 1
    assert "no-such-deft: not found; activate its environment, or give it" in missing.stderr
    assert str(tmp_path) not in (out / "reproduce.sh").read_text()
    again, _ = run(out / "benchmark.yaml", [f"output={out / 'again'}", "workers=1"])
    assert [(f.name, f.value) for f in again] == [(f.name, f.value) for f in figures]
    assert (out / "again" / "3" / "table.csv").read_text() == (out / "3" / "table.csv").read_text()


def test_a_hold_out_table_counts_what_was_tested(
    tmp_path: Path, write: WriteCorpus, measured: list[str]
) -> None:
    out, models = tmp_path / "out", ("models=[logistic_flow]", "schemes=[3]")
    corpus = f"corpus={write('casme2', subjects=3)}"
    held_out = changes(tmp_path, corpus, *models, "protocol=hold_out", "share=0.34")
    _, text = run(resources.benchmark("casme2"), held_out)
    (found,) = json.loads((out / "result.json").read_text())["tables"]
    tested = len(pd.read_parquet(out / "3" / "rows.parquet"))
    used = len(measured) - 3  # others
    assert found["clips"] == tested < used
    assert f"{tested} of {used} clips tested; 3 measured" in (out / "3" / "table.tex").read_text()
    assert f"the test set is {tested} clips of 1 subject." in (out / "protocol.md").read_text()
    assert "| clips | subjects | tested clips | published clips |" in text


def parts_of(name: str) -> tuple[str, ...]:
    return ("casme2", "samm", "smic") if name == "composite" else (name,)


@pytest.mark.parametrize("name", [name for name in NAMES if name != "casme2"])
def test_every_corpus_in_its_real_layout(
    tmp_path: Path, write: WriteCorpus, measured: list[str], name: str
) -> None:
    parts = parts_of(name)
    given = [
        f"corpora.{part}={write(READERS.get(part, part), clips=8, seed=50 * i)}"
        for i, part in enumerate(parts)
    ]
    finest = benchmarks.settings_of(resources.benchmark(name))["schemes"][-1]
    options = changes(tmp_path, *given, "models=[logistic_flow]", f"schemes=[{finest}]", "folds=2")
    figures, text = run(resources.benchmark(name), options)
    assert [figure.value for figure in figures] == [1.0], text
    assert len(measured) == 16 * len(parts)
    if name == "composite":
        assert "| casme2 | samm | smic_hs | clips | subjects |" in text
        assert "| 250 |" in text and "| 109 |" in text and "| 83 |" in text  # published
        assert len(list((tmp_path / "out" / "folds").glob("*/*/*.jsonl"))) == 6


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_rendered_corpora_are_measured_and_tabled(tmp_path: Path, name: str) -> None:
    """With every model that is run by default, on real measurements of rendered clips."""
    given = []
    for i, part in enumerate(parts_of(name)):
        folder = tmp_path / part
        write_corpus(READERS.get(part, part), folder, subjects=4, clips=6, seed=50 * i, workers=2)
        given.append(f"corpora.{part}={folder}")
    places = [f"output={tmp_path / 'out'}", f"cache={tmp_path / 'cache'}"]
    figures, text = run(resources.benchmark(name), [*places, *given, "folds=2", "seeds=1"])
    assert "no row of" not in text
    values = {figure.name: figure.value for figure in figures}
    assert len(values) >= 10 and all(0 <= value <= 1 for value in values.values())


@pytest.mark.parametrize("name", NAMES)
def test_every_file_names_what_there_is(name: str) -> None:
    values = benchmarks.settings_of(resources.benchmark(name))
    settings = validate_settings(CorpusBenchmark, apply_overrides(values, ()), name)
    assert set(settings.models) <= set(settings.entries)
    assert settings.output.name == name
    for key, entry in settings.entries.items():
        assert set(inputs_of(entry)) <= set(INPUTS)
        if not key.startswith("deft") and entry.recognizer != "vlm":
            made = load_recognizer(entry.recognizer, 3, **entry.options)
            assert set(made.inputs) <= set(INPUTS)
            assert entry.seeded == (
                entry.recognizer in ("mpfnet_staged", "mol_joint", "psyau_joint")
            )
    for scheme, numbers in settings.published.items():
        assert scheme in settings.schemes and numbers
    for scheme, counts in settings.counts.items():
        assert all(set(of) == set(facs.SCHEMES[scheme]) for of in counts.values())
    assert all(re.fullmatch(r"[a-z0-9_]+", key) for key in settings.corpora)


def test_the_composite_by_the_organizers_list(
    tmp_path: Path, write: WriteCorpus, measured: list[str]
) -> None:
    given = f"corpora={{megc2019: {write('megc2019', clips=6)}}}"
    options = changes(tmp_path, given, "models=[logistic_flow]")
    figures, text = run(resources.benchmark("composite"), options)
    assert [figure.value for figure in figures] == [1.0]
    assert "# MEGC2019's composite: leave-one-subject-out evaluation" in text
    assert "| casme2 | samm | smic_hs | clips | subjects |" in text and "| 250 |" in text
