"""Turns of a few words that mean something only after another question: "in seconds?", "300?"."""

from __future__ import annotations

import re
from dataclasses import replace

from deft_llm.queries.query import Query

POINTING = re.compile(r"\b(?:it|that|they|those|them|these|one|ones|this|there|so|same|its)\b")
#: What "which ones?" asks for after a count.
_NAMES = {
    "aus": Query("au"),
    "regions": Query("moved"),
    "blinks": Query("blink"),
    "movements": Query("when", of="others"),
}
_NEXT = re.compile(
    r"^(?:and |but )?(?:which |what )?(?:(?:moved|came|was|is|one|the) )*(?:second|third|next|then|"
    r"after (?:that|it)|afterwards?)(?: one)?$"
)
_AT_ONCE = re.compile(
    r"^(?:and |but )?(?:all )?(?:together|at (?:the same time|once)|simultaneously)$"
)
_IS_ALL = re.compile(
    r"^(?:is (?:that|it|this) (?:all|it|everything)|(?:only|just|nothing but) that)$"
)
_EXPLAIN = re.compile(
    r"^what (?:is that|(?:does|do) (?:that|it) (?:mean|stand for)|"
    r"(?:would|does|do|should) (?:it|that) look like)$"
)
_WHOLE_CLIP = re.compile(
    r"^(?:what about |how about |of |for )?the (?:whole |entire )?(?:clip|video|recording)$"
)
_WHICH_FRAME = re.compile(r"^(?:at |in )?(?:which|what) (?:frames?|seconds?|time)$")
_MATTERS = re.compile(r"\b(?:affect|influence|matter|disturb|change|distort|bias)\w*\b")
_WHERE_EXACTLY = re.compile(
    r"^(?:and |but |so )?(?:where|what|which parts?|which regions?|in which part)(?: exactly)?$"
)
WHY_NOT = re.compile(r"^(?:but )?why not(?: that| so)?$")
REALLY = re.compile(
    r"^(?:really|sure|certain|no way|are you sure|you sure|is that so|is that right|"
    r"i (?:do not|can not) believe (?:you|it|that)|i doubt (?:it|that))$"
)
_AGAIN = re.compile(
    r"^(?:can you )?(?:make (?:it|that) shorter|shorten (?:it|that)|shorter|more briefly|repeat|"
    r"again|pardon|"
    r"(?:say|tell me) (?:that|it|this)(?: again| once more)|"
    r"come again|once more|what did you say)\b(?: (?:that|it|this|please))*"
    r"(?: (?:but|only|just)? ?(?:shorter|short|briefly|more briefly))?$"
)
_YES_OR_NO = re.compile(
    r"^(?:so )?(?:(?:just |simply )?yes or no|is (?:it|that) (?:an? )?(?:yes|no)"
    r"(?: or (?:an? )?no)?)$"
)
_AT = re.compile(r"^(?:(?:what|how) about )?(?:at |in )?(?:frame )?(\d+(?:\.\d+)?)( s)?$")
#: Kind -> what "what is it, then?" asks for after it.
_READS = {"emotion": "emotion", "why_not": "emotion", "probability": "emotion", "au": "au"}
_WHAT_THEN = re.compile(
    r"^what (?:then$|(?:else )?(?:is|was) (?:it|that|this)|"
    r"(?:else )?(?:would|could) (?:it|that) be)"
    r"(?: then| instead)?$"
)
_GOOD = re.compile(
    r"^is (?:it|that|this) (?:good|ok|okay|enough|bad|fine|normal|a problem|a lot|much|usable)"
    r"(?: enough)?$"
)
_BY_HOW_MUCH = re.compile(r"^(?:by )?how (?:much|far|many (?:pixels?|px))(?: more)?$")
_LIMIT = re.compile(r"^(?:(?:at least|more than|even) )?(\d+(?:\.\d+)?) ?(%|percent|px|ms|s)?$")
_MANY_SECONDS = 10  # a number without a unit, from which it is of milliseconds
#: Of the head it is told how far it moved, or how far which way.
_OF_THE_HEAD = re.compile(
    r"^(?:a lot|much|strongly|how (?:much|far|many (?:pixels|px))|by how much|"
    r"((?:in |to )?(?:which|what) (?:direction|way|side)|where to))$"
)
_RANKED_AU = re.compile(
    r"^(?:what is |which is )?(?:the )?(?:weakest|strongest|surest|(?:least|most) (?:sure|certain|"
    r"likely))(?: one)?$"
)
_BETWEEN = re.compile(
    r"^(?:how (?:many frames|much time|long)(?: (?:is|are|was|were)(?: there)?)? )?"
    r"between (?:the two|them|those|these|both)(?: two)?$"
)
#: The span between a moment and the one that is most likely named before it.
_SPANS: dict[tuple[str, ...], tuple[str, ...]] = {
    ("onset",): ("onset", "apex"),
    ("apex",): ("onset", "apex"),
    ("offset",): ("apex", "offset"),
    (): ("onset", "apex"),
}
#: Kinds that are yes or no by what was measured, which is the reason for a "no".
_MEASURED = ("how_long", "side_difference", "compare", "order", "head_motion", "count", "magnitude")
_UNIT = re.compile(
    r"^(?:and |but |or )?(?:what about )?(?:in )?"
    r"(?:seconds?|s|secs?|ms|milliseconds?|frames?|pixels?|px)$"
)
_WHICH = re.compile(
    r"^(?:and |so )?(?:which|which ones?|what are they|which are they|(?:name|list|show) (?:them|"
    r"those|all|each|all of them))$"
)


