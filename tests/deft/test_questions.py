"""What is asked in people's own words: known kinds, what no face can tell, and neither."""

from __future__ import annotations

import pytest

from deft_llm.deft.inference.questions import BEYOND, KINDS, UNKNOWN, Question, questions
from deft_llm.unimer.answer_writer import Templates

ASK = questions()
PHRASINGS = Templates().questions


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "au_yes_no"])
def test_every_trained_phrasing_is_understood(kind: str) -> None:
    assert {ASK.understand(text).kind for text in PHRASINGS[kind]} == {kind}


def test_an_au_is_found_by_number_and_by_name() -> None:
    for text in PHRASINGS["au_yes_no"]:
        asked = ASK.understand(text.format(number=12, name="lip corner puller"))
        assert asked == Question("au_yes_no", 12), text


def test_what_no_face_can_tell_is_declined() -> None:
    assert {ASK.understand(text).kind for text in PHRASINGS["beyond"]} == {BEYOND}


@pytest.mark.parametrize(
    "question",
    """Is he lying?|is she telling the truth|Should I hire this person?|Does she have depression?
    |Is the person autistic?|How old is she?|Is this a man or a woman?|who is that|Is he guilty?
    |Will she do it again?|Is the smile genuine?|Is that a FAKE smile|What is he thinking about?
    |Is he drunk?|Can I trust him?|what's her name|Does he love me?|Is she attractive?
    |Is he hiding something?|what nationality is he|Did he commit the murder|Is she in pain?
    |Is he a good father?|is she ill|Is he dangerous?|Would you promote her?|Did he steal it?
    |What is her IQ?|Is he gay?|Does she believe in god?|Is he a threat to us?""".split("|"),  # noqa: SIM905
)
def test_questions_about_the_person_are_declined_in_any_words(question: str) -> None:
    assert ASK.understand(question).kind == BEYOND


@pytest.mark.parametrize(
    ("question", "kind"),
    [
        ("what moved in the face??", "motion"),
        ("WHICH REGIONS MOVED", "motion"),
        ("What happened?", "motion"),
        ("how does she feel", "emotion"),
        ("which aus are active", "aus"),
        ("explain it to me", "why"),
        ("When was the apex?", "apex_time"),
        ("when does it begin", "onset_time"),
        ("How long did the expression last?", "duration"),
        ("return json", "structured_answer"),
        ("AU 4?", "au_yes_no"),
        ("what about action unit 17", "au_yes_no"),
    ],
)
def test_other_words_for_a_known_question(question: str, kind: str) -> None:
    assert ASK.understand(question).kind == kind


@pytest.mark.parametrize(
    "question",
    """hello|thanks!|write a poem|2+2?|what is the weather|was ist das für ein Gefühl|¿qué emoción?
    |how many frames are there|What color are her eyes?|Does he wear glasses?|why not fear?|?
    |did the cat move the sofa and the table|表情""".split("|"),  # noqa: SIM905
)
def test_what_is_neither_is_not_understood(question: str) -> None:
    assert ASK.understand(question) == Question(UNKNOWN)
