"""Ways in which a test clip could be learned from, each by an input as people have it."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from deft_llm import protocols, resources
from deft_llm.corpora.base import CORPORA, people_of
from deft_llm.data.clip_dataset import ClipDataset
from deft_llm.data.labelled import LabelledClips
from deft_llm.data.prepared import open_prepared
from deft_llm.data.records import ClipRecord
from deft_llm.errors import UserError
from deft_llm.evaluation.benchmark import run
from deft_llm.evaluation.recognition import learned
from deft_llm.evaluation.recognition.entries import ModelEntry
from deft_llm.evaluation.recognition.folds import few_subject_splits
from deft_llm.evaluation.recognition.rows import PredictionRows
from deft_llm.evaluation.recognition.runs import EntryRun
from deft_llm.recognizers.base import RECOGNIZERS
from deft_llm.unimer.coded import content_hash

from .conftest import WriteCorpus
from .test_benchmark import changes
from .test_wrong_folders import Table, edit_sheet, table

RAW = "CASME2_RAW_selected"
INTERVAL = slice(3, 6)


def folders(corpus: Path) -> list[Path]:
    """The clips in the order of the sheet."""
    return sorted((corpus / RAW).glob("*/*"))


def test_frames_that_two_people_have_stop_the_run(
    tmp_path: Path, write: WriteCorpus, measured: list[str]
) -> None:
    """Somebody filled a missing clip with another one; the codings differ by a frame."""
    corpus = write("casme2")
    first, *_, other = folders(corpus)
    shutil.rmtree(other)
    shutil.copytree(first, other)

    def recoded(rows: Table) -> Table:
        onset, apex, offset = rows[1][INTERVAL]
        rows[-1][INTERVAL] = [onset + 1, apex, offset]  # type: ignore[operator]
        return rows

    edit_sheet(corpus, recoded)
    with pytest.raises(UserError) as caught:
        table(tmp_path, corpus)
    message = str(caught.value)
    assert "2 equal contents" in message and "\n" not in message
    assert "sub01_EP01_01f and casme2/sub02_EP05_05f" in message
    assert "- content: " in (tmp_path / "out" / "3" / "leaks.md").read_text()


def test_a_copy_of_ones_own_clip_counts_once(
    tmp_path: Path, write: WriteCorpus, measured: list[str]
) -> None:
    corpus = write("casme2")
    first, second, *_ = folders(corpus)
    shutil.rmtree(second)
    shutil.copytree(first, second)

    def recoded(rows: Table) -> Table:
        rows[2][3:] = rows[1][3:]
        return rows

    edit_sheet(corpus, recoded)
    text = table(tmp_path, corpus, "schemes=[5-casme2]")
    assert "1 of casme2: a copy of another clip (sub01_EP02_02f: the same frames" in text
    assert "9 clips of 2 subjects" in (tmp_path / "out" / "protocol.md").read_text().replace(
        "9 of 10 clips", "9 clips"
    )


def test_the_same_people_before_other_cameras_are_refused(
    tmp_path: Path, write: WriteCorpus
) -> None:
    parts = {name: write(name) for name in ("smic_hs", "smic_vis")}
    given = f"corpora={{{', '.join(f'{name}: {folder}' for name, folder in parts.items())}}}"
    with pytest.raises(UserError, match=r"\(SMIC-HS\) and .* \(SMIC-VIS\) show the same people"):
        run(resources.benchmark("composite"), changes(tmp_path, given, "models=[logistic_flow]"))


def test_a_corpus_given_twice_is_refused(tmp_path: Path, write: WriteCorpus) -> None:
    """Under another name for a reader, or as a part of the composite."""
    corpus = write("casme2")
    for given in (
        [f"corpora={{casme2: {corpus}, mine: {corpus}}}", "readers={mine: casme2}"],
        [f"corpora={{casme2: {corpus}, megc2019: {write('megc2019')}}}"],
    ):
        with pytest.raises(UserError, match="show the same people; a table takes one of the two"):
            run(resources.benchmark("composite"), changes(tmp_path, *given))


def test_people_have_one_name_in_all_corpora_that_show_them(
    tmp_path: Path, write: WriteCorpus, measured: list[str]
) -> None:
    """So that instruction data of one camera is found to know the subjects of another."""
    assert {people_of(name) for name in CORPORA if name.startswith("smic")} == {"smic"}
    assert people_of("samm_long_videos") == people_of("samm") != people_of("casme2")
    corpus = write("smic_vis")
    changed = changes(tmp_path, f"corpora.smic={corpus}", "models=[logistic_flow]")
    run(resources.benchmark("smic"), [*changed, "readers.smic=smic_vis"])
    clips = open_prepared(tmp_path / "cache" / "smic_vis.jsonl")
    assert set(clips.subjects.tolist()) == set(clips.people.tolist()) == {"smic/s01", "smic/s02"}
    assert all(record.content for record in clips.records)


def clips_of(records: list[ClipRecord], labels: list[int]) -> LabelledClips:
    arrays = {"onset": np.zeros((len(records), 4, 4, 3), np.uint8)}
    arrays["texture"] = np.arange(len(records), dtype=np.uint8).repeat(4).reshape(-1, 1, 2, 2)
    clips = ClipDataset.of_arrays(records, arrays)
    return LabelledClips(clips, np.array(labels, np.int64), ("negative", "positive"))


def record(clip: str, subject: str) -> ClipRecord:
    return ClipRecord(clip, subject, "disgust", True, ("4",), dataset="casme2")


RECORDS = [record(f"c{i}", f"s{i}") for i in range(3)]
ENTRY = ModelEntry(recognizer="logistic_flow")


def test_stored_rows_are_those_of_their_classes_and_codings(tmp_path: Path) -> None:
    """The same numbers mean other classes, and a model may have learned from other AUs."""
    data = clips_of(RECORDS, [0, 1, 0])
    splits = protocols.loso(data.clips.people)
    recoded = [replace(RECORDS[0], aus=("4", "7")), *RECORDS[1:]]
    stores = [
        PredictionRows(tmp_path, "m", ENTRY, each, splits).folder
        for each in (
            data,
            replace(data, classes=("negative", "surprise")),
            clips_of(recoded, [0, 1, 0]),
            data,
        )
    ]
    assert len(set(stores)) == 3 and stores[0] == stores[-1]


def test_stored_rows_are_those_of_the_weights_of_the_package(
    tmp_path: Path, tiny_checkpoint: Path
) -> None:
    """Which come into an entry by default, and change with the package."""
    assert ModelEntry(recognizer="deft_heads").weights()
    tuned = tmp_path / "tuned"
    shutil.copytree(tiny_checkpoint, tuned)
    entry = ModelEntry(recognizer="deft_heads", options={"checkpoint": str(tuned)})
    before = entry.weights()
    (tuned / "calibration.json").write_text("{}")
    assert entry.weights() != before
    nested = ModelEntry(
        recognizer="deft_clips_lora", options={"tuning": {"start": [f"{tmp_path}/{{fold}}"]}}
    )
    assert nested.for_fold(1).options == {"tuning": {"start": [f"{tmp_path}/2"]}}


@pytest.mark.parametrize("known_as", ["subject", "content"])
def test_what_a_checkpoint_learned_from_is_compared_in_every_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, known_as: str
) -> None:
    """By content too: instruction data of one's own may call people and clips as it likes."""
    data = clips_of(RECORDS, [0, 1, 0])
    seen = data.clips[2].features
    assert seen is not None
    mine = record("mine", "s2" if known_as == "subject" else "somebody")
    mine = replace(mine, content=content_hash(seen) if known_as == "content" else "")
    monkeypatch.setattr(learned, "folder_records", lambda folder: [mine])
    entry = ENTRY.model_copy(update={"learned_from": "anything"})
    with pytest.raises(UserError, match=f"instruction data and test set share {known_as}"):
        EntryRun("m", entry, data, protocols.loso(data.clips.people), 1, tmp_path)


