"""Rules for what no frame of the networks names: noise floors, speeds, lengths in mm, people."""

from __future__ import annotations

from deft_llm.queries.marks import Asked
from deft_llm.queries.query import Query

_ERROR = r"\b(?:uncertainty|error bars?|margin of error|standard deviations?|plus or minus)\b"
_SNR = r"\bsignal to noise\b|\bsnr\b"
_Z = r"(?<!\bto )(?<!\bgen )\bz(?: ?scores?| ?values?)?\b"
_OF_ALL = (
    r"\bz ?(?:scores|values)\b|\bnoise (?:floors|levels)\b|\b(?:all|every|each|highest|largest)\b"
)
# "Its" is read as "it is".
_ITS = r"\b(?:it is|their) (?:z|noise floor|noise level)\b|\bz of (?:it|that|them)\b"
_BESIDE_NOISE = r"\b(?:above|over|beyond|exceed\w*|below|under|within|than)\b.*\bnoise\b"
# "By more than 3 noise floors": the noise floor is the unit.
_IN_FLOORS = (
    r"\b(?:\d+(?:\.\d+)?|two|three|four|five|ten) (?:times )?(?:the |it is |their )?noise\b"
)
_HOW_FAR_ABOVE = r"^(?:by )?how (?:far|much|many) .*(?:above|over|beyond)\b.*\bnoise"
# Whether it is motion at all.
_REAL = (
    r"\b(?:real|true|actual|genuine)\b.*\bnoise\b|\bnoise or\b|"
    r"^(?:is|was|are|were) .*\babove (?:the |its )?noise(?: floor| level)?$"
)
_MERE = r"\b(?:just|only|merely|nothing but|all) (?:\w+ )?noise\b"
_STILL = (
    r"\b(?:not|no|nothing|still|ignor\w*|skip\w*|exclud\w*|leave|left out|missing|omit\w*|"
    r"without)\b"
)
_NEARLY = (
    r"\bsub ?threshold\b|\b(?:below|under|near|close to|almost|nearly) (?:the |at |reached )*"
    r"(?:threshold|noise floors?|cut ?off)\b|\b(?:nearly|almost) (?:detect|moved|active|found|"
    r"counted|missed)|\b(?:closest|nearest) to (?:mov|threshold|being)"
)
_NOISIEST = (
    r"\bnoisiest\b|\b(?:most|highest|largest|greatest) (?:noise|noisy)\b|\bleast (?:certain|"
    r"reliabl\w+) (?:part|region|area)\b"
)
_RISE, _FALL = (
    r"(?:rise|rising|up|onset|attack|start)",
    r"(?:fall|falling|down|back|offset|decay|return\w*|end)",
)
_RISE_AND_FALL = (
    rf"\b(?:faster|quicker|slower|longer|shorter)\b.*\b(?:{_RISE}\b.*\bthan\b.*\b{_FALL}|"
    rf"{_FALL}\b.*\bthan\b.*\b{_RISE})\b|"
    rf"\b{_RISE}\b(?: \w+){{0,2}} (?:vs|versus|against|compared \w+) (?:\w+ )?{_FALL}\b|"
    rf"\b(?:{_RISE}\b.*\b(?:faster|quicker|slower|longer|shorter) than\b.*\b{_FALL}|"
    rf"{_FALL}\b.*\b(?:faster|quicker|slower|longer|shorter) than\b.*\b{_RISE})\b"
)
_PEOPLE = (
    r"\b(?:(?:more than|at most|only|just) (?:one|1)|another|(?:a )?second|other|two|several|"
    r"multiple|how many|any other|"
    r"anyone else|anybody else|someone else|somebody else) ?(?:persons?|people|faces?)\b"
    r"(?! (?:part|region|area|muscle|mov|motion|half|side|au))|"
    r"\b(?:anyone|anybody|someone|somebody) else\b"
)
_OUTSIDE = (
    r"\b(?:before|after|outside|beyond) (?:the |that |this )?(?:onset|offset|expression|movement|"
    r"interval|start)\b"
)
_SPEED = r"\b(?:speed|velocity|velocities)\b|\b(?:px|pixels?) (?:per|a) (?:second|s)\b"
_FAST = r"^(?:and |but |so )?how (?:fast|quick|quickly|rapid|rapidly|swift|swiftly)\b"
# "How fast was it?" asks how long it lasted.
_TOP_SPEED = r"\b(?:peak|top|maximum|max|maximal|highest|greatest) (?:speed|velocity)\b"
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
    """For example "what does z mean?", "z?", "from which threshold does a region move?"."""
    if asked.says(_NEARLY):
        return None
    if asked.says(r"^(?:what|which|from)\b.*\b(?:threshold|cut ?off|criterion)\b"):
        return Query("help", of="z")
    if not asked.says(_Z) or asked.regions or asked.sides or asked.says(rf"{_OF_ALL}|{_ITS}"):
        return None
    explains = asked.has("meaning", "why") or asked.says(r"^(?:what|how|which|define|explain)\b")
    return Query("help", of="z") if explains or len(asked.words) <= 2 else None


