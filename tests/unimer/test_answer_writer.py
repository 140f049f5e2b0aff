"""What an answer states is exactly what was measured, and can be read back."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from deft_llm import facs
from deft_llm.answers import (
    COARSE_LABELS,
    PIECES,
    Facts,
    au_name,
    coarse_label,
    parse_structured_answer,
    stated_claims,
    stated_labels,
    strength,
)
from deft_llm.clip import Evidence
from deft_llm.data.records import ClipRecord
from deft_llm.errors import UserError
from deft_llm.unimer.answer_writer import QUESTION_TYPES, AnswerWriter, Templates
from deft_llm.unimer.statistics import asked_au

MakeRecord = Callable[[int], ClipRecord]
SEEDS = range(150)
NOTHING = Facts(None, (), ())


@pytest.fixture(scope="module")
def writer(templates: Templates) -> AnswerWriter:
    return AnswerWriter(templates)


def claims_of(facts: Facts) -> set[tuple[str, str]]:
    return {(row.region, row.direction) for row in facts.evidence}


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("kind", ["motion", "why", "structured_answer"])
def test_stated_claims_are_exactly_the_evidence(
    writer: AnswerWriter, make_record: MakeRecord, kind: str, mirrored: bool
) -> None:
    for seed in SEEDS:
        facts = make_record(seed).facts(mirrored)
        answer = writer.answer(kind, facts)
        claims = stated_claims(answer)
        assert set(claims) == claims_of(facts), answer
        assert len(claims) == len(set(claims))


def test_any_direction_of_any_region_can_be_stated_and_read(writer: AnswerWriter) -> None:
    """Also those that no AU expects: the model may write them, and scoring must see them."""
    for name, region in facs.REGIONS.items():
        for direction in facs.DIRECTIONS:
            try:
                facs.direction_vector(direction, region.side)
            except UserError:
                continue
            facts = Facts("anger", ("4",), (Evidence(name, direction, 0.5, 5.0, ("4",)),))
            for kind in ("motion", "why", "structured_answer"):
                assert stated_claims(writer.answer(kind, facts)) == ((name, direction),)


def test_both_sides_of_a_pair_are_read_from_one_sentence() -> None:
    text = "Both halves of the upper lip move up and outward, slight. The chin moves up, marked."
    assert stated_claims(text) == (
        ("left upper lip", "up and outward"),
        ("right upper lip", "up and outward"),
        ("chin", "up"),
    )


def test_the_rationale_of_a_triple_counts_as_a_claim() -> None:
    record = {"class": "none", "aus": [], "evidence": [], "rationale": "The chin moves up."}
    assert stated_claims(json.dumps(record)) == (("chin", "up"),)


def test_an_answer_cut_short_still_gives_its_sentences() -> None:
    assert stated_claims('{"rationale": "The glabella moves down, the chin mo') == (
        ("glabella", "down"),
    )


@pytest.mark.parametrize("mirrored", [False, True])
def test_the_triple_round_trips(
    writer: AnswerWriter, make_record: MakeRecord, mirrored: bool
) -> None:
    for seed in SEEDS:
        facts = make_record(seed).facts(mirrored)
        record = parse_structured_answer("\n " + writer.answer("structured_answer", facts) + " ")
        assert record is not None
        assert record["class"] == facts.coarse
        assert record["emotion"] == (facts.emotion or "none")
        assert tuple(record["aus"]) == facts.aus
        assert record["rationale"] == writer.rationale(facts)
        assert record["evidence"] == [
            {"region": e.region, "direction": e.direction, "strength": strength(e.magnitude)}
            for e in facts.evidence
        ]


def test_the_fixed_parts_of_the_triple_occur_as_the_tokenizer_knows_them(
    writer: AnswerWriter,
) -> None:
    brow = Evidence("left inner brow", "up and inward", 0.5, 5.0, ("L1",))
    chin = Evidence("chin", "up", 0.5, 5.0, ("17",))
    answer = writer.answer("structured_answer", Facts("sadness", ("L1", "17"), (brow, chin)))
    fixed = {piece for piece in PIECES if ":" in piece or piece == '"}'}
    assert len(fixed) == 10
    terms = {'"L1"', '"17"', "left inner brow", " left inner brow", "up and inward"}
    assert terms < set(PIECES)
    assert [piece for piece in fixed | terms if piece not in answer] == []


GOOD = {
    "class": "negative",
    "aus": ["L12"],
    "evidence": [{"region": "chin", "direction": "up"}],
    "rationale": "",
}


@pytest.mark.parametrize(
    "change",
    [
        {"class": "anger"},
        {"class": ["negative"]},
        {"aus": ["99"]},
        {"aus": ["12 lip corner puller"]},
        {"aus": [12]},
        {"aus": None},
        {"aus": "12"},
        {"evidence": {}},
        {"evidence": ""},
        {"rationale": None},
        {"evidence": ["chin"]},
        {"evidence": [{"region": "chin"}]},
        {"evidence": [{"region": "nose", "direction": "up"}]},
        {"evidence": [{"region": "chin", "direction": "outward"}]},
        {"evidence": [{"region": "left cheek", "direction": "left"}]},
        {"evidence": [{"region": ["chin"], "direction": "up"}]},
    ],
)
def test_an_invalid_triple_is_none(change: dict[str, object]) -> None:
    assert parse_structured_answer(json.dumps(GOOD)) == GOOD
    assert parse_structured_answer(json.dumps(GOOD | change)) is None


@pytest.mark.parametrize("text", ["", "negative", "{", "[]", "3", "null", '{"class": "negative"}'])
def test_what_is_no_record_is_none(text: str) -> None:
    assert parse_structured_answer(text) is None
    assert stated_claims(text) == ()


def test_every_question_type_has_many_phrasings(templates: Templates) -> None:
    assert set(templates.questions) == set(QUESTION_TYPES)
    for kind, phrasings in templates.questions.items():
        assert len(phrasings) >= 12, kind
        assert len({text.lower() for text in phrasings}) == len(phrasings), kind
    assert templates.prompts() == {k: v[0] for k, v in templates.questions.items()}


@pytest.mark.parametrize(
    ("file", "old", "new", "named"),
    [
        ("questions", "AU{number} {name} active", "AU{numbr} active", "au_yes_no.*'numbr'"),
        ("questions", "Is this person lying?", "Is {name} lying?", "beyond.*'name'"),
        ("questions", "Mark the apex.", "Mark {", "apex_time"),
        ("answers", "{au} is too weak", "{au} at {where} is too weak", "unseen.*'where'"),
        ("answers", "au_unseen:", "au_unsen:", "'au_unseen'"),
    ],
)
def test_a_wrong_template_is_named(
    templates_folder: Path, tmp_path: Path, file: str, old: str, new: str, named: str
) -> None:
    for path in templates_folder.glob("*.yaml"):
        text = path.read_text(encoding="utf-8")
        if path.stem == file:
            assert old in text
            text = text.replace(old, new, 1)
        (tmp_path / path.name).write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=rf"{file}\.yaml.*{named}"):
        Templates(tmp_path)


def test_nothing_seen_is_said_as_nothing(writer: AnswerWriter) -> None:
    assert writer.answer("class", NOTHING) == writer.answer("emotion", NOTHING) == "none"
    assert writer.answer("aus", NOTHING) == "no action unit"
    for kind in ("motion", "why", "structured_answer"):
        assert stated_claims(writer.answer(kind, NOTHING)) == ()
    assert not any(e in writer.answer("structured_answer", NOTHING) for e in facs.EMOTIONS)


def test_the_rationale_names_no_unit_twice_and_the_emotion(
    writer: AnswerWriter, make_record: MakeRecord
) -> None:
    for seed in SEEDS:
        facts = make_record(seed).facts()
        if facts.emotion is None:
            continue
        text = writer.rationale(facts)
        for code in facts.aus:
            au = au_name(code)
            assert text.count(f"{au}:") + text.count(f"{au} is too weak") <= 1
        reading = "none of the basic emotions" if facts.emotion == "others" else facts.emotion
        assert reading in text


def test_unit_names() -> None:
    assert au_name("12") == "AU12 lip corner puller"
    assert au_name("L12") == "AU12 lip corner puller on the left"


def test_coarse_labels() -> None:
    for emotion in (*facs.EMOTIONS, None):
        assert Facts(emotion, (), ()).coarse in COARSE_LABELS
    assert Facts("others", (), ()).coarse == "others"
    assert NOTHING.coarse == "none"


@pytest.mark.parametrize("emotion", [*facs.EMOTIONS, None])
def test_labels_are_read_back_from_every_answer_that_concludes(
    writer: AnswerWriter, emotion: str | None
) -> None:
    """In the wording of the templates, so that a change there cannot pass unseen."""
    facts = Facts(emotion, ("12",), ())
    coarse, fine = facts.coarse, emotion or "none"
    for kind, labels in (("class", {coarse}), ("emotion", {fine})):
        assert set(stated_labels(writer.answer(kind, facts))) == labels
    if emotion is not None:
        assert set(stated_labels(writer.rationale(facts))) == {fine}
        fields = {"aus": "AU12", "emotion": fine, "label": coarse}
        assert set(stated_labels(writer.text("combined_one", **fields))) == {fine, coarse}
    assert coarse_label(fine) == coarse_label(coarse) == coarse


@pytest.mark.parametrize(
    "text", ["", "yes", "No, disgust is not plausible.", "Why disgust?", "The chin moves up: AU17."]
)
def test_no_label_is_read_where_none_is_concluded_on(text: str) -> None:
    assert stated_labels(text) == ()


def test_yes_and_no_are_equally_likely(writer: AnswerWriter, make_record: MakeRecord) -> None:
    """A model that always says yes, or always no, must learn nothing from it."""
    rng = random.Random(0)
    answers: Counter[str] = Counter()
    for seed in range(1000):
        record = make_record(seed % 100)
        facts = Facts(record.emotion, record.aus, record.evidence)
        question, answer = writer.turn("au_yes_no", facts, rng)
        present = {facs.au_number(code) for code in facts.aus}
        assert (answer == "yes") == (asked_au(question) in present), question
        answers[answer] += 1
    assert set(answers) == {"yes", "no"}
    assert 0.4 <= answers["yes"] / answers.total() <= 0.6


def test_no_unit_is_affirmed_where_none_is_coded(writer: AnswerWriter) -> None:
    rng = random.Random(0)
    assert {writer.turn("au_yes_no", NOTHING, rng)[1] for _ in range(50)} == {"no"}


def test_a_conversation_asks_different_things(
    writer: AnswerWriter, make_record: MakeRecord
) -> None:
    facts = make_record(3).facts()
    for seed in range(30):
        turns = writer.conversation(facts, random.Random(seed), turns=4)
        assert len({turn.question for turn in turns}) == len(turns) == 4
        assert turns == writer.conversation(facts, random.Random(seed), turns=4)


def test_an_unknown_emotion_is_never_spoken_of(
    writer: AnswerWriter, make_record: MakeRecord
) -> None:
    for seed in range(60):
        record = make_record(seed)
        facts = Facts(None, record.aus, record.evidence)
        turns = writer.conversation(facts, random.Random(seed), turns=7, emotion_known=False)
        assert len(turns) == 3
        answers = [turn.answer for turn in turns]
        assert not any(
            parse_structured_answer(answer) or "no emotion" in answer for answer in answers
        )
        assert not set(answers) & set(COARSE_LABELS)


def test_missing_templates_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"questions\.yaml"):
        Templates(tmp_path)
    (tmp_path / "questions.yaml").write_text("class: [a]\n")
    (tmp_path / "answers.yaml").write_text("nothing: a\n")
    with pytest.raises(UserError, match="au_yes_no"):
        Templates(tmp_path)