def again(text: str, before: Query | None) -> Query | None:
    """What "say that again", "shorter, please", "in seconds?" or "which ones?" asks; else None."""
    text = text.strip(" ?!.,")
    if before is None:
        return None
    if before.polar and _YES_OR_NO.search(text):
        return before
    if asks := _of_the_last(re.sub(r"^(?:and|but|so|or|then|ok) ", "", text), before):
        return asks
    if before.kind == "count" and before.of in _NAMES and _WHICH.search(text):
        return _NAMES[before.of]
    if _UNIT.search(text) and before.kind in {"when", "how_long", "order", "magnitude"}:
        return before  # each is told in all its units
    if not _AGAIN.search(text):
        return None
    return Query("summary", of="sentence") if re.search(r"\b(?:short|brief)", text) else before


def _of_the_last(text: str, before: Query) -> Query | None:
    """What a few words ask that mean something after a query of one kind alone."""
    kind = before.kind
    if before.at and (at := _AT.search(text)):
        unit = "s" if at[2] or "." in at[1] else "f"
        return replace(before, at=f"{float(at[1]):g}{unit}")
    if asks := _of_one_kind(text, before):
        return asks
    if kind in _READS and _WHAT_THEN.search(text):
        return Query(_READS[kind])
    if before.rank == "second" and re.search(r"^(?:the |what is |which is )*third(?: one)?$", text):
        # All of them are told from the first on.
        return Query("moved" if kind == "compare" else kind, regions=before.regions)
    if kind in {"magnitude", "side_difference"} and re.search(r"^in (?:percent|per cent|%)$", text):
        return Query("magnitude", of="mm", regions=before.regions, sides=before.sides)
    if kind == "quality" and _GOOD.search(text):
        return Query("quality", True)
    if kind == "side_difference" and _BY_HOW_MUCH.search(text):
        return Query("side_difference", regions=before.regions, aus=before.aus)
    if before.polar and before.bound and (limit := _LIMIT.search(text)):
        number = float(limit[1])
        unit = limit[2] or "ms" * (kind in {"when", "how_long"} and number >= _MANY_SECONDS)
        scale = {"ms": 1000.0, "%": 100.0, "percent": 100.0}.get(unit, 1.0)
        return replace(before, bound=(before.bound[0], number / scale))
    if kind == "when" and _BETWEEN.search(text):
        return Query("how_long", moments=_SPANS.get(before.moments, before.moments))
    if kind == "moved" and before.polar and not before.at and _WHERE_EXACTLY.search(text):
        return Query("moved", regions=before.regions, sides=before.sides)
    if kind == "head_motion" and (how := _OF_THE_HEAD.search(text)):
        return Query("head_motion", of="nod" if how[1] else "")
    if (kind, before.of) == ("confidence", "aus") and _RANKED_AU.search(text):
        return before  # each is told with its probability
    asks_again = REALLY.search(text) or (before.polar and WHY_NOT.search(text))
    if (
        kind in {"moved", "direction", "magnitude"}
        and before.regions
        and not before.at
        and asks_again
    ):
        # By how many noise floors it moved says how sure that is, and why it does not count.
        return Query("magnitude", of="z", regions=before.regions, sides=before.sides)
    if kind in _MEASURED and before.polar and WHY_NOT.search(text):
        return replace(before, polar=False, negated=False, bound=None)
    return None


def _of_one_kind(text: str, before: Query) -> Query | None:
    """What a few words ask after a query of one kind, whatever it was about."""
    kind = before.kind
    if kind == "order" and before.rank and _NEXT.search(text):
        return Query("order", regions=before.regions)  # all are told in their order
    if kind in {"moved", "direction"} and before.regions and _AT_ONCE.search(text):
        return Query("order", True, True, regions=before.regions)
    if kind == "au" and before.aus and _EXPLAIN.search(text):
        return Query("help", aus=before.aus)
    if kind == "blink" and re.search(r"^(?:on )?which (?:eye|side)$", text):
        return replace(before, polar=False, negated=False)
    if kind == "head_motion" and _MATTERS.search(text) and POINTING.search(text):
        return Query("head_motion")
    if kind == "how_long" and _WHOLE_CLIP.search(text):
        return Query("how_long", of="clip")
    if kind == "when" and _WHICH_FRAME.search(text):
        return replace(before, polar=False, negated=False, bound=None)
    if kind == "moved" and not before.polar and _IS_ALL.search(text):
        return Query("moved")
    return None
