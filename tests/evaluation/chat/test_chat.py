"""The benchmark of the chat: its questions, its clips, and a small run of it."""

from __future__ import annotations

import json
import runpy
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from deft_llm import resources
from deft_llm.data.simulated import SimulatedData
from deft_llm.deft.inference.engine import execute
from deft_llm.errors import UserError
from deft_llm.evaluation.benchmark import run
from deft_llm.evaluation.chat import benchmark as chat
from deft_llm.evaluation.chat.asking import assign
from deft_llm.evaluation.chat.borne_out import not_borne_out
from deft_llm.evaluation.chat.clips import example_clips, filmed_clips
from deft_llm.evaluation.chat.known import known_of
from deft_llm.evaluation.chat.polarity import polarity
from deft_llm.evaluation.chat.questions import read_questions
from deft_llm.evaluation.chat.scores import FIGURES
from deft_llm.motion.measure import Measurement
from deft_llm.queries.query import TALK, parse_query
from deft_llm.simulator.scene.clips import draw_spec, render_clip

ROOT = Path(__file__).resolve().parents[3]
FILE = resources.benchmark_data(chat.QUESTIONS)


def test_the_questions_are_many_and_of_many_kinds() -> None:
    questions = read_questions(FILE)
    asked = Counter((q.after.lower(), q.ask.lower()) for q in questions)
    assert len(questions) >= 400 and max(asked.values()) == 1
    assert len({q.kind for q in questions}) >= 25
    assert sum(q.query.kind == "decline" for q in questions) >= 100
    assert sum(bool(q.after) for q in questions) >= 50
    kinds = {q.query.kind for q in questions}
    assert kinds >= {"moved", "direction", "when", "au", "emotion", "why_not", "unknown", "help"}


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ({"kind": "moved", "ask": "?"}, r"line 1: fields kind, ask; expected texts"),
        ({"kind": "moved", "ask": "?", "query": "stir"}, r"line 1: query: kind 'stir'"),
    ],
)
def test_a_wrong_line_is_named(line: dict[str, str], words: str, tmp_path: Path) -> None:
    (tmp_path / "mine.jsonl").write_text(json.dumps(line) + "\n")
    with pytest.raises(UserError, match=words):
        read_questions(tmp_path / "mine.jsonl")


def test_yes_is_right_as_often_as_no() -> None:
    """On clips of both kinds; what is not about a clip is asked once."""
    questions, clips = read_questions(FILE), example_clips()
    pairs = list(assign(questions, clips, 4, seed=0))
    assert pairs == list(assign(questions, clips, 4, seed=0))
    answers: dict[str, list[bool]] = {}
    for question, clip in pairs:
        if question.query.polar and question.query.kind != "order":
            yes = polarity(replace(question.query, negated=False), clip.known)
            assert yes is not None
            answers.setdefault(question.ask, []).append(yes)
    assert all(sum(a) <= 2 and len(a) - sum(a) <= 2 for a in answers.values())
    times = Counter(question for question, _ in pairs)
    assert all(n == 1 for question, n in times.items() if question.query.kind in TALK)


def test_a_run_finds_its_figures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The reduced form: two example clips, every fifteenth question."""
    two = [clip for clip in example_clips() if clip.known.clip in ("01_surprise", "04_nothing")]
    monkeypatch.setattr(chat, "example_clips", lambda: two)
    path = resources.benchmark("chat")
    figures, table = run(path, ["data={}", "every=15", f"output={tmp_path}"])
    values = {figure.name: figure.value for figure in figures}
    assert list(values) == [*(f"embedded_{name}" for name in FIGURES), "left_out"]
    values = {name.removeprefix("embedded_"): value for name, value in values.items()}
    assert values["left_out"] == 1  # no language model was downloaded
    assert values["ceiling"] >= 0.9 and values["questions"] >= 40
    assert values["right"] >= 0.7 and values["not_borne_out"] == 0
    rows = [json.loads(line) for line in (tmp_path / "answers-embedded.jsonl").open()]
    assert len(rows) == values["answers"] and "| moved_side |" in table
    assert sum(row["right"] for row in rows) / len(rows) == pytest.approx(values["right"])


def test_one_model_alone_is_not_left_out(tmp_path: Path) -> None:
    """The bars of the other stay in the file."""
    with pytest.raises(UserError, match="models get smollm2"):
        run(resources.benchmark("chat"), ["models=[smollm2]", f"output={tmp_path}"])


def test_a_fact_that_was_not_measured_is_noticed(
    make_measurement: Callable[..., Measurement],
) -> None:
    measurement = make_measurement()

    def explain() -> None:
        raise AssertionError("not needed")

    true = execute(parse_query("direction"), measurement, explain)  # type: ignore[arg-type]
    assert true.facts and not list(not_borne_out("", true, measurement))
    for change in ({"value": "down"}, {"about": "chin"}, {"what": "px", "value": 9.0}):
        lie = replace(true, facts=(replace(true.facts[0], **change),))
        assert list(not_borne_out("", lie, measurement)), change
    row = true.facts[0].evidence[0]
    more = replace(true.facts[0], evidence=(replace(row, magnitude=row.magnitude + 1),))
    assert list(not_borne_out("", replace(true, facts=(more,)), measurement))
    assert list(not_borne_out("The chin moves down.", true, measurement))


@pytest.mark.slow
def test_the_truth_about_the_example_clips_is_that_of_their_recipes() -> None:
    made = runpy.run_path(str(ROOT / "demo" / "make_clips.py"))
    for i, (clip, (seed, emotion, aus)) in enumerate(
        zip(example_clips(), made["CLIPS"].values(), strict=True)
    ):
        who = made["FIRST_IDENTITY"] + i
        spec = draw_spec(seed, who, emotion=emotion, aus=aus, peak_px=2.0, fps=90.0, blink=None)
        assert replace(known_of(render_clip(spec)), clip=clip.known.clip) == clip.known


@pytest.mark.slow
def test_clips_are_filmed_once(tmp_path: Path) -> None:
    data = SimulatedData(clips=1, identities=1, seed=9_600_000, workers=1)
    filmed = filmed_clips("own", data, tmp_path)
    before = filmed[0].file.stat().st_mtime_ns
    assert filmed_clips("own", data, tmp_path) == filmed
    assert filmed[0].file.stat().st_mtime_ns == before
    # The simulator has changed since they were filmed.
    video = filmed[0].file.read_bytes()
    filmed[0].file.write_bytes(b"of another simulator")
    assert filmed_clips("own", data, tmp_path) == filmed
    assert filmed[0].file.read_bytes() == video
