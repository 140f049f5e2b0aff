"""Every question type is asked, answered from the facts alone, and cannot be guessed."""

from __future__ import annotations

import random
import re
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import replace

import pytest

from deft_llm import facs
from deft_llm.answers import Facts, stated_claims
from deft_llm.clip import Evidence
from deft_llm.data.records import ClipRecord
from deft_llm.unimer.answer_writer import AnswerWriter, Templates
from deft_llm.unimer.balance import LOOKALIKES, Balances, au_choice, label_choice, suggested
from deft_llm.unimer.comparison import pairs
from deft_llm.unimer.conversation_sampler import KIND_WEIGHTS, ConversationSampler
from deft_llm.unimer.statistics import asked_au

MakeRecord = Callable[[int], ClipRecord]
CLIPS = 300


@pytest.fixture(scope="module")
def records(make_record: MakeRecord) -> list[ClipRecord]:
    """Few AU sets, some common and some rare; in every sixth clip nothing is seen."""
    kinds = [make_record(int(k**1.7)) for k in range(25)]
    rng = random.Random(0)
    chosen = rng.choices(kinds, [1 / (k + 1) for k in range(25)], k=CLIPS)
    return [
        replace(r, clip=f"{k}", evidence=() if k % 6 == 0 else r.evidence)
        for k, r in enumerate(chosen)
    ]


@pytest.fixture(scope="module")
def sampler(records: list[ClipRecord], templates: Templates) -> ConversationSampler:
    balances = Balances.of((r.facts(), r.emotion_known) for r in records)
    return ConversationSampler(AnswerWriter(templates), balances)


def test_every_type_comes_up_and_no_type_twice(
    sampler: ConversationSampler, records: list[ClipRecord]
) -> None:
    asked: Counter[str] = Counter()
    for seed, record in enumerate(records):
        turns = sampler.conversation(record.facts(), random.Random(seed), 4, True)
        assert len({turn.kind for turn in turns}) == len(turns) == 4
        assert turns == sampler.conversation(record.facts(), random.Random(seed), 4, True)
        asked.update(turn.kind for turn in turns)
    assert set(asked) == set(KIND_WEIGHTS)


def test_what_an_answer_states_is_the_evidence_that_it_names(
    sampler: ConversationSampler, records: list[ClipRecord]
) -> None:
    checked: Counter[str] = Counter()
    for seed, record in enumerate(records):
        facts = record.facts(mirrored=seed % 2 == 1)
        rows = (*facts.evidence, *facts.returns)
        for turn in sampler.conversation(facts, random.Random(seed), 9, True):
            named = {(rows[k].region, rows[k].direction) for k in turn.evidence}
            assert set(stated_claims(turn.answer)) == named, turn
            checked[turn.kind] += bool(named)
    assert {"motion", "why", "structured_answer", "counterfactual", "au_motion", "phases"} == {
        kind for kind, count in checked.items() if count
    }


def test_unexplained_motion_is_asked_about_and_never_told(sampler: ConversationSampler) -> None:
    lid = Evidence("left upper lid", "up", 1.0, 9.0)
    facts = Facts("happiness", ("12",), (), (), (lid,))
    assert 5 in suggested(facts)
    weights = dict(au_choice(facts).no)
    assert weights["5"] > weights["9"]
    for seed in range(40):
        for turn in sampler.conversation(facts, random.Random(seed), 6, True):
            assert "upper lid" not in turn.answer


@pytest.mark.parametrize("pair", [(6, 7), (1, 4), (12, 14), (15, 17)])
def test_lookalikes_are_hard_negatives(pair: tuple[int, int]) -> None:
    assert pair in LOOKALIKES
    for one, other in (pair, pair[::-1]):
        weights = dict(au_choice(Facts("anger", (str(one),), ())).no)
        assert str(one) not in weights
        assert weights[str(other)] == max(weights.values()) > min(weights.values())


def test_yes_and_no_are_even_for_every_unit(
    sampler: ConversationSampler, records: list[ClipRecord]
) -> None:
    """Else the name of a rare unit would give the answer away."""
    by_number: dict[int, Counter[str]] = defaultdict(Counter)
    rng = random.Random(1)
    for record in records * 12:
        facts = record.facts()
        turn = sampler.turn("au_yes_no", facts, rng)
        if turn is None:
            continue
        number = asked_au(turn.question)
        assert number is not None
        assert (turn.answer == "yes") == (number in {facs.au_number(c) for c in facts.aus})
        by_number[number][turn.answer] += 1
    total = sum(by_number.values(), Counter())
    assert abs(total["yes"] / total.total() - 0.5) < 0.04
    for number, answers in by_number.items():
        if answers.total() >= 150:
            assert abs(answers["yes"] / answers.total() - 0.5) < 0.13, number


