"""From a question in everyday English to a query, without a language model.

The question is normalised (``spelling``), cut free of manners and checked for what no face can tell
(``declined``); then its words are marked (``marks``), and the first rule of ``RULES`` whose cues are
there makes the query. A short question takes what it leaves out from the query before it
(``followup``). The vocabulary and the order of the rules are our own choice.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

from deft_llm.queries import followup, spelling
from deft_llm.queries.cues import greeting, without_manners
from deft_llm.queries.declined import declined_topic
from deft_llm.queries.marks import Asked, lexicon
from deft_llm.queries.query import Query, expand

UNKNOWN = Query("unknown")
#: Seconds: expressions of up to half a second count as micro-expressions.
BRIEF = 0.5
#: Canonical px from which a movement counts as marked, and up to which as slight.
STRONG_PX, WEAK_PX = 1.0, 0.4
_AUXILIARIES = frozenset(
    "is are was were do does did has have had can could would will should may might am any".split()  # noqa: SIM905
)
_OPEN = frozenset(
    """what which when where why who how whose list name describe give show tell summarize summarise
    explain report code enumerate mark find compare rank point go state classify sort label put
    measure output return produce write fill justify argue spell walk follow count print answer
    identify detail outline select choose pick determine get""".split()  # noqa: SIM905
)


def understand(question: str, before: Query | None = None) -> Query:
    """What a question asks.

    Args:
        question: As typed.
        before: The query of the question before it, for "and the left one?".
    """
    text = spelling.normal(question)
    if spelling.is_foreign(question, lexicon().known):
        return Query("unknown", topic="language")
    if not re.search(r"\w", text):
        return Query("help") if "?" in text else UNKNOWN
    if (topic := greeting(text)) and not (before and text.strip(" ?!.") in {"no", "yes", "sure"}):
        return Query("greet", topic=topic)
    if topic := declined_topic(text):
        return Query("decline", topic=topic)
    asked = Asked.of(without_manners(text))
    query = first_rule(asked)
    return followup.complete(asked, query, before) or query or UNKNOWN


def understand_turns(questions: Iterable[str]) -> Query:
    """What the last question of a conversation asks, each in the light of the one before."""
    before: Query | None = None
    query = UNKNOWN
    for question in questions:
        query = understand(question, before)
        # Small talk does not change what "it" refers to.
        before = before if query.kind in followup.PASSING else query
    return query


def first_rule(asked: Asked) -> Query | None:
    """The query of the first rule that applies; None if none does."""
    for rule in RULES:
        if (query := rule(asked)) is not None:
            return query
    return None


def is_polar(asked: Asked) -> bool:
    """Whether yes or no answers a question."""
    if asked.words[:1] and asked.first in _AUXILIARIES:
        return not asked.says(
            r"^(?:is|are|was|were|do|did|does)\b.*\b(?:how|which|when|why|where)\b"
        )
    if asked.first in {"if", "whether"} or asked.says(r"\byes or no\b|\bwhether\b"):
        return True
    return asked.first not in _OPEN and not asked.says(r"\b(?:what|which|when|where|why|how)\b")


def negated(asked: Asked) -> bool:
    """Whether stillness or absence is asked for; "didn't it move?" asks for movement."""
    words = asked.words
    leading = len(words) > 1 and words[0] in _AUXILIARIES and words[1] == "not"
    denied = "not" in words[2 if leading else 0 :] or asked.says(r"\b(?:never|no|absent|missing)\b")
    return denied != asked.has("still")


def _where(asked: Asked) -> dict[str, tuple[str, ...]]:
    return {"regions": asked.parts, "sides": asked.sides}


# ------------------------------------------------------------------------------ about the chat


_ABOUT_US = {
    "self": r"\b(?:who|what) are you\b|\byour name\b|\bare you (?:an? )?(?:human|robot|bot|ai|real|"
    r"machine|person|chatgpt|gpt|llm|language model)|\b(?:which|what) model\b|\bwho made you\b",
    "method": r"\bhow (?:do|does|did|are|is|was) (?:you|it|this|that|the \w+) (?:measur|work\b|comput|"
    r"calculat|detect)|\boptical flow\b|\bmethod\b|\balgorithm\b",
}


def _help(asked: Asked) -> Query | None:
    for of, pattern in _ABOUT_US.items():
        if re.search(pattern, asked.text):
            return Query("help", of=of)
    indefinite = asked.says(r"^(?:what|explain) (?:is|are|does|do)? ?(?:an?|the term|the word)\b")
    asks = asked.has("meaning") or indefinite
    coded = asked.aus and asked.says(
        r"^what (?:is|are|does|s) (?:an? |the )?(?:au|action unit)s? ?\d"
    )
    if (asks and asked.aus) or coded:
        return Query("help", aus=asked.aus)
    if asks and (moments := asked.values("moment")) and not asked.has("how_long", "when"):
        return Query("help", moments=moments)
    for cue, of in {"au_word": "aus", "micro": "movements", "noise": "noise"}.items():
        if asks and asked.has(cue):
            return Query("help", of=of)
    if asked.has("ask") and not (asked.regions or asked.aus or asked.values("class")):
        return Query("help")
    return None


# --------------------------------------------------------------------------- reasons and doubts


def _json(asked: Asked) -> Query | None:
    return Query("summary", of="json") if asked.has("json") else None


def _why_not(asked: Asked) -> Query | None:
    classes, aus = asked.values("class"), asked.aus
    excluded = asked.has("why") and "not" in asked.words
    if not (asked.has("against") or excluded) or asked.says(r"\bfor or against\b"):
        return None
    swapped = re.search(
        r"\bwhy (?:is it )?(\w+) (?:and not|rather than|instead of|not) ", asked.text
    )
    if swapped and len(classes) > 1:
        return Query("why_not", classes=classes[1:])
    if classes or aus or asked.has("against") or len(asked.words) <= 6:
        return Query("why_not", classes=classes, aus=aus, **_where(asked))
    return None


def _why(asked: Asked) -> Query | None:
    if not asked.has("why") or (asked.has("likely") and asked.first != "why"):
        return None
    if asked.first in _AUXILIARIES and asked.values("class"):
        return None  # "is that a reason to call it fear?" is about fear
    return Query("why", classes=asked.values("class"), aus=asked.aus, **_where(asked))


def _sure(asked: Asked) -> Query | None:
    if not asked.has("sure") or asked.has("quality"):
        return None
    return Query("confidence", classes=asked.values("class"), aus=asked.aus)


# ------------------------------------------------------------------------ the clip and the head


def _blink(asked: Asked) -> Query | None:
    if asked.has("wink"):
        return Query("blink", polar=is_polar(asked), of="wink", sides=asked.sides)
    if not asked.has("blink") or 45 in asked.aus:
        return None
    if asked.has("count"):
        return Query("count", of="blinks")
    return Query("blink", polar=is_polar(asked), negated="not" in asked.words[2:])


def _head(asked: Asked) -> Query | None:
    if not asked.has("head") or asked.regions:
        return None
    return Query("head_motion", polar=is_polar(asked), negated=negated(asked), bound=asked.bound)


def _quality(asked: Asked) -> Query | None:
    if asked.has("region_word") and not asked.says("measured|seen"):
        return None
    if not asked.has("quality") or asked.aus or (asked.regions and not asked.says("measured|seen")):
        return None
    if asked.has("how_long", "when", "move") and not asked.says("measured|seen|frame rate|fps"):
        return None
    of = next((name for name in ("rate", "noise", "light") if asked.has(name)), "")
    return Query("quality", polar=is_polar(asked), of=of or "face" * asked.says(r"\bface\b"))


# -------------------------------------------------------------------------------------- numbers


def _count(asked: Asked) -> Query | None:
    polar = is_polar(asked)
    single = asked.says(r"\b(?:only|just|more than|at least) (?:one|1|a single|two|three|\d)\b")
    counts = asked.has("count") or asked.first == "count"
    if not counts and not (polar and single and not asked.has("how_long", "strong")):
        return None
    of = ""
    for cue, name in {"au_word": "aus", "blink": "blinks", "frame_word": "frames"}.items():
        of = of or name * asked.has(cue)
    if not of and (asked.has("region_word") or asked.regions):
        of = "regions"
    if not of and asked.has("movement_word"):
        of = "movements"
    if not of and not counts:
        return None
    bound = asked.bound
    if polar and bound is None and asked.says(r"\b(?:only|just) (?:one|1|a single)\b"):
        bound = ("less", 2.0)
    return Query("count", polar=polar, of=of or "movements", bound=bound, **_where(asked))


def _how_long(asked: Asked) -> Query | None:
    polar, bound = is_polar(asked), asked.bound
    lasting = r"\blast(?:s|ed|ing)?\b(?! (?:motion|movement|to|at|one|in|of))|\b(?:take|took)\b"
    span = asked.has("how_long") or (asked.says(lasting) and not asked.has("when"))
    if asked.has("micro") and polar and not span and not asked.has("feel", "when", "move", "count"):
        return Query("how_long", polar=True, bound=bound or ("less", BRIEF))
    if polar and not span and not asked.regions and not asked.has("how_much", "more", "moment"):
        if asked.has("brief"):
            return Query("how_long", polar=True, bound=bound or ("less", BRIEF))
        if asked.has("long") and not asked.has("clip_word"):
            return Query("how_long", polar=True, bound=bound or ("more", BRIEF))
    if not span or (asked.has("first", "final") and asked.has("move")):
        return None
    if asked.has("clip_word") and not asked.has("movement_word", "moment"):
        return Query("how_long", polar=polar, of="clip", bound=bound)
    moments = _span(asked)
    if polar and bound is None:
        bound = ("less" if asked.has("brief") else "more", BRIEF)
    return Query("how_long", polar=polar, moments=moments, bound=bound if polar else None)


def _span(asked: Asked) -> tuple[str, ...]:
    """The two moments between which time is asked for; none for the whole movement."""
    named = asked.values("moment")
    if asked.says(
        r"\brise time\b|\b(?:to|until|till|reach|reaching) (?:the |its )?(?:apex|peak|maximum)"
    ):
        return ("onset", "apex")
    if asked.says(
        r"\bfall time\b|\bfade|\bback to\b|\breturn|\b(?:from|after) (?:the )?(?:apex|peak)"
    ):
        return ("apex", "offset") if not asked.says(r"\brise\b|come back") else ()
    if set(named) >= {"onset", "offset"} or len(named) != 1:
        return () if len(named) != 2 or set(named) == {"onset", "offset"} else tuple(named)
    return ("onset", "apex") if named == ("apex",) else ()


def _order(asked: Asked) -> Query | None:
    if not asked.has("first", "final", "order") or asked.has("au_word", "when"):
        return None
    than = next((m.at for m in asked.marks if m.concept in {"first", "final"}), 9999)
    ahead = [m for m in asked.regions if m.at < than]
    behind = [m for m in asked.regions if m.at > than]
    if ahead and behind:
        later = asked.says(r"\b(?:after|later than)\b")
        ahead, behind = (behind, ahead) if later else (ahead, behind)
        one, two = (expand(m.value for m in part) for part in (ahead, behind))
        return Query("order", polar=is_polar(asked), regions=one, than=two)
    if asked.values("moment") and not asked.says(r"\b(?:what|which|who|where)\b"):
        return None
    rank = "first" if asked.has("first") else "last" if asked.has("final") else ""
    together = not rank and is_polar(asked)
    polar = is_polar(asked) and not asked.choice("region")
    if not (asked.regions or asked.has("move", "region_word", "order", "moment", "whole")):
        return None
    return Query("order", polar=polar, negated=together, regions=asked.parts, rank=rank)


def _when(asked: Asked) -> Query | None:
    if not (asked.has("when") or asked.says(r"\bat what\b|\bhow far into\b")):
        return None
    moments, bound = asked.values("moment"), asked.bound
    if asked.has("most") or asked.says(r"\bbest\b|\bpause\b"):
        moments = ("apex",)
    elif not moments and (asked.has("first") or asked.says(r"\bat rest\b")):
        moments = ("onset",)
    elif not moments and asked.has("final"):
        moments = ("offset",)
    polar = is_polar(asked) and bound is not None
    return Query("when", polar=polar, moments=moments, bound=bound if polar else None)


def _moment(asked: Asked) -> Query | None:
    """A moment that is named alone: "the apex?", "mark the onset"."""
    moments, bound = asked.values("moment"), asked.bound
    if not moments or asked.regions or asked.has("class", "au", "au_word", "feel", "way"):
        return None
    if asked.says(r"\bmov(?:e|es|ed|ing)\b|\bfrom\b.*\bto\b|\bbetween\b|\bchanges?\b"):
        return None
    polar = is_polar(asked) and bound is not None
    return Query("when", polar=polar, moments=moments, bound=bound if polar else None)


# ----------------------------------------------------------------------------------- two of them


def _side(asked: Asked) -> Query | None:
    where = {"regions": asked.parts, "aus": asked.aus}
    polar = is_polar(asked) and not asked.choice("side")
    if asked.has("uneven"):
        return Query("side_difference", polar=polar, negated="not" in asked.words[2:], **where)  # type: ignore[arg-type]
    if asked.has("even") and not asked.says(r"^even\b"):
        return Query("side_difference", polar=polar, negated="not" not in asked.words[2:], **where)  # type: ignore[arg-type]
    more = asked.has("more", "less_than", "most", "only_one") or asked.says(r"\b(?:only|just)\b")
    if asked.has("which_side") or (asked.choice("side") and not asked.has("which_way")):
        return Query("side_difference", **where)  # type: ignore[arg-type]
    named = [mark.value for mark in asked.marks if mark.concept == "side"]
    if (
        more
        and named
        and named[0] in {"left", "right"}
        and not asked.says("more than (?:one|a|\\d)")
    ):
        side = named[0]
        if asked.has("less_than") or asked.has("least"):
            side = "right" if side == "left" else "left"
        return Query("side_difference", polar=polar, sides=(side,), **where)  # type: ignore[arg-type]
    differ = asked.says(r"\bdiffer(?:ent|ence|s)?\b") and (
        asked.values("side") or "side" in asked.words
    )
    return Query("side_difference", polar=polar, **where) if differ else None  # type: ignore[arg-type]


def _compare(asked: Asked) -> Query | None:
    than = next((m.at for m in asked.marks if m.concept == "than"), 9999)
    behind = tuple(m.value for m in asked.regions if m.at > than)
    ahead = tuple(m.value for m in asked.regions if m.at < than)
    if asked.has("more", "less_than") and ahead and behind:
        if asked.has("less_than") and not asked.has("more"):
            ahead, behind = behind, ahead
        return Query("compare", polar=is_polar(asked), regions=expand(ahead), than=expand(behind))
    chosen = asked.choice("region")
    if asked.has("most") or (chosen and asked.has("more")):
        if asked.values("class") or asked.has("feel", "au_word", "likely"):
            return None
        polar = is_polar(asked) and not chosen and bool(asked.regions)
        return Query("compare", polar=polar, regions=asked.parts, rank="most", sides=asked.sides)
    if asked.has("least"):
        return Query("compare", regions=asked.parts, rank="least")
    if chosen and not asked.values("way"):
        return Query("compare", regions=asked.parts, rank="most")
    if asked.says(r"^compare\b") and len(asked.regions) > 1:
        return Query("compare", regions=asked.parts, rank="most")
    return None


# ----------------------------------------------------------------------------------- the movement


def _magnitude(asked: Asked) -> Query | None:
    polar, bound = is_polar(asked), asked.bound
    sized = asked.has("how_much") or asked.says(r"\bpx\b|\bpixels?\b")
    if (
        polar
        and bound is None
        and not asked.values("class")
        and not asked.has("feel", "expression")
    ):
        if asked.has("strong") and not asked.values("way"):
            bound = ("more", STRONG_PX)
        elif asked.has("weak") and not asked.values("way"):
            bound = ("less", WEAK_PX)
    if sized and asked.has("region_word") and not asked.regions and not polar:
        return None  # all regions, with their strength
    if not sized and (bound is None or not polar or asked.has("au_word", "how_long", "when")):
        return None
    where = {**_where(asked), "aus": asked.aus}
    moments = ("offset",) if asked.has("return") else ()
    return Query("magnitude", polar=polar, bound=bound if polar else None, moments=moments, **where)  # type: ignore[arg-type]


def _direction(asked: Asked) -> Query | None:
    ways = asked.values("way")
    if asked.aus and not asked.regions and not asked.has("which_way"):
        return None
    moments = ("offset",) if asked.has("return") else ()
    listed = not asked.regions and asked.says(r"\bwhat mov|\bwhere\b|\bparts?\b|\bregions?\b")
    if (asked.has("which_way") and not listed) or asked.choice("way"):
        return Query("direction", directions=ways, moments=moments, aus=asked.aus, **_where(asked))  # type: ignore[arg-type]
    if not ways or asked.has("feel"):
        return None
    # "what went up?" asks for regions, "did the brows go up?" for yes or no.
    return Query(
        "direction",
        is_polar(asked),
        negated(asked),
        directions=ways,
        moments=moments,
        **_where(asked),
    )


def _return(asked: Asked) -> Query | None:
    if not asked.has("return") and not asked.says(r"^how\b.*\bfade"):
        return None
    return Query("moved", is_polar(asked), negated(asked), moments=("offset",), **_where(asked))


def _moved(asked: Asked) -> Query | None:
    polar = is_polar(asked)
    if asked.aus or asked.values("class"):
        return None
    acts = asked.has("move", "still") or (asked.has("expression") and polar)
    if asked.regions:
        return Query("moved", polar, negated(asked), **_where(asked))
    if acts or asked.has("region_word"):
        if asked.has("feel") and not asked.has("region_word"):
            return None
        if asked.says(r"^describe\b.*\b(?:clip|video)\b"):
            return None
        return Query("moved", polar, negated(asked), sides=asked.sides)
    return None


# ------------------------------------------------------------------------------- what it is read as


def _probability(asked: Asked) -> Query | None:
    if asked.has("second"):
        return Query("probability", rank="second")
    if not asked.has("likely"):
        return None
    classes = asked.values("class")
    than = next((m.at for m in asked.marks if m.concept == "than"), 9999)
    polar = is_polar(asked)
    if asked.says(r"\bplausible\b") or (
        polar and "than" not in asked.cues and classes and not asked.bound
    ):
        return Query("emotion", polar=polar, classes=classes) if classes else None
    ahead, behind = asked.values("class", to=than), asked.values("class", than)
    rank = "most" if asked.has("most") and not classes else ""
    return Query(
        "probability",
        polar,
        classes=ahead,
        than=behind,
        rank=rank,
        bound=asked.bound,
        aus=asked.aus,
    )


def _combined(asked: Asked) -> Query | None:
    both = asked.has("au_word") and asked.has("feel") and not asked.aus
    if asked.says(r"\b(?:why|leads?|speaks?|justify|argue|reason|because)\b"):
        return None
    return Query("summary", of="labels") if both or asked.has("combined") else None


def _emotion(asked: Asked) -> Query | None:
    classes = asked.values("class")
    if asked.aus and not classes:
        return None
    if classes:
        chosen = asked.choice("class") or (len(classes) > 1 and not is_polar(asked))
        return Query("emotion", not chosen, negated(asked), classes=classes)
    if asked.has("feel") or (asked.has("expression") and not asked.regions and not is_polar(asked)):
        coarse = asked.says(r"\bclass|\bcoarse|\bcategory|\bsort\b|\bclassify")
        return Query("emotion", is_polar(asked), negated(asked), of="labels" * coarse)
    return None


def _au(asked: Asked) -> Query | None:
    if asked.aus:
        polar = is_polar(asked)
        return Query("au", polar, polar and negated(asked), aus=asked.aus, sides=asked.sides)
    if asked.has("au_word"):
        return Query("au", is_polar(asked), **_where(asked))
    return None


def _summary(asked: Asked) -> Query | None:
    return Query("summary") if asked.has("summary", "clip_word") and not asked.regions else None


RULES: tuple[Callable[[Asked], Query | None], ...] = (
    *(_json, _help, _why_not, _combined, _why, _blink, _count, _sure, _order, _how_long, _when),
    *(_return, _head, _quality, _probability, _side, _compare, _moment, _magnitude, _direction),
    *(_emotion, _au, _moved, _summary),
)