def test_a_note_says_of_training_what_is_known(tmp_path: Path) -> None:
    def remark(**given: Any) -> tuple[str, bool]:
        entry = ModelEntry(note="n", **{"recognizer": "deft_clips", **given})
        return entry.remark, entry.unchecked

    known = "n; checkpoint embedded: learned from other clips, all simulated"
    assert remark() == (known, False)
    mine = {"checkpoint": "/home/me/runs/tuned{fold}/final"}
    unknown = "n; checkpoint tuned{fold}/final: what it learned from is not checked here"
    assert remark(options=mine) == (unknown, True)
    said, unchecked = remark(options=mine, learned_from="runs/fold{fold}")
    assert "final: said to have learned from runs/fold{fold}, of which no subject" in said
    assert not unchecked
    assert remark(recognizer="logistic_flow") == ("n", False)
    assert remark(recognizer="vlm", options={"model": "o/m"})[1]


class Learner:
    """A classical recognizer that learns from coded AUs, as a baseline may."""

    inputs = ("onset", "aus")

    def __init__(self, classes: int) -> None:
        self.classes = classes

    def fit(self, inputs: dict[str, Any], labels: Any) -> None:
        assert set(inputs) == {"onset", "aus"}

    def predict_proba(self, inputs: dict[str, Any]) -> Any:
        assert set(inputs) == {"onset"}
        return np.full((len(inputs["onset"]), self.classes), 1 / self.classes)


