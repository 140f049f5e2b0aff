"""Tasks for other harnesses: what lies in them, and that they score as we do."""

from __future__ import annotations

import base64
import csv
import importlib.util
import json
import logging
import random
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import cv2
import numpy as np
import pytest
import yaml

from deft_llm import facs
from deft_llm.answers import read_label
from deft_llm.corpora.base import load_corpus
from deft_llm.data.clip_dataset import ClipDataset, MeasuredClip
from deft_llm.data.labelled import LabelledClips
from deft_llm.data.prepared import open_prepared
from deft_llm.data.sources import ClipSource
from deft_llm.errors import UserError
from deft_llm.evaluation.corpus_table.schemes import scheme_clips
from deft_llm.evaluation.export import lmms_eval, vlmevalkit
from deft_llm.evaluation.export.benchmark import export
from deft_llm.evaluation.export.material import Task, make_task
from deft_llm.metrics.classification import accuracy, confusion_matrix, uar, uf1
from deft_llm.protocols import Split
from tests.conftest import MakeRecord
from tests.corpora.on_disk import EMOTION, save, table_of
from tests.evaluation.corpus_table import conftest as corpora

write, measured = corpora.write, corpora.measured  # fixtures

LABELS = facs.THREE_CLASSES


@pytest.fixture
def task(tmp_path: Path, make_record: MakeRecord, make_features: object) -> Task:
    """Twelve clips, of which some have no class of three."""
    from dataclasses import replace

    words = ("disgust", "happiness", "surprise", "others", "sadness", "happiness")
    made = [
        MeasuredClip(
            replace(make_record(i), clip=f"c {i}", emotion=words[i % 6], emotion_known=True),
            make_features(i),  # type: ignore[operator]
        )
        for i in range(12)
    ]
    return make_task("me_test_3", ClipDataset.of_clips(made), "3", ["flow", "regions"], tmp_path)


