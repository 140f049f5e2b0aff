"""From a question in everyday English to a query, without a language model.

The question is normalised (``spelling``), cut free of manners and checked for what no face can
tell (``declined``); then its words are marked (``marks``), and the first rule of ``RULES`` whose
cues are there makes the query. A short question takes what it leaves out from the query before
it (``followup``). A trained network reads the question as well (``parser``): ``agreed`` says
whose query holds, and when neither does, so that the question is asked back. The vocabulary and the
order of the rules are our own choice.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import lru_cache

from deft_llm.queries import (
    followup,
    measure_rules,
    motion_rules,
    parser,
    reading_rules,
    short_turns,
    spelling,
    time_rules,
)
from deft_llm.queries.cues import greeting, sentence_that_asks, without_manners
from deft_llm.queries.declined import declined_topic
from deft_llm.queries.frame_scores import FrameScores
from deft_llm.queries.lexicon import lexicon
from deft_llm.queries.marks import Asked
from deft_llm.queries.motion_rules import excepted
from deft_llm.queries.query import TALK, Query
from deft_llm.queries.scope import is_elsewhere, strangers

UNKNOWN = Query("unknown")
#: How likely the network must find it that a question is about the clip, by whether its query is of
#: the kind that the rules read, and whether something that is measured is named. First where plain
#: English and the vocabulary account for every word, then where they do not. Chosen on questions
#: that no pattern was written after: fewest claims about what is declined, at no more refusals.
_LEAST: dict[tuple[bool, bool], tuple[float, float]] = {
    (True, True): (0.04, 0.5),
    (True, False): (0.5, 0.95),
    (False, True): (0.05, 0.85),
    (False, False): (0.15, 0.95),
}
#: What names something of the face, and what else names a thing that is measured of it.
_NAMES = ("region", "class", "au", "moment")
_MEASURED = (*_NAMES, "au_word", "how_long", "feel", "expression")
_SILENT = (0.7, 0.9)  # The same where no rule applies.
#: A question after another one leaves out what it is about; so much of the first number is enough.
_REFERRING = 0.15
_BARE = 2  # words of a question that only names something
_WORDLESS = 0.8  # how likely a reading of words that are none must be: "heyy" is a greeting
_CLEAR = 8  # letters of a misspelt word that is a question by itself
_MAY = frozenset({"can", "could", "would", "will", "may", "might", "should"})
# Begins as a question about a person does; if it is none that a face answers, it is declined.
_ABOUT_SOMEBODY = re.compile(
    r"^(?:is|was|are|were|does|did|do|has|have|had|will|would|can|could|should|may|might) "
    r"(?:he|she|they|somebody|someone|(?:this|that|the) (?:person|man|woman|guy|lady|girl|boy))\b"
)
_OPEN = re.compile(r"^(?:how(?! about)|what(?! about)|which|when|where|who)\b")
# "What moved, and which way?", "why surprise and not fear?"
_TWO_PARTS = re.compile(r"\band (?:in )?(?:which|what|how|where|when|why|not)\b")
# Sides are the subject's, who faces the camera: what is left in the picture is their right.
_IN_PICTURE = re.compile(
    r"\b(left|right)((?:[ -]hand)?(?: (?:side|half|part))?) (?:of|in) (?:the|this) "
    r"(?:image|picture|photo|screen)\b|"
    r"\b(?:(?:viewer|observer)s?|screen|image|camera) (left|right)\b"
)
_PICTURE = r"(?:image|picture|photo|screen|video|clip|monitor|display)"
# "The left corner, as seen on the screen": what is named is the viewer's.
_AS_SEEN = re.compile(
    rf",? (?:(?:as|when) (?:(?:i|we|you) )?(?:seen?|viewed|looks?|shown)|as it (?:appears|looks)) "
    rf"(?:it |that |this )?(?:in|on|from|at) (?:the |this |my )?(?:{_PICTURE}|front|camera)\b|"
    rf",? (?:on|in) (?:the|my) (?:screen|monitor|display)\b|,? (?:as|like) (?:i|we) see it\b|"
    r",? from (?:my|our|the (?:viewer|observer|camera)|the front)s?"
    r"(?: (?:own )?(?:side|view|point of view|viewpoint|perspective|angle))?(?= |\W*$)"
)
# "From her own perspective" says what is meant anyway.
_SUBJECTS = re.compile(
    r",? from (?:his|her|their|the (?:subject|person))(?: own)? (?:side|view|point of view|"
    r"viewpoint|perspective)\b|\b(?:the )?(?:subject|person)s? own (?=left|right)"
)
# A single letter, "because the", "brow the when is".
_UNFINISHED = re.compile(
    r"^(?!k$)[a-z]$|\b(?:the|an?|and|but|because|if|than|my|your)$|"
    r"\bthe (?:when|how|is|are|was|did|does|and|or|of)\b|^(?:(?:up|down|left|right) ?){3,}$"
)
# Thanks nobody.
_DOUBTS = re.compile(r"^(?:oh )?(?:really|huh|seriously|no way|for real|are you sure)\W*$")
# "Is my mum smiling?" is about the person in the clip.
_KIN = re.compile(
    r"^((?:is|was|does|did|do|has|can|could)(?: not)?) my (?:little |big |old |own )?(?:mum|mom|"
    r"mother|dad|father|son|daughter|brother|sister|wife|husband|baby|child|kid|friend|boyfriend|"
    r"girlfriend|uncle|aunt|cousin|grandma|grandpa|grandmother|grandfather|patient|client|student|"
    r"partner|boss)\b"
)
#: In this order: "how long did it take to move back?" is about time, not about the return.
RULES: tuple[Callable[[Asked], Query | None], ...] = (
    *(
        reading_rules.record,
        measure_rules.z_explained,
        measure_rules.nearly,
        reading_rules.about_chat,
        measure_rules.real_or_noise,
        measure_rules.in_noise_floors,
        measure_rules.in_millimetres,
        measure_rules.why_still,
        measure_rules.noisiest,
        measure_rules.speed,
        measure_rules.other_movements,
        measure_rules.rise_and_fall,
        measure_rules.people,
        motion_rules.at_time,
        motion_rules.rests_at_end,
        reading_rules.why_not,
        reading_rules.combined,
    ),
    *(reading_rules.why, time_rules.blink, time_rules.count, reading_rules.sure),
    *(time_rules.order, time_rules.how_long, time_rules.when, motion_rules.return_),
    *(time_rules.head, time_rules.quality, reading_rules.probability, motion_rules.side),
    *(motion_rules.compare, time_rules.moment, motion_rules.magnitude, motion_rules.direction),
    *(reading_rules.emotion, reading_rules.au, motion_rules.moved, reading_rules.summary),
)


@lru_cache(maxsize=4096)
def understand(
    question: str, before: Query | None = None, network: FrameScores | None = None
) -> Query:
    """What a question asks.

    Args:
        question: As typed.
        before: The query of the question before it, for "and the left one?".
        network: What reads it beside the rules; None for the package's small network.
    """
    text = spelling.normal(question)
    if spelling.is_foreign(question, lexicon().known):
        return Query("unknown", topic="language")
    if not re.search(r"\w", text):
        return Query("help") if "?" in text else UNKNOWN
    if _UNFINISHED.search(text.strip(" ?!.,")):
        return UNKNOWN
    doubts = "?" in text or (before and text.strip(" !.") in {"no", "yes", "sure"})
    if (topic := greeting(text)) and not (topic == "thanks" and doubts):
        return Query("greet", topic=topic)
    text = _KIN.sub(r"\1 the person", _of_the_subject(without_manners(text)))
    if (topic := greeting(text)) and not (topic == "thanks" and doubts):  # "ok thanks, bye"
        return Query("greet", topic=topic)
    if (same := short_turns.again(text, before)) is not None:
        return same
    query = _understood(text, before, network)
    if query.kind == "greet" and _DOUBTS.search(text):
        return UNKNOWN
    # A "not" may be in what is only told: "I can't spot it. Where is the twitch?"
    doubtful = query.kind in {"decline", "unknown"} or query.negated
    if doubtful and (asks := sentence_that_asks(text)):
        asks = without_manners(asks)
        if Asked.of(asks).has("move", *_MEASURED):
            alone = _understood(asks, before, network)
            loses = bool(query.regions) and not alone.regions
            return query if alone.kind in TALK or loses else alone
    return query


def _of_the_subject(text: str) -> str:
    """A text without manners whose sides are the subject's, as all sides are here."""
    text = _SUBJECTS.sub("", text)
    if (seen := _AS_SEEN.sub("", text).strip(" ,")) and seen != text.strip(" ,"):
        return re.sub(r"\b(?:left|right)\b(?! after| before| now)", _other, seen)
    return _IN_PICTURE.sub(_to_subject, text)