class Cheat(Learner):
    """One that is given all inputs of all clips at once."""

    def predict_folds(self, inputs: Any, labels: Any, folds: Any) -> Any:
        raise AssertionError("it never gets there")


def test_the_coding_of_a_test_clip_is_shown_to_no_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = clips_of(RECORDS, [0, 1, 0])
    splits = protocols.loso(data.clips.people)
    for name in ("Learner", "Cheat"):
        monkeypatch.setitem(RECOGNIZERS, name, f"{__name__}:{name}")
    rows = EntryRun("m", ModelEntry(recognizer="Learner"), data, splits, 1, tmp_path).finish()
    assert len(rows) == len(RECORDS)
    with pytest.raises(UserError, match="input 'aus' is the coding of a clip"):
        EntryRun("m", ModelEntry(recognizer="Cheat"), data, splits, 1, tmp_path)


def test_few_subjects_that_never_show_every_class_are_refused() -> None:
    """Each shows one class; draws were repeated for ever."""
    with pytest.raises(UserError, match="1 subjects to train on: of 2000 draws 0 show every"):
        few_subject_splits(["a", "b", "c"], np.array([0, 1, 2]), 1, 2)


def test_the_same_table_is_made_from_any_folder(
    tmp_path: Path,
    write: WriteCorpus,
    measured: list[str],
    tiny_checkpoint: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Paths that were relative to the folder of the first run."""
    corpus = write("casme2")
    shutil.copytree(tiny_checkpoint, tmp_path / "runs" / "mine")
    monkeypatch.chdir(tmp_path)
    options = [f"corpus={corpus.name}", "output=out", "workers=1", "models=[deft_heads]"]
    options += ["entries.deft_heads.options.checkpoint=runs/mine", "schemes=[3]"]
    figures, _ = run(resources.benchmark("casme2"), options)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    again, _ = run(tmp_path / "out" / "benchmark.yaml", ["output=again", "workers=1"])
    assert [f.value for f in again] == [f.value for f in figures]
    assert len(measured) == 10 and not (tmp_path / "elsewhere" / "cache").exists()
    values = yaml.safe_load((tmp_path / "out" / "benchmark.yaml").read_text())
    assert values["entries"]["mpfnet"]["options"]["variant"] == "c"