def test_labels_are_asked_evenly_and_answered_truly(
    sampler: ConversationSampler, records: list[ClipRecord]
) -> None:
    answers: Counter[str] = Counter()
    rng = random.Random(2)
    for record in records * 3:
        facts = record.facts()
        turn = sampler.turn("counterfactual", facts, rng)
        if turn is None:
            continue
        (asked,) = [e for e in facs.EMOTIONS if re.search(rf"\b{e}\b", turn.question)]
        yes = turn.answer.startswith("Yes")
        assert yes == (asked == facts.emotion)
        assert yes or facts.emotion is None or facs.to_three(asked) != facs.to_three(facts.emotion)
        answers["yes" if yes else "no"] += 1
    assert abs(answers["yes"] / answers.total() - 0.5) < 0.06


def test_an_emotion_that_its_codings_share_is_not_spoken_against() -> None:
    choice = label_choice(Facts("happiness", ("12",), ()))
    assert choice.yes == ("happiness",)
    against = {emotion for emotion, _ in choice.no}
    assert "happiness" not in against
    assert label_choice(Facts("others", ("12",), ())).yes == ()


def test_side_answers_follow_the_mirror(sampler: ConversationSampler) -> None:
    left = Facts("happiness", ("L12", "4"), ())
    for seed in range(20):
        turn = sampler.turn("side", left, random.Random(seed))
        assert turn is not None and turn.answer == "left" and asked_au(turn.question) == 12
    right = sampler.turn("side", Facts("happiness", ("R12",), ()), random.Random(0))
    assert right is not None and right.answer == "right"
    assert sampler.turn("side", Facts("anger", ("L12", "R12"), ()), random.Random(0)) is None


def test_times_are_those_of_the_interval(
    sampler: ConversationSampler, make_record: MakeRecord
) -> None:
    facts = next(f for s in range(20) if (f := make_record(s).facts()).evidence)
    assert facts.interval is not None
    rng = random.Random(0)
    for kind in ("onset", "apex", "offset"):
        turn = sampler.turn(f"{kind}_time", facts, rng)
        frame = getattr(facts.interval, kind)
        assert turn is not None and f"{frame / 30:.2f} s (frame {frame})" in turn.answer
    turn = sampler.turn("duration", facts, rng)
    assert turn is not None
    whole, onset_phase, offset_phase = (int(ms) for ms in re.findall(r"(\d+) ms", turn.answer))
    assert whole == round((facts.interval.offset - facts.interval.onset) / 0.03)
    assert abs(onset_phase + offset_phase - whole) <= 1
    nothing = replace(facts, evidence=(), aus=(), emotion=None)
    turn = sampler.turn("apex_time", nothing, rng)
    assert turn is not None and not re.search(r"\d", turn.answer)


def test_what_a_face_cannot_tell_is_refused(
    sampler: ConversationSampler, make_record: MakeRecord
) -> None:
    for seed in range(20):
        turn = sampler.turn("beyond", make_record(seed).facts(), random.Random(seed))
        assert turn is not None and turn.answer.startswith("That cannot be told")


def test_comparisons_are_true_and_balanced(records: list[ClipRecord], templates: Templates) -> None:
    answers: Counter[str] = Counter()
    made = list(pairs(records, AnswerWriter(templates), seed=0))
    assert len(made) > CLIPS / 3
    for pair in made:
        assert pair.first.subject != pair.second.subject
        first, second = pair.first.facts(), pair.second.facts()
        for turn in pair.turns:
            if turn.kind == "compare_class":
                same = first.coarse == second.coarse
                assert turn.answer.startswith("Yes" if same else "No")
                answers[turn.answer[:2]] += 1
            if turn.kind == "compare_strength":
                sizes = [max((e.magnitude for e in f.evidence), default=0) for f in (first, second)]
                assert turn.answer.startswith("The first") == (sizes[0] > sizes[1])
    assert 0.3 < answers["Ye"] / answers.total() < 0.7
    assert made == list(pairs(records, AnswerWriter(templates), seed=0))


def test_a_label_without_au_coding_is_all_that_is_told(
    make_record: MakeRecord, sampler: ConversationSampler
) -> None:
    """SMIC codes no AUs: neither "no action unit" nor "no region moved" would be true."""
    moved = make_record(3).evidence
    coded = replace(make_record(0), aus=(), evidence=(), emotion="negative", unexplained=moved)
    facts = coded.facts()
    assert (facts.emotion, facts.coarse, facts.label_alone) == ("negative", "negative", True)
    told = {
        turn.kind: turn.answer
        for seed in range(20)
        for turn in sampler.conversation(facts, random.Random(seed), 3, emotion_known=True)
    }
    assert set(told) == {"class", "emotion", "beyond"}
    assert told["class"] == told["emotion"] == "negative"
    # Nothing is seen to move: then the label is not told either.
    assert replace(coded, unexplained=()).facts().coarse == "none"


def test_a_label_without_au_coding_does_not_shift_the_balance(records: list[ClipRecord]) -> None:
    bare = [replace(r, aus=(), evidence=(), unexplained=r.evidence) for r in records if r.evidence]
    alone = Balances.of((r.facts(), True) for r in records)
    both = Balances.of((r.facts(), True) for r in [*records, *bare])
    assert alone.aus.chance == both.aus.chance and alone.labels.chance == both.labels.chance
    assert alone.aus.weights.tolist() == both.aus.weights.tolist()
