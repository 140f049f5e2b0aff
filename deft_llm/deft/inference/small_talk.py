"""What is said without looking at the clip: greetings, help, what is declined or not understood."""

from __future__ import annotations

from deft_llm import facs
from deft_llm.answers import STRENGTHS, STRONGEST
from deft_llm.media.canonical import INTEROCULAR
from deft_llm.queries.phrasing import nearest, questions
from deft_llm.queries.query import Query

ASKABLE = (
    "Ask what moved, where to and how far, on which side, when and for how long, which action "
    "units that is, how it is read, how sure that is, and why or why not."
)
#: Topic -> what a face cannot tell; the end of "... cannot be told from a face".
_TOPICS = {
    "lying": "Whether somebody lies",
    "guilt": "Guilt or innocence",
    "danger": "Whether somebody is dangerous",
    "hiring": "Whether somebody suits a job",
    "health": "Health",
    "age": "Age",
    "sex": "Sex or gender",
    "origin": "Where somebody comes from",
    "identity": "Who somebody is",
    "sincerity": "Whether a feeling is sincere",
    "thoughts": "What somebody thinks or wants",
    "character": "Character",
    "intelligence": "Intelligence",
    "attraction": "Looks or charm",
    "relationship": "Love or friendship",
    "belief": "What somebody believes or owns",
    "cause": "What brought the movement about",
    "future": "What happens next",
    "advice": "What you should do",
}
_UNMEASURED = {
    "feeling": "This feeling is none of those that the model tells apart",
    "appearance": "Only movement is measured here, not how somebody looks",
    "speech": "Only movement is measured here, not what is said",
    "gaze": "Where the eyes look is not measured here",
    "surroundings": "Only the movement of one face is measured here",
}
_GREETINGS = {
    "hello": "Hello! {askable}",
    "thanks": "You are welcome. Ask on if there is more.",
    "goodbye": "Goodbye!",
}
_MOMENTS = {
    "onset": "The onset is the frame in which the movement starts.",
    "apex": "The apex is the frame in which the movement is strongest.",
    "offset": "The offset is the frame in which the movement has ended.",
}
_THINGS = {
    "aus": "An action unit (AU) is the visible effect of one facial muscle or a few, numbered "
    "by FACS.",
    "movements": "A micro-expression is a movement of the face that lasts at most half a second "
    "and is often too small to be noticed.",
    "noise": "The noise floor is how much a region seems to move while it is at rest; a region "
    "counts as moved from three times that.",
    "z": "z is how far a region moved in noise floors: how much it seems to move while it is at "
    "rest. From a z of 3 a region counts as moved.",
    "strength": "A movement is called "
    + ", ".join(f"{word} below {limit:g} px" for limit, word in STRENGTHS)
    + f", else {STRONGEST}.",
    "files": "The report of `deft-llm explain` shows the heat, the arrows and the curve; its "
    "options --csv and --json write the numbers, and /save of `deft-llm chat` what was said.",
    "privacy": "Clips are read on the machine that this program runs on; they are sent nowhere.",
    "accuracy": "How often answers are right was measured on benchmarks: see the README and "
    "eval/RESULTS.md. `deft-llm eval warped source=FOLDER` measures it on faces of yours.",
    "mm": f"A pixel (px) is one of the aligned face, on which the eyes lie {INTEROCULAR:.0f} px "
    "apart.",
    "method": "The face is aligned, optical flow is measured from onset to apex, the head's own "
    "motion is removed, and each region's motion is held against its noise. The model reads what "
    "is left.",
    "self": "This is DEFT-LLM, a program that reads small movements of a face. {askable}",
}


def talk(query: Query, question: str) -> str:
    """The answer to a query of a kind in ``query.TALK``.

    Args:
        query: The query.
        question: As asked; its words choose the questions to suggest.
    """
    if query.kind == "greet":
        return _GREETINGS.get(query.topic, _GREETINGS["hello"]).format(askable=ASKABLE)
    if query.kind == "decline":
        if query.topic in _UNMEASURED:
            return f"{_UNMEASURED[query.topic]}. {ASKABLE}"
        return f"{_TOPICS.get(query.topic, 'That')} cannot be told from a face. {ASKABLE}"
    if query.kind == "help":
        return _help(query)
    if query.topic == "language":
        return f"I am afraid that only English is spoken here. {questions(nearest(''))}"
    return f"I did not understand that. You can ask, for example: {questions(nearest(question))}"


def _help(query: Query) -> str:
    if query.moments:
        return " ".join(_MOMENTS[name] for name in query.moments)
    if query.aus:
        return " ".join(_meaning(number) for number in query.aus)
    if query.of in _THINGS:
        return _THINGS[query.of].format(askable=ASKABLE)
    return f"{ASKABLE} For example: {questions(nearest(''))}"


def _meaning(number: int) -> str:
    unit = facs.ACTION_UNITS.get(number)
    if unit is None:
        return f"FACS has no AU{number}."
    moves = [f"{movement.region} {' or '.join(movement.directions)}" for movement in unit.movements]
    moved = f" It moves: {', '.join(moves)}." if moves else ""
    return f"AU{number} is the {unit.name}.{moved}"
