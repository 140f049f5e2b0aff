"""Rules for measures that no frame of the networks names: noise floors, speeds, lengths in mm."""

from __future__ import annotations

from deft_llm.queries.marks import Asked
from deft_llm.queries.query import Query

_Z = r"(?<!\bto )(?<!\bgen )\bz(?: ?scores?| ?values?)?\b"
_OF_ALL = (
    r"\bz ?(?:scores|values)\b|\bnoise (?:floors|levels)\b|\b(?:all|every|each|highest|largest)\b"
)
# "Its" is read as "it is".
_ITS = r"\b(?:it is|their) (?:z|noise floor|noise level)\b|\bz of (?:it|that|them)\b"
_BESIDE_NOISE = r"\b(?:above|over|beyond|exceed\w*|below|under|within|than)\b.*\bnoise\b"
_SPEED = r"\b(?:speed|velocity|velocities)\b|\b(?:px|pixels?) (?:per|a) (?:second|s)\b"
_FAST = r"^(?:and |but |so )?how (?:fast|quick|quickly|rapid|rapidly|swift|swiftly)\b"
# "How fast was it?" asks how long it lasted.
_FAST_MOVE = rf"{_FAST}(?:$|.*\b(?:move|moves|moved|moving|go|goes|went|travel\w*)$)"
# Of one phase, it is the time that is asked for: "how fast did it fade?", "speed of the rise".
_PHASE = (
    r"\b(?:rise|rose|build|ramp|climb|fall|fell|fade|fading|decay|decline|back|return|gone|over|"
    r"done|through|up|down|disappear|vanish|wear|die|relax|peak|start|react|begin|get|reach)\b"
)
_FILMED = r"\b(?:shot|filmed|recorded|camera|video|clip|film|fps|frames?)\b"
_LENGTH = (
    r"\b(?:how many|number of|in|into|to|half an?|one|two|three|\d+(?:\.\d+)?) ?"
    r"(?:mm|cm|millimet(?:er|re)s?|centimet(?:er|re)s?|inch(?:es)?|microns?|micromet(?:er|re)s?)\b"
)
_OTHERS = (
    r"\b(?:other|another|second|further|remaining|additional) "
    r"(?:movements?|motions?|expressions?|microexpressions?|events?)\b"
)


def z_explained(asked: Asked) -> Query | None:
    """For example "what does z mean?", "z?"."""
    if not asked.says(_Z) or asked.regions or asked.sides or asked.says(rf"{_OF_ALL}|{_ITS}"):
        return None
    explains = asked.has("meaning", "why") or asked.says(r"^(?:what|how|which|define|explain)\b")
    return Query("help", of="z") if explains or len(asked.words) <= 2 else None


def in_noise_floors(asked: Asked) -> Query | None:
    """For example "what is the noise floor of the left cheek?", "is the chin's z above 3?"."""
    of_place = asked.regions or asked.says(rf"\bnoise (?:floors|levels)\b|{_ITS}")
    noise = asked.has("noise") and of_place
    if not (asked.says(_Z) or noise) or asked.says(_BESIDE_NOISE):
        return None
    if asked.says(r"^(?:what are|explain|define) noise (?:floors|levels)$"):
        return None
    bound = asked.bound if asked.polar else None
    moments = ("offset",) if asked.has("return") else ()
    polar = bound is not None
    rank = "most" if asked.says(r"\b(?:highest|largest|biggest|greatest)\b") else ""
    where = asked.where
    return Query("magnitude", polar, of="z", moments=moments, rank=rank, bound=bound, **where)


def speed(asked: Asked) -> Query | None:
    """For example "how fast did the chin move?", "what was the speed?"."""
    fast = asked.says(_FAST_MOVE) or (asked.says(_FAST) and asked.regions)
    if not (fast or asked.says(_SPEED)) or asked.says(rf"{_FILMED}|{_PHASE}"):
        return None
    if asked.values("moment") or asked.has("return", "head"):
        return None
    bound = asked.bound if asked.polar else None
    if bound and asked.says(r"\b(?:faster|quicker) than\b"):
        bound = ("more", bound[1])  # of a time, it is less
    return Query("how_long", bound is not None, of="speed", bound=bound, **asked.where)


def in_millimetres(asked: Asked) -> Query | None:
    """For example "how many millimetres did the mouth move?"."""
    if not asked.says(_LENGTH) or asked.has("when", "how_long"):
        return None
    return Query("magnitude", of="mm", aus=asked.aus, **asked.where)


def other_movements(asked: Asked) -> Query | None:
    """For example "list the other movements"; "is there another one?" counts them."""
    if not asked.says(_OTHERS) or asked.polar or asked.has("count") or asked.regions:
        return None
    return Query("when", of="others")