def module(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    return made


def answers(task: Task, seed: int) -> list[str]:
    """A model's answers: sentences, labels, several labels, and none."""
    rng = random.Random(seed)
    said = ["It is {}.", "{}", "{}!", "negative or {}", "no idea", "NEGATIVE"]
    return [rng.choice(said).format(rng.choice(LABELS)) for _ in task.clips]


def ours(task: Task, texts: list[str]) -> dict[str, float]:
    read = [read_label(text, LABELS) for text in texts]
    matrix = confusion_matrix([c.answer for c in task.clips], read, LABELS)
    scores = {"uf1": uf1(matrix), "uar": uar(matrix), "accuracy": accuracy(matrix)}
    return {**scores, "unread": sum(r is None for r in read) / len(read)}


@pytest.mark.parametrize("seed", range(3))
def test_lmms_eval_scores_as_we_do(tmp_path: Path, task: Task, seed: int) -> None:
    settings, functions, listed = lmms_eval.write(tmp_path, task)
    code = module(functions)
    docs = [json.loads(line) for line in listed.read_text().splitlines()]
    texts = answers(task, seed)
    pooled: dict[str, list[object]] = {}
    for doc, text in zip(docs, texts, strict=True):
        for name, item in code.process_results(doc, [text]).items():
            pooled.setdefault(name, []).append(item)
    found = {name: getattr(code, f"aggregate_{name}")(items) for name, items in pooled.items()}
    assert found == pytest.approx(ours(task, texts), abs=1e-9)

    # The harness reads ``!function name`` as a name of its own; here the name is enough.
    values = yaml.safe_load(settings.read_text().replace("!function ", ""))
    named = [values["doc_to_visual"], values["doc_to_text"], values["process_results"]]
    named += [metric["aggregation"] for metric in values["metric_list"]]
    assert all(hasattr(code, name.removeprefix("utils.")) for name in named)
    assert [m["metric"] for m in values["metric_list"]] == list(found)
    assert values["task"] == "me_test_3" and values["dataset_kwargs"]["data_files"]["test"] == str(
        listed.resolve()
    )
    (picture,) = code.doc_to_visual(docs[0])
    assert picture.size == (336, 336) and picture.mode == "RGB"
    assert "negative, positive, surprise" in code.doc_to_text(docs[0])


@pytest.mark.parametrize("seed", range(3))
def test_vlmevalkit_scores_as_we_do(tmp_path: Path, task: Task, seed: int) -> None:
    table, source = vlmevalkit.write(tmp_path, task)
    csv.field_size_limit(sys.maxsize)
    with table.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    assert [row["index"] for row in rows] == [str(i) for i in range(len(task.clips))]
    picture = np.frombuffer(base64.b64decode(rows[0]["image"]), np.uint8)
    assert cv2.imdecode(picture, cv2.IMREAD_COLOR).shape == (336, 336, 3)
    code, texts = module(source), answers(task, seed)
    found = code.evaluate_rows(
        [{**row, "prediction": text} for row, text in zip(rows, texts, strict=True)]
    )
    assert found == pytest.approx(ours(task, texts), abs=1e-9)
    assert code.MeTest3.supported_datasets() == ["me_test_3"]


@pytest.mark.parametrize(
    ("name", "made"), [("4dme", "Me4dme"), ("_", "Me"), ("none", "MeNone"), ("me_3", "Me3")]
)
def test_any_name_and_any_title_make_a_class(
    tmp_path: Path, task: Task, name: str, made: str
) -> None:
    from dataclasses import replace

    said = 'C:\\Users\\N: negative, """positive""" {x}'
    _, source = vlmevalkit.write(tmp_path, replace(task, name=name, title=said))
    found = getattr(module(source), made)
    assert found.supported_datasets() == [name] and found.__doc__ == said


def test_several_pictures_are_a_list(tmp_path: Path, task: Task) -> None:
    from dataclasses import replace

    first = replace(task.clips[0], pictures=task.clips[0].pictures * 2)
    table, _ = vlmevalkit.write(tmp_path, replace(task, clips=(first,)))
    csv.field_size_limit(sys.maxsize)
    with table.open(encoding="utf-8", newline="") as file:
        (row,) = csv.DictReader(file, delimiter="\t")
    assert len(json.loads(row["image"])) == 2


def test_clips_without_a_class_are_counted(task: Task) -> None:
    assert len(task.clips) == 10 and task.left_out == 2
    assert len({clip.name for clip in task.clips}) == 10


def test_a_corpus_from_its_folder(tmp_path: Path, write: Any, measured: list[str]) -> None:
    folder = write("casme2", clips=5)
    changes = [f"corpus={folder}", f"cache={tmp_path / 'cache'}", f"output={tmp_path / 'out'}"]
    files, said = export("lmms-eval", [*changes, "scheme=3", "show=[flow]", "workers=1"])
    assert said == "8 clips in task me_casme2_3; 2 without a class or not measured"
    assert [file.name for file in files] == ["me_casme2_3.yaml", "utils.py", "me_casme2_3.jsonl"]
    docs = [json.loads(line) for line in files[2].read_text().splitlines()]
    assert {doc["answer"] for doc in docs} <= set(LABELS)
    assert all((files[2].parent / doc["pictures"][0]).is_file() for doc in docs)
    named, _ = export("vlmevalkit", [*changes, "show=[flow]", "workers=1", "task=My task"])
    assert named[0].name == "my_task.tsv"


def all_tested(data: LabelledClips) -> list[Split]:
    rows = np.arange(len(data))
    return [Split("all", 1, rows, rows[:0], rows)]


def test_classes_are_those_of_the_check_and_of_the_table(
    tmp_path: Path, write: Any, measured: list[str]
) -> None:
    folder, cache = write("casme2", clips=5), tmp_path / "cache"
    sheet = table_of(folder)
    sheet[1][EMOTION], sheet[2][EMOTION] = "sadness", "fear"
    save(folder, sheet)
    changes = [f"corpus={folder}", f"cache={cache}", f"output={tmp_path}", "show=[flow]"]
    files, _ = export("lmms-eval", [*changes, "workers=1"])
    reading = load_corpus("casme2", folder).read()
    classes = reading.classes("3")
    assert sum(classes.values()) < 8  # of ten, with two of "others" and two left out
    docs = [json.loads(line) for line in files[2].read_text().splitlines()]
    assert classes == {name: sum(d["answer"] == name for d in docs) for name in LABELS}
    table = scheme_clips("3", open_prepared(cache / reading.listing), all_tested, {})
    assert classes == {str(row["class"]): row["clips"] for row in table.counts}


def test_wrong_settings_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"unknown format 'lmms'.*expected one of lmms-eval"):
        export("lmms", [])
    with pytest.raises(UserError, match="eval export: unknown key 'corpora'"):
        export("lmms-eval", ["corpora=x"])
    with pytest.raises(UserError, match="unknown view 'film'"):
        export("vlmevalkit", ["show=[film]"])
    with pytest.raises(UserError, match="no such folder"):
        export("vlmevalkit", [f"corpus={tmp_path / 'x'}"])
    (tmp_path / "SAMM_Micro_FACS_Codes_v2.xlsx").touch()
    with pytest.raises(UserError, match=r"found SAMM .* or take reader=samm"):
        export("lmms-eval", [f"corpus={tmp_path}"])


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (["corpus=x", "simulated=4"], "simulated is for simulated clips, and corpus is given"),
        (["reader=samm"], "reader is for a corpus, and no corpus is given; add corpus="),
        (["prepare.flow=dis"], "prepare is for a corpus, and no corpus is given"),
        (["corpus=x", "reader=smic_hs", "scheme=5-casme2"], "SMIC-HS does not code .* one of 3$"),
        (["scheme=6"], "label scheme '6': expected one of 3, 4"),
    ],
)
def test_what_would_change_nothing_or_fit_nothing_is_refused(changes: list[str], said: str) -> None:
    with pytest.raises(UserError, match=said):
        export("lmms-eval", changes)


def test_simulating_is_said_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def stop(*_: object) -> ClipDataset:
        raise UserError("here it would render")

    monkeypatch.setattr(ClipSource, "open", stop)
    caplog.set_level(logging.INFO)
    with pytest.raises(UserError, match="render"):
        export("lmms-eval", [f"cache={tmp_path}"])
    assert "no corpus is given: 600 clips are simulated" in caplog.text