def _other(said: re.Match[str]) -> str:
    return "right" if said[0] == "left" else "left"


def _to_subject(said: re.Match[str]) -> str:
    """The side of the subject's face for one of the picture."""
    side = said[1] or said[3]
    return f"{'right' if side == 'left' else 'left'}{said[2] or ''}"


def _understood(text: str, before: Query | None, network: FrameScores | None) -> Query:
    """What a text without manners asks."""
    if topic := declined_topic(text):
        return Query("decline", topic=topic)
    asked = Asked.of(text)
    if not all(0 < number < 1000 for number in asked.aus):
        return UNKNOWN  # no number of an AU, which FACS counts from 1
    to_us = text.startswith(("are you", "were you")) and not asked.has("sure")
    if is_elsewhere(text) or (to_us and asked.has("class", "au")):
        return UNKNOWN
    reading = parser.read(asked, before, network)
    query = agreed(asked, by_rules(asked, before), reading, before is None)
    # "How often ...?" is not answered by yes or no, however it was read.
    if query.polar and _OPEN.search(text) and "or" not in asked.words:
        query = replace(query, polar=False, negated=False)
    return query


def understand_turns(questions: Iterable[str], network: FrameScores | None = None) -> Query:
    """What the last question of a conversation asks, each in the light of the one before.

    Args:
        questions: As typed, in order.
        network: See ``understand``.
    """
    before: Query | None = None
    query = UNKNOWN
    for question in questions:
        query = understand(question, before, network)
        # Small talk does not change what "it" refers to.
        before = before if query.kind in followup.PASSING else query
    return query


