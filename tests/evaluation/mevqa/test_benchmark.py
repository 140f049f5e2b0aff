"""The benchmark of ME-VQA: questions of a file or a corpus, answers of any model, what is left."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from itertools import repeat
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from openpyxl import load_workbook

from deft_llm import resources
from deft_llm.clip import Expression, Interval
from deft_llm.corpora import synthetic
from deft_llm.corpora.synthetic import write_corpus
from deft_llm.data.features import Features
from deft_llm.errors import UserError
from deft_llm.evaluation.benchmark import run
from deft_llm.evaluation.corpus_table.leaderboard import leaderboard
from deft_llm.evaluation.mevqa import models
from deft_llm.evaluation.mevqa.clips import ClipKey, SeenClip, find_clips
from deft_llm.evaluation.mevqa.made import clip_questions, long_questions
from deft_llm.evaluation.mevqa.models import VqaEntry
from deft_llm.evaluation.mevqa.questions import Kind, VqaQuestion
from deft_llm.evaluation.mevqa.stored import StoredAnswers
from deft_llm.simulator.scene.video_drawing import Rates, draw_video
from deft_llm.spotters import finder
from tests.corpora.conftest import tiny
from tests.corpora.written_videos import write_long_videos
from tests.evaluation.conftest import Server, said

pytest.importorskip("sacrebleu")
pytest.importorskip("rouge_score")


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    folder = tmp_path / "CASME2"
    write_corpus("casme2", folder, subjects=3, clips=3, renderer=tiny)
    return folder


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch, make_features: Callable[[int], Features]) -> list[str]:
    """Clips that were looked at; one of them shows no face."""
    looked: list[str] = []

    class Measured:
        def __get__(self, clip: SeenClip, _: Any = None) -> Any:
            looked.append(clip.source.name)
            if clip.source.name == "EP03_03f":
                raise UserError("no face is seen")
            return object()

    monkeypatch.setattr(SeenClip, "measurement", Measured())
    for name in ("features", "plain_features"):
        monkeypatch.setattr(SeenClip, name, property(lambda clip: make_features(3)))
    return looked


def changes(tmp_path: Path, *more: str) -> list[str]:
    return [f"output={tmp_path / 'out'}", *more]


def test_questions_of_a_corpus_and_of_the_file_made_of_them(
    tmp_path: Path, corpus: Path, seen: list[str], tiny_checkpoint: Path
) -> None:
    made = changes(tmp_path, "corpus=casme2", f"clips={corpus}", "models=[prior,deft]")
    own = f"entries.deft.checkpoint={tiny_checkpoint}"
    figures, text = run(resources.benchmark("mevqa"), [*made, own])
    values = {figure.name: figure.value for figure in figures}
    assert {f"{m}_casme2_{s}" for m in ("prior", "deft") for s in ("coarse_uf1", "bleu")} <= set(
        values
    )
    out = tmp_path / "out"
    rows = pd.read_parquet(out / "rows.parquet")
    assert set(rows["model"]) == {"prior", "deft"} and len(rows) % 2 == 0
    assert "about 9 clips" in text and "coarse UF1 over prior" in text
    assert (out / "confusion-deft-casme2-coarse.png").stat().st_size > 1000
    assert (out / "casme2.csv").is_file() and "toprule" in (out / "casme2.tex").read_text()
    # A clip that cannot be measured costs its answers alone, and the table says so.
    assert "- sub03_EP03_03f: no face is seen" in text
    assert "deft: " in text and "questions without an answer, all wrong (casme2_sub01_EP03" in text
    given = [json.loads(line) for line in (out / "questions.jsonl").read_text().splitlines()]
    handed = [
        json.loads(line) for line in (out / "submission-prior.jsonl").read_text().splitlines()
    ]
    assert [{**row, "answer": ""} for row in given] == [{**row, "answer": ""} for row in handed]

    page = leaderboard([out])
    assert "ME-VQA, casme2, coarse questions: negative, positive, surprise" in page

    # What is answered is not asked again.
    seen.clear()
    again, _ = run(resources.benchmark("mevqa"), [*made, own])
    assert {f.name: f.value for f in again} == values
    assert seen == ["EP03_03f"] * 3  # tried again: the clip may have been mended

    # The file asks the same, of clips whose interval is not coded.
    file = changes(tmp_path, f"questions={out / 'questions.jsonl'}", f"clips={corpus}", own)
    again, _ = run(resources.benchmark("mevqa"), [*file, "models=[prior,deft]"])
    assert {f.name: f.value for f in again} == values
    assert len(seen) == 3 + 9


def test_clips_with_other_frames_or_codings_are_asked_again(
    tmp_path: Path, corpus: Path, seen: list[str], server: Server
) -> None:
    server.reply = lambda asked: (200, said("positive"))
    endpoint = f"entries.endpoint.vlm={{model: m, endpoint: '{server.url}'}}"
    made = changes(tmp_path, "corpus=casme2", f"clips={corpus}", endpoint, "models=[endpoint]")

    def looked_at() -> list[str]:
        seen.clear()
        run(resources.benchmark("mevqa"), [*made, "entries.endpoint.show=[regions]"])
        return sorted(name for name in seen if name != "EP03_03f")

    assert len(looked_at()) == 6 and looked_at() == []
    one, other = (corpus / "CASME2_RAW_selected" / "sub01" / n for n in ("EP01_01f", "EP02_02f"))
    one.rename(corpus / "x")
    other.rename(one)
    (corpus / "x").rename(other)
    assert looked_at() == [one.name, other.name]
    sheet = next(corpus.glob("CASME2-coding*.xlsx"))
    book = load_workbook(sheet)
    rows = book.worksheets[0]
    apex = rows.cell(2, 1 + [cell.value for cell in rows[1]].index("ApexFrame"))
    apex.value -= 1
    book.save(sheet)
    assert looked_at() == [one.name]


def test_answers_are_those_of_the_same_questions_and_the_same_model(tmp_path: Path) -> None:
    checkpoint = tmp_path / "checkpoint"
    checkpoint.mkdir()
    (checkpoint / "calibration.json").write_text("{}")
    entry = VqaEntry(kind="deft", checkpoint=str(checkpoint))
    one = VqaQuestion("a", "clip", "samm", "other", None, "Which class?", "", {})

    def known(question: VqaQuestion) -> bool:
        return "a" in StoredAnswers(tmp_path, "deft", entry, [question], {})

    StoredAnswers(tmp_path, "deft", entry, [one], {}).add({"a": "a long text"})
    assert known(one)
    # Somebody has added a form to the table of them, or the name of the dataset.
    for other in ({"kind": "coarse"}, {"kind": "side", "au": 12}, {"dataset": "casme2"}):
        assert not known(replace(one, **other))
    (checkpoint / "calibration.json").write_text('{"temperatures": {"three": 2.0}}')
    assert not known(one)


def test_bleu_of_one_word_answers_is_not_defined(tmp_path: Path) -> None:
    """SMIC has classes alone, and BLEU takes sequences of four words."""
    write_corpus("smic_hs", tmp_path / "SMIC", subjects=3, clips=2, renderer=tiny)
    made = changes(tmp_path, "corpus=smic_hs", f"clips={tmp_path / 'SMIC'}", "models=[prior]")
    figures, _ = run(resources.benchmark("mevqa"), made)
    values = {figure.name: figure.value for figure in figures}
    assert math.isnan(values["prior_smic_bleu"]) and not math.isnan(values["prior_smic_rouge1"])
    assert pd.read_csv(tmp_path / "out" / "smic.csv")["bleu"].tolist() == ["-"]


def test_any_model_over_an_endpoint_and_answers_of_a_file(
    tmp_path: Path, corpus: Path, seen: list[str], server: Server
) -> None:
    server.reply = lambda asked: (200, said("positive" if len(server.asked) % 2 else "brow raiser"))
    endpoint = f"entries.endpoint.vlm={{model: m, endpoint: '{server.url}'}}"
    dead = "entries.vlm.vlm={model: m, endpoint: 'http://127.0.0.1:9/v1'}"
    made = changes(tmp_path, "corpus=casme2", f"clips={corpus}", endpoint, dead)
    shown = ["entries.endpoint.show=[regions]", "entries.vlm.show=[regions]"]
    _, text = run(resources.benchmark("mevqa"), [*made, *shown, "models=[prior,vlm,endpoint,file]"])
    assert "no row of vlm (http://127.0.0.1:9" in text and "start the server" in text
    assert "no row of file (file: no file; give it: entries.file.answers=….jsonl)" in text
    words = server.asked[0]["messages"][0]["content"][-1]["text"]
    assert words.startswith("Measured motion") and "What is the coarse expression class?" in words
    handed = tmp_path / "out" / "submission-endpoint.jsonl"
    again = [*changes(tmp_path, "corpus=casme2", f"clips={corpus}"), "models=[file]"]
    figures, _ = run(resources.benchmark("mevqa"), [*again, f"entries.file.answers={handed}"])
    # Of the run before nothing stays but what this one read.
    left = {path.name for path in handed.parent.glob("submission-*")}
    assert left == {"submission-endpoint.jsonl", "submission-file.jsonl"}
    first, _ = run(resources.benchmark("mevqa"), [*made, *shown, "models=[endpoint]"])
    for one, other in zip(figures, first, strict=True):
        assert one.value == other.value and one.name == other.name.replace("endpoint", "file")


def test_a_run_can_be_made_again_from_any_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    rows = [
        {"id": f"smic_{i}", "image_id": f"{i}", "subject": f"{i % 3}", "answer": "positive"}
        | {"question": "What is the coarse expression class?"}
        for i in range(6)
    ]
    for name in ("asked.jsonl", "said.jsonl"):
        Path(name).write_text("".join(json.dumps(row) + "\n" for row in rows))
    mine = ["questions=asked.jsonl", "train=[asked.jsonl]", "models=[prior,file]"]
    run(resources.benchmark("mevqa"), ["output=out", *mine, "entries.file.answers=said.jsonl"])
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    figures, _ = run(tmp_path / "out" / "benchmark.yaml", ["output=again"])
    assert {f.name: f.value for f in figures}["file_smic_coarse_uf1"] > 0


def test_what_is_missing_is_said_before_anything_runs(tmp_path: Path, corpus: Path) -> None:
    mevqa = resources.benchmark("mevqa")
    with pytest.raises(UserError, match=r"deft looks at clips; give their folder: clips="):
        run(mevqa, changes(tmp_path, "questions=q.jsonl"))
    with pytest.raises(UserError, match=r"no questions; give a file"):
        run(mevqa, changes(tmp_path, f"clips={corpus}"))
    with pytest.raises(UserError, match=r"model 'x': expected some of prior, deft"):
        run(mevqa, changes(tmp_path, "models=[x]"))
    (empty := tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"no sheet CASME2-coding"):
        run(mevqa, changes(tmp_path, "corpus=casme2", f"clips={empty}"))
    with pytest.raises(UserError, match=r"found CASME II .*, or take corpus=casme2$"):
        run(mevqa, changes(tmp_path, "corpus=casme3", f"clips={corpus}"))


def question(clip: str, **row: str) -> VqaQuestion:
    return VqaQuestion(clip, clip, "samm", "coarse", None, "?", "", row)


def test_clips_are_found_as_folders_and_files(tmp_path: Path) -> None:
    for place in ("a/006/006_1_2", "b/sub01/EP02_01f", "b/sub01/EP03_02"):
        (tmp_path / place).mkdir(parents=True)
        (tmp_path / place / "img1.png").write_bytes(b"x")
    for name in ("test/1.mp4", "test/video 2.AVI", "x/3.mp4", "y/3.mp4"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    asked = [
        question("006_1_2", subject="6", filename="006_1_2"),
        question("sub01_EP02_01f", subject="sub01", filename="EP02_01f"),
        # A row of a test file names no subject.
        question("sub01_EP03_02"),
        *(question(clip) for clip in ("1", "Video 2.avi", "3", "y/3.mp4", "4")),
    ]
    found, missing = find_clips(asked, tmp_path)
    named = {key.clip: path.relative_to(tmp_path).as_posix() for key, path in found.items()}
    assert named == {
        "006_1_2": "a/006/006_1_2",
        "sub01_EP02_01f": "b/sub01/EP02_01f",
        "sub01_EP03_02": "b/sub01/EP03_02",
        "1": "test/1.mp4",
        "Video 2.avi": "test/video 2.AVI",
        "y/3.mp4": "y/3.mp4",
    }
    # Two files of one name could be two people.
    assert {key.clip for key in missing} == {"3", "4"}
    with pytest.raises(UserError, match="no folder or video 4, nor any other clip"):
        find_clips(asked[-1:], tmp_path)


def test_questions_made_of_codings(corpus: Path) -> None:
    made = clip_questions("casme2", corpus)
    kinds = {q.kind for q in made.questions}
    assert {"coarse", "fine", "aus", "au_yes_no", "combined"} <= kinds
    replies = [q.answer for q in made.questions if q.kind == "au_yes_no"]
    assert set(replies) == {"yes", "no"}
    assert all((q.au is not None) == (q.kind in ("au_yes_no", "side")) for q in made.questions)
    assert all(clip.interval is not None for clip in made.clips.values())


def found(kind: finder.Kind, score: float, au: str) -> finder.Spotted:
    expression = Expression(Interval(0, 2, 4), None, score)
    return finder.Spotted(expression, (0.0, 0.1, 0.2), kind, {}, (au,), ())


def test_long_videos_are_answered_by_the_spotter(tmp_path: Path) -> None:
    rates = Rates(micro=10, macro=10)
    specs = [draw_video(70 + k, k % 2, 14.0, rates=rates) for k in range(2)]
    still = np.zeros((2, 2, 3), np.uint8)
    write_long_videos("samm_long_videos", tmp_path, specs, lambda s: repeat(still, s.frames))
    made = long_questions("samm_long_videos", tmp_path)
    assert {"count_micro", "count_macro"} <= {q.kind for q in made.questions}
    counts = [int(q.answer) for q in made.questions if q.kind == "count_micro"]
    assert sum(counts) > 0 and len(counts) == len(made.clips)

    spotted = [found("micro", 0.5, "4"), found("macro", 0.9, "12"), found("micro", 0.4, "1")]
    kinds: tuple[Kind, ...] = ("count_micro", "count_macro", "micro_or_macro", "aus", "au_yes_no")
    asked = {
        kind: models._of_long(VqaQuestion("", "", "", kind, 4, "", "", {}), spotted)
        for kind in kinds
    }
    assert asked == {
        "count_micro": "2",
        "count_macro": "1",
        "micro_or_macro": "macro",
        "aus": "inner brow raiser, brow lowerer",
        "au_yes_no": "yes",
    }
    assert ClipKey("samm_long_videos", "x") not in made.clips


def test_simulated_clips_stand_without_published_scores(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(synthetic, "render_many", lambda specs, *_: map(tiny, specs))
    few = [f"simulate_into={tmp_path / 'corpora'}", "simulate={subjects: 3, clips: 3}"]
    options = changes(tmp_path, *few, "models=[prior]", "workers=1")
    figures, text = run(resources.benchmark("mevqa_simulated"), options)
    assert {"prior_casme2_coarse_uf1", "prior_casme2_side_accuracy"} <= {f.name for f in figures}
    assert text.startswith("# ME-VQA on simulated clips") and "## Published" not in text
    result = json.loads((tmp_path / "out" / "result.json").read_text())
    assert result["simulated"] and result["tables"]
    assert "ME-VQA on simulated clips, casme2, coarse" in leaderboard([tmp_path / "out"])
