"""Folders and sheets that are not as they should be: one line, or the rest goes on."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from openpyxl import Workbook, load_workbook

from deft_llm import resources
from deft_llm.errors import UserError
from deft_llm.evaluation.benchmark import run

from .conftest import WriteCorpus
from .test_benchmark import changes

SHEET = "CASME2-coding-20190701.xlsx"
BI_WOOF = ["entries.bi_woof={recognizer: bi_woof}"]  # without inner folds
Table = list[list[object]]


def table(tmp_path: Path, corpus: Path, *more: str) -> str:
    models = "models=[logistic_flow]"
    return run(resources.benchmark("casme2"), changes(tmp_path, f"corpus={corpus}", models, *more))[
        1
    ]


def edit_sheet(corpus: Path, change: Callable[[Table], Table]) -> None:
    book = load_workbook(corpus / SHEET)
    rows = [list(line) for line in book.worksheets[0].iter_rows(values_only=True)]
    new = Workbook()
    for line in change(rows):
        new.worksheets[0].append(line)
    new.save(corpus / SHEET)


def test_no_folder(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="casme2: no folder; give it as it was unpacked: corpus="):
        run(resources.benchmark("casme2"), changes(tmp_path))
    with pytest.raises(UserError, match=r"corpora\.smic=/data"):
        given = ["corpora.casme2=a", "corpora.samm=b"]
        run(resources.benchmark("composite"), changes(tmp_path, *given))
    with pytest.raises(UserError, match="corpus is for one corpus"):
        run(resources.benchmark("composite"), changes(tmp_path, "corpus=a"))


def test_the_folder_of_another_corpus(tmp_path: Path, write: WriteCorpus) -> None:
    with pytest.raises(UserError) as caught:
        table(tmp_path, write("samm"))
    message = str(caught.value)
    assert "expected CASME II, found SAMM (SAMM_Micro_FACS_Codes_v2.xlsx)" in message
    assert "\n" not in message and "take the benchmark that reads samm" in message


@pytest.mark.parametrize(("model", "option"), [("prior_flow", "weights"), ("deft_aus", "au")])
def test_an_option_that_is_missing_is_told_before_anything_is_measured(
    tmp_path: Path, write: WriteCorpus, model: str, option: str
) -> None:
    changed = changes(tmp_path, f"corpus={write('casme2')}", f"models=[{model}]")
    said = rf"needs its option {option}: entries\.{model}\.options\.{option}=…"
    with pytest.raises(UserError, match=said):
        run(resources.benchmark("casme2"), changed)
    assert not (tmp_path / "cache").exists()


def test_a_half_unpacked_archive_is_named(tmp_path: Path, write: WriteCorpus) -> None:
    corpus = write("casme2")
    frames = corpus / "CASME2_RAW_selected"
    shutil.make_archive(str(frames), "zip", frames)
    shutil.rmtree(frames)
    with pytest.raises(UserError, match=r"CASME2_RAW_selected\.zip is still packed: unpack it"):
        table(tmp_path, corpus)


def test_clips_that_are_missing_or_renamed(
    tmp_path: Path, write: WriteCorpus, measured: list[str]
) -> None:
    corpus = write("casme2", subjects=3)
    raw = corpus / "CASME2_RAW_selected"
    first, *_ = sorted((raw / "sub01").iterdir())
    shutil.rmtree(first)
    second, *_ = sorted((raw / "sub02").iterdir())
    second.rename(raw / "sub02" / "film")
    (raw / "sub03").rename(raw / "S3")  # still found: people write that
    text = table(tmp_path, corpus)
    assert f"2 of casme2: no frames ({SHEET}, row 2: sub01_EP01_01f: no folder" in text
    assert "row 7: sub02" in text
    assert len(measured) == 13
    said = (tmp_path / "out" / "protocol.md").read_text()
    assert "CASME II (13 clips of 3 subjects; without 2 rows of its sheet)" in said


def test_a_clip_that_cannot_be_measured(
    tmp_path: Path, write: WriteCorpus, measured: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from deft_llm.data import prepared

    measure = prepared._measure

    def refuse(job: prepared.MeasuringJob, settings: prepared.PrepareSettings) -> object:
        if job.entry.row == 4:
            raise UserError("no face is seen")
        return measure(job, settings)

    monkeypatch.setattr(prepared, "_measure", refuse)
    text = table(tmp_path, write("casme2", subjects=3))
    assert "1 of casme2: could not be measured (" in text
    assert "row 4 of the sheet: sub01_EP03_03f: no face is seen" in text
    said = (tmp_path / "out" / "protocol.md").read_text()
    assert "(14 clips of 3 subjects; without 1 clip that cannot be measured)" in said


def test_other_columns_and_spellings_change_nothing(
    tmp_path: Path, write: WriteCorpus, measured: list[str]
) -> None:
    corpus = write("casme2")
    whole = table(tmp_path, corpus)

    def turn(rows: Table) -> Table:
        rows[2][0], rows[3][0] = "sub1", "S 01"  # one subject in three spellings
        return [list(reversed(row)) for row in rows]

    edit_sheet(corpus, turn)
    assert table(tmp_path, corpus) == whole
    # What was read otherwise than expected is told where the numbers are.
    raw = corpus / "CASME2_RAW_selected"
    shutil.copytree(raw / "sub01", corpus / "Cropped" / "sub01")
    shutil.rmtree(next((raw / "sub01").iterdir()))
    assert "- remarks on sheets and folders: 1, which `corpora check` lists" in table(
        tmp_path, corpus
    )
    assert len(measured) == 10


def test_a_class_of_one_subject_is_left_out(
    tmp_path: Path, write: WriteCorpus, measured: list[str]
) -> None:
    corpus = write("casme2", subjects=3)

    def rename(rows: Table) -> Table:
        for row in rows[6:]:
            row[8] = "disgust" if row[8] == "surprise" else row[8]
        return rows

    edit_sheet(corpus, rename)
    text = table(tmp_path, corpus)
    assert "## 2 of 3 classes: negative, positive" in text
    assert "| surprise (left out) | surprise 1 | 1 | 1 | 25 |" in text
    assert "a class that some fold has nobody to learn it from" in text
    # Published scores are of three classes.
    assert "MPFNet" not in (tmp_path / "out" / "3" / "leaderboard.md").read_text()
    by_scheme = json.loads((tmp_path / "out" / "result.json").read_text())["tables"]
    assert [bool(each["published"]) for each in by_scheme if each["scheme"] == "3"] == [False]


def test_tables_of_an_earlier_run_go(
    tmp_path: Path, write: WriteCorpus, measured: list[str]
) -> None:
    """Other classes and models of the same folder of results, which would be read as one."""
    corpus, out = write("casme2"), tmp_path / "out"
    table(tmp_path, corpus, "schemes=[5-casme2]", "models=[logistic_flow,bi_woof]", *BI_WOOF)
    (out / "5-casme2" / "mine.txt").write_text("")
    table(tmp_path, corpus, "schemes=[3]")
    assert [path.name for path in (out / "5-casme2").iterdir()] == ["mine.txt"]
    assert (out / "3" / "leaks.md").is_file() and (
        out / "3" / "subjects-logistic_flow.png"
    ).is_file()
    assert list((out / "folds" / "5-casme2").iterdir())  # a rerun goes on from these


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ("output={0}/file/sub", "output .*file/sub: .*file is a file; give a folder"),
        ("entries.deft.options.checkpoint=nope", "model deft: checkpoint nope: no such folder"),
        ("entries.deft.learned_from=nope", r"model deft: nope/clips\.jsonl"),
    ],
)
def test_what_is_wrong_is_said_before_clips_are_measured(
    tmp_path: Path, write: WriteCorpus, measured: list[str], wrong: str, said: str
) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=said):
        table(tmp_path, write("casme2"), "models=[logistic_flow,deft]", wrong.format(tmp_path))
    assert not measured


def test_one_subject_alone(tmp_path: Path, write: WriteCorpus, measured: list[str]) -> None:
    with pytest.raises(UserError, match="at least two subjects"):
        table(tmp_path, write("casme2", subjects=1))


def test_a_model_that_does_not_fit_is_left_out(
    tmp_path: Path, write: WriteCorpus, measured: list[str]
) -> None:
    corpus = write("casme2")
    # With one training subject there are no inner folds to choose C in.
    text = run(
        resources.benchmark("casme2"),
        changes(tmp_path, f"corpus={corpus}", "models=[logistic_flow,svm_flow]", "schemes=[3]"),
    )[1]
    assert "no row of svm_flow (fold casme2/sub01: casme2/sub02 alone trains" in text
    with pytest.raises(UserError, match="model 'svm'; expected some of logistic_flow"):
        table(tmp_path, corpus, "models=[svm]")
    with pytest.raises(UserError, match="label scheme '6': expected one of 3, 4"):
        table(tmp_path, corpus, "schemes=[6]")


@pytest.mark.parametrize(
    ("name", "near"), [("logisticflow", "logistic_flow"), ("mpfnet_stagd", "mpfnet_staged")]
)
def test_a_misspelt_model_is_answered_with_the_nearest(
    tmp_path: Path, name: str, near: str
) -> None:
    """Recognizers without an entry in the file can be named too, and so are listed."""
    listed = f"model '{name}'; expected .* mpfnet, .* psyau_joint, .*did you mean '{near}'"
    with pytest.raises(UserError, match=listed):
        table(tmp_path, tmp_path, f"models=[{name}]")
    with pytest.raises(UserError, match=r"model 'prior_flow'; expected(?!.* prior_flow)"):
        table(tmp_path, tmp_path, "baseline=prior_flow")


def test_the_same_person_in_two_corpora_is_a_leak(
    tmp_path: Path, write: WriteCorpus, measured: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same clip under two names, in training and test, stops the run."""
    from deft_llm.data import prepared

    measure = prepared._measure

    def copy(job: prepared.MeasuringJob, settings: prepared.PrepareSettings) -> object:
        features, remarks = measure(job, settings)
        if job.entry.row in (2, 7):
            features["onset"][:] = 90
        return features, remarks

    monkeypatch.setattr(prepared, "_measure", copy)
    with pytest.raises(UserError, match="2 equal contents"):
        table(tmp_path, write("casme2"))