def by_rules(asked: Asked, before: Query | None) -> Query | None:
    """The query by the rules alone; None if none applies."""
    query = first_rule(asked)
    return followup.complete(asked, query, before) or query


def agreed(asked: Asked, ruled: Query | None, reading: parser.Reading, alone: bool = True) -> Query:
    """The query of a question that rules and network have read.

    Args:
        asked: The question.
        ruled: The query by the rules.
        reading: What the network makes of it.
        alone: Whether nothing was asked before.
    """
    trust = reading.trust
    certain = reading.share >= (trust.sure if alone else trust.refers)
    fits = not (_loses(ruled, reading.asks) or _is_open(asked, ruled, reading.asks))
    # What a question of two parts asks, no one frame says.
    fits = fits or (reading.share >= trust.certain and not _TWO_PARTS.search(asked.text))
    fits = fits and not _is_another(asked, ruled, reading.asks)
    sure = reading.asks if certain and fits else None
    if ruled is not None and ruled.kind in TALK:
        # "what is meant by the offset?": of the same kind, but it says of what.
        asks = reading.query
        closer = asks is not None and asks.kind == ruled.kind and reading.share >= trust.certain
        closer = closer and not ruled.of
        return asks if asks is not None and closer else ruled
    # "In one sentence, for a paper": for whom it is said does not change what is said.
    if ruled is not None and ruled.ruled and (ruled.of == "sentence" or not strangers(asked)):
        return ruled  # the network can only take it for something else
    if reading.claim < _least(asked, ruled, reading, alone):
        if len(strangers(asked)) == len(asked.words) and reading.share < _WORDLESS:
            return UNKNOWN  # "asdf"
        if _ABOUT_SOMEBODY.search(asked.text):
            return reading.declines
        # "Anything else worth knowing?" is no farewell.
        measured = asked.whether or asked.has("whole", "move", *_MEASURED)
        return UNKNOWN if measured and reading.aside.kind == "greet" else reading.aside
    if ruled is None and alone and len(asked.words) == 1 and reading.share < _WORDLESS:
        return UNKNOWN  # "if", "frame"
    if ruled is None:
        return reading.asks if reading.asks and reading.share >= trust.fair else UNKNOWN
    return sure or ruled


def _least(asked: Asked, ruled: Query | None, reading: parser.Reading, alone: bool) -> float:
    """How likely it must be that a question is about the clip, for its query to hold."""
    foreign = bool(strangers(asked))
    if ruled is None:
        return _SILENT[foreign]
    if len(asked.words) <= _BARE and asked.has(*_NAMES) and not foreign:
        return 0.0  # "mouth?"
    agree = reading.asks is not None and reading.asks.kind == ruled.kind
    named = asked.has(*(_NAMES if foreign else _MEASURED)) or bool(asked.aus)
    named = named or measure_rules.rise_and_fall(asked) is not None
    least = _LEAST[agree, named][foreign]
    return least if alone or foreign else least * _REFERRING


def _is_open(asked: Asked, ruled: Query | None, read: Query | None) -> bool:
    """Whether a query says yes or no to what is not asked so: "list every part that moved"."""
    if ruled is None or read is None:
        return False
    chosen = any(map(asked.choice, ("side", "way", "class", "region", "au")))
    open_ = read.polar and not ruled.polar and (chosen or not asked.polar)
    return open_ or bool(excepted(asked))