def in_noise_floors(asked: Asked) -> Query | None:
    """For example "what is the noise floor of the left cheek?", "is the chin's z above 3?"."""
    of_place = asked.regions or asked.says(rf"\bnoise (?:floors|levels)\b|{_ITS}")
    noise = (asked.has("noise") and of_place) or asked.says(_SNR)
    noise = noise or asked.says(r"\bp ?values?\b|\bstatistical\w*\b")
    noise = noise or (asked.regions and not asked.polar and asked.says(_ERROR))
    above = asked.regions and asked.says(_HOW_FAR_ABOVE)
    bound = asked.bound if asked.polar else None
    floor = asked.has("noise") and not asked.says(rf"{_Z}|{_SNR}|{_IN_FLOORS}")
    if bound and floor and not asked.regions:
        return Query("quality", True, asked.negated, of="noise", bound=bound)
    beside = asked.says(_BESIDE_NOISE) and not bound
    if not (asked.says(_Z) or noise) or (beside and not above):
        return None
    if asked.says(r"^(?:what are|explain|define) noise (?:floors|levels)$"):
        return None
    moments = ("offset",) if asked.has("return") else ()
    polar = bound is not None
    denied = polar and asked.negated
    rank = "most" if asked.says(r"\b(?:highest|largest|biggest|greatest)\b") else ""
    # A limit is one of what it is asked of: the floor in pixels, or z.
    of, where = ("noise" if polar and floor else "z"), asked.where
    return Query(
        "magnitude", polar, denied, of=of, moments=moments, rank=rank, bound=bound, **where
    )


def speed(asked: Asked) -> Query | None:
    """For example "how fast did the chin move?", "what was the speed?"."""
    fast = asked.says(_FAST_MOVE) or (asked.says(_FAST) and asked.regions)
    top = asked.says(_TOP_SPEED)
    phase = asked.says(_PHASE) and not top and not (asked.regions and asked.values("way"))
    if not (fast or asked.says(_SPEED)) or asked.says(_FILMED) or phase:
        return None
    if (asked.values("moment") and not top) or asked.has("return", "head"):
        return None
    bound = asked.bound if asked.polar else None
    if bound and asked.says(r"\b(?:faster|quicker) than\b"):
        bound = ("more", bound[1])  # of a time, it is less
    polar = bound is not None
    return Query("how_long", polar, polar and asked.denied, of="speed", bound=bound, **asked.where)


def in_millimetres(asked: Asked) -> Query | None:
    """For example "how many millimetres did the mouth move?"."""
    sized = asked.says(r"\bhow (?:large|big|wide) is (?:an?|one) (?:px|pixel)\b")
    if sized or (asked.has("meaning") and asked.says(r"\b(?:px|pixels?)\b")):
        return Query("help", of="mm")
    if not asked.says(_LENGTH) or asked.has("when", "how_long"):
        return None
    return Query("magnitude", of="mm", aus=asked.aus, **asked.where)


def other_movements(asked: Asked) -> Query | None:
    """For example "list the other movements"; "is there another one?" counts them."""
    if asked.says(_OUTSIDE) and asked.has("move") and not asked.has("count", "when", "how_long"):
        return Query("when", of="others")
    if not asked.says(_OTHERS) or asked.has("count") or asked.regions or asked.bound:
        return None
    return Query("when", of="others")


def nearly(asked: Asked) -> Query | None:
    """For example "is there movement just below the threshold?", "what did you nearly detect?"."""
    return Query("moved", of="likely", **asked.where) if asked.says(_NEARLY) else None


def why_still(asked: Asked) -> Query | None:
    """For example "why did the mouth not move?", "why do you ignore the chin?"."""
    if asked.first != "why" or not asked.regions or asked.aus or asked.values("class"):
        return None
    return Query("magnitude", of="z", **asked.where) if asked.says(_STILL) else None


def real_or_noise(asked: Asked) -> Query | None:
    """For example "is that just noise?", "is the movement real or noise?"."""
    mere, choice = asked.says(_MERE), "or" in asked.words
    if not asked.polar or not (mere or asked.says(_REAL)):
        return None
    return Query("moved", not choice, mere and not choice, **asked.where)


def noisiest(asked: Asked) -> Query | None:
    """For example "which region was the noisiest?"."""
    if not asked.says(_NOISIEST) or asked.polar:
        return None
    return Query("magnitude", of="noise", rank="most", **asked.where)


def rise_and_fall(asked: Asked) -> Query | None:
    """For example "was it faster going up than coming down?"."""
    if asked.regions or asked.aus or not asked.says(_RISE_AND_FALL):
        return None
    return Query("how_long")


def people(asked: Asked) -> Query | None:
    """For example "is there more than one person?"."""
    return Query("quality", of="people") if asked.says(_PEOPLE) else None