def _is_another(asked: Asked, ruled: Query | None, read: Query | None) -> bool:
    """Whether a query is surely not what is asked, by a form that the rules know."""
    if ruled is None or read is None:
        return False
    kinds = ruled.kind, read.kind
    several = asked.whether or len(ruled.aus) > 1
    ways = [
        asked.first == "about" and read.polar != ruled.polar and not asked.says(r"\bdid\b"),
        asked.whether and kinds in {("au", "confidence"), ("emotion", "why"), ("au", "why")},
        kinds == ("moved", "side_difference") and bool(ruled.sides or ruled.negated),
        kinds == ("order", "direction") and ruled.polar,  # "did they move together?"
        kinds[0] == kinds[1] and _says_otherwise(asked, ruled, read),
        kinds in {("why_not", "why"), ("blink", "au"), ("summary", "why")},
        kinds == ("how_long", "moved") and bool(ruled.moments),
        kinds in {("moved", "count"), ("direction", "count")} and not ruled.polar,
        kinds == ("compare", "probability") and ruled.rank == "second",
        kinds == ("moved", "au") and bool(ruled.moments),  # "did she hold the smile?"
        kinds == ("magnitude", "au") and ruled.negated,  # "is the smile not strong?"
        kinds == ("compare", "side_difference"),
        kinds == ("au", "blink") and 45 not in ruled.aus,  # "is the mouth shut?"
        kinds == ("moved", "moved") and bool(excepted(asked)),
        # Of two parts that go apart.
        kinds == ("moved", "direction") and (asked.whether or read.negated) and not ruled.polar,
        kinds == ("moved", "moved") and len(asked.regions) > 1 and read.polar and not ruled.polar,
        kinds == ("au", "au") and ruled.negated and not ruled.polar,
        kinds == ("head_motion", "head_motion") and asked.polar and not ruled.polar,
        kinds == ("moved", "confidence") and asked.whether and bool(ruled.regions),
        kinds == ("order", "why_not"),
        kinds == ("au", "why") and not ruled.aus,
        kinds in {("blink", "when"), ("blink", "how_long"), ("blink", "confidence")},
        kinds in {("moved", "when"), ("moved", "how_long")}
        and ruled.polar
        and ruled.moments == ("offset",),
        kinds == ("au", "au") and read.polar and not ruled.polar and several,
        kinds in {("side_difference", "au"), ("moved", "quality")},
        # "Any AU at all?", where "could you list the AUs?" is no question of yes or no.
        kinds == ("au", "au") and asked.whether and ruled.polar and asked.first not in _MAY,
        asked.has("micro") and "or" in asked.words and ruled == Query("how_long"),
    ]
    return any(ways)


def _says_otherwise(asked: Asked, ruled: Query, read: Query) -> bool:
    """Whether a query of the same kind takes a "not", a phase or a limit for another."""
    opens = read.polar and not ruled.polar
    # "Isn't it fear?" denies nothing; the rules count each "not" that is said.
    denies = ruled.polar and read.polar and ruled.negated != read.negated
    told = ruled.negated or "not" in asked.words or asked.says(r"\bor no\b")
    limits = ((ruled.bound or ("",))[0], (read.bound or ("",))[0])
    ways = [
        denies and told,
        opens and asked.ranged,
        ruled.kind == "moved" and opens and ruled.negated,
        ruled.kind == "moved" and ruled.negated and ruled.of != read.of,
        ruled.kind == "moved" and bool(ruled.moments) and not read.moments,
        ruled.kind == "moved" and not ruled.polar and asked.says(r"\b(?:onset|rise|rising) phase$"),
        ruled.kind == "how_long" and asked.has("micro") and limits[0] != limits[1],
        ruled.kind == "blink" and (opens or (read.negated and not ruled.negated)),
    ]
    return any(ways)


def _loses(ruled: Query | None, read: Query | None) -> bool:
    """Whether a query leaves out what the rules found, such as the class that "why?" refers to."""
    if ruled is None or read is None:
        return False
    kept = ("regions", "aus", "classes", "than", "sides", "rank")
    narrowed = read.kind == "why_not" and ruled.kind in {"why", "why_not"}
    open_ = ruled.kind == "moved" and not ruled.polar and read.kind != "moved"
    record = ruled.kind == "summary" and bool(ruled.of)
    reasons = ruled.kind == "why" and read.kind == "summary"
    return (
        record
        or ruled.ruled
        or reasons
        or narrowed
        or open_
        or any(getattr(ruled, name) and not getattr(read, name) for name in kept)
    )


def first_rule(asked: Asked) -> Query | None:
    """The query of the first rule that applies; None if none does."""
    guess = asked.guessed and len(asked.first) < _CLEAR
    if guess and not asked.has("region", "class", "au", "moment", "way"):
        return None
    for rule in RULES:
        if (query := rule(asked)) is not None:
            return query
    return None
