"""Rules for questions about when and how often, about blinks, the head and the recording."""

from __future__ import annotations

from typing import Any

from deft_llm.answers import NOTHING
from deft_llm.queries.marks import Asked
from deft_llm.queries.query import SIDES, Bound, Query, expand

_JUDGED = (
    r"\b(?:good|bad|ok|fine|acceptable|sufficient|clear|sharp|usable|used|measured|analysed|"
    r"analyzed|"
    r"poor|shaky|reliable)\b"
)
# "What happens after the smile?"
_BEFORE, _AFTER = (
    rf"^what (?:happen|mov|come|came|goes|went|is|was|do|did)\w*\b.*\b{word} (?:the |a |that )?\w+$"
    for word in ("before", "after")
)
_UNTIL_START = (
    r"\b(?:before|until|till) (?:anything|something|it|there is|the (?:movement|motion|expression|"
    r"microexpression)|the face)\b"
)
_STAYS = r"(?:stay\w*|hold|held|holds|remain\w*|kept|sustained|linger\w*)"
_PLATEAU = (
    rf"\bplateau\b|\b{_STAYS} (?:at |near |close to )?(?:the |it is |her |his |their )?"
    rf"(?:peak|apex|maximum)\b|\b(?:peak|apex) (?:is |was |be )?{_STAYS}\b"
)
_SIZE = (
    r"\bface\b.*\b(?:(?:big|large|small|close|near) enough|too (?:small|far|close|large|big))\b|"
    r"\bpixels? (?:between|across|wide is) .*\b(?:eyes|face)\b|\b(?:size of|how (?:big|large) "
    r"(?:is|was)) the face\b"
)
# A head that is turned or shaken goes to the sides, one that nods up and down.
_HEAD_WAYS = {
    "nod": r"\bnod|\bhead\b.* (?:up|down)\b",
    "shake": r"\bsh(?:ake|akes|ook|aking|aken)\b|\bturn|\brotat|\bhead\b.* (?:aside|sideways|"
    r"side)\b",
}
_SPOILS = (
    r"\b(?:contaminat|affect|influenc|caus|disturb|explain|bias|distort|spoil|corrupt|interfer|"
    r"confound|account)\w*\b|\bdue to\b|\bbecause of\b|\b(?:come|comes|came|stems?) from\b|"
    r"\b(?:result|artefact|artifact|effect) of\b"
)
# "Did she blink before the apex?", "during the smile?": when she did answers that, not whether.
_BESIDE_BLINK = (
    r"\b(?:before|after|during|while|when|until|coincide\w*|overlap\w*|same (?:time|moment)|"
    r"together with)\b"
)
_BESIDES = r"\b(?:other than|besides|apart from|except(?: for)?|aside from|beside)\b"
_EYES_OPEN = (
    r"\b(?:eyes?|lids?|eyelids?)\b.*\bopen\b.*\b(?:all|whole|entire|always|throughout|"
    r"never clos\w+)\b|"
    r"\b(?:eyes?|lids?|eyelids?)\b (?:\w+ )?(?:always|constantly|permanently) open\b|"
    r"\b(?:keep|keeps|kept|hold|holds|held) (?:\w+ )?eyes open\b"
)
_AT_LEAST = 0.005  # what is told of the recording is rounded to two digits or more
_THERE_ARE = r"^(?:are|were) (?:not )?there\b"
_NTH = (
    r"\b(?:second|third|fourth|2nd|3rd|4th|next) (?:one )?to (?:move|start|go)\b|"
    r"\b(?:moved|moves|came|started|went) (?:second(?! most)|third(?! most)|fourth|next)\b"
)
#: Seconds: expressions of up to half a second count as micro-expressions.
BRIEF = 0.5


def blink(asked: Asked) -> Query | None:
    """For example "did she blink?", "did he wink?"."""
    if asked.has("wink"):
        denied = asked.polar and asked.negated
        return Query("blink", asked.polar, denied, of="wink", sides=asked.sides)
    if asked.aus == (45,) and asked.polar:
        return Query("blink", polar=True, negated=asked.negated)
    if asked.polar and asked.says(_EYES_OPEN):
        return Query("blink", True, not asked.negated)
    closed = asked.says(r"\beyes? (?:\w+ ){0,2}(?:clos|shut)\w*$")
    if not (asked.has("blink") or closed) or 45 in asked.aus:
        return None
    timed = asked.has("moment", "au", "class", "move", "head") and asked.says(_BESIDE_BLINK)
    if timed or ("or" in asked.words and asked.has("au", "pair")):
        return Query("blink")  # "was it a blink or a squint?"
    if asked.has("count"):
        return Query("count", of="blinks")
    if asked.says(r"\b(?:more than (?:once|one)|several|twice|repeatedly)\b"):
        denied = asked.polar and asked.denied
        return Query("count", asked.polar, denied, of="blinks", bound=("more", 1.0))
    if asked.polar and asked.counted and asked.limited in {"", "time", "blink"}:
        return Query("count", True, asked.denied, of="blinks", bound=asked.counted)
    if asked.first in {"show", "list"}:
        return Query("blink")
    absent = "not" in asked.words[2:] or asked.says(r"\b(?:without|never|no)\b")
    return Query("blink", polar=asked.polar, negated=absent)


def head(asked: Asked) -> Query | None:
    """For example "did the head move?"."""
    if not asked.has("head"):
        return None
    if asked.says(r"\btilt") and "or" not in asked.words:
        return Query("head_motion", of="nod")  # how far which way, as a tilt is not measured
    if asked.polar and asked.says(_SPOILS):
        return Query("head_motion")  # what is removed brings nothing about
    if asked.regions:
        return None
    for of, pattern in _HEAD_WAYS.items():
        # "Did he nod or shake his head?" asks whether it moved.
        if asked.says(pattern) and "or" not in asked.words:
            # "Did she shake her head no?" denies nothing.
            denied = asked.polar and asked.negated and not asked.says(r"\bno$")
            return Query("head_motion", asked.polar, denied, of=of)
    return Query("head_motion", polar=asked.polar, negated=asked.negated, bound=asked.bound)


def quality(asked: Asked) -> Query | None:
    """For example "is the video good enough?", "what is the frame rate?"."""
    if asked.says(_SIZE) and not asked.has("quality", "how_long"):
        return Query("quality", asked.whether)
    if asked.says(r"\bmotion blur\b"):
        return Query("quality", asked.whether, asked.whether)
    if asked.has("clip_word") and asked.says(r"\blong enough\b"):
        return Query("quality", asked.whether)
    if asked.has("region_word") and not asked.says("measure|seen|covered|hidden|occluded"):
        return None
    judged = asked.has("clip_word") and asked.says(_JUDGED)
    if not (asked.has("quality") or judged) or asked.aus:
        return None
    if asked.values("class") or (asked.regions and not asked.says("measured|seen")):
        return None
    lit = asked.has("light") and not asked.regions
    if asked.has("how_long", "when", "move") and not (
        lit or asked.says("measured|seen|frame rate|fps")
    ):
        return None
    of = next((name for name in ("rate", "noise", "light") if asked.has(name)), "")
    worse = (
        r"\b(?:too|bad|poor|unusable|useless|dark|flicker\w*|change\w*|vary|nois\w*|blur\w*|"
        r"grainy|shaky|way|problems?|"
        r"issues?|covered|"
    )
    if asked.polar and asked.bound and of:
        bound = (asked.bound[0], asked.bound[1] + _AT_LEAST * asked.says(r"\bat most\b"))
        bound = (bound[0], round(bound[1] - _AT_LEAST * asked.says(r"\bat least\b"), 6))
        return Query("quality", True, asked.negated, of=of, bound=bound)
    bad = asked.says(worse + r"hidden|occluded|caveats?|warnings?|limitations?|unreliable)\b")
    polar = asked.whether or asked.first == "enough"
    of = of or "face" * asked.says(r"\bface\b")
    return Query("quality", polar, polar and bad != asked.negated, of=of)


def count(asked: Asked) -> Query | None:
    """For example "how many regions moved?", "did more than one move?"."""
    polar = asked.polar
    if asked.says(r"\b(?:percent|percentage|share|fraction) of (?:the )?(?:face|regions|parts)\b"):
        return Query("count", of="regions")
    single = asked.says(r"\b(?:only|just) (?:one|1|a single)\b") or (
        asked.bound is not None and asked.limited not in {"s", "px", "%"}
    )
    counts = asked.has("count") or asked.first == "count"
    if counts and asked.has("frame_word") and asked.says(r"\bface\b"):
        return Query("quality", of="face")
    if counts and asked.has("frame_word") and asked.values("moment"):
        return None  # "how many frames from onset to apex?"
    if not counts and not (polar and single and not asked.has("how_long", "strong")):
        return None
    if asked.regions and asked.says(r"\b(?:only|just) one\b"):
        return None  # "did only one eyebrow go up?"
    if counts and asked.says(
        r"\btimes (?:as|more|stronger|larger|bigger|further|farther|higher)\b"
    ):
        return None  # "how many times stronger is the mouth than the brows?"
    if asked.has("rate") or asked.values("class") or "percent" in asked.words:
        return None  # "how many frames per second?"
    of = ""
    lasts = asked.has("last", "movement_word") or asked.says(r"\b(?:spans?|covers?)\b")
    if counts and asked.has("frame_word") and lasts and not asked.has("clip_word"):
        return None  # "how many frames did it last?"
    for cue, name in {"au_word": "aus", "blink": "blinks", "frame_word": "frames"}.items():
        of = of or name * asked.has(cue)
    if not of and (asked.has("region_word") or asked.regions):
        of = "regions"
    if not of and asked.has("movement_word"):
        of = "movements"
    if not of and not counts:
        return None
    if of == "regions" and not polar and asked.negated:
        return Query("moved", negated=True, **asked.where)  # "how many regions stayed still?"
    if of == "regions" and (ways := asked.values("way")):
        return Query("direction", directions=ways, **asked.where)  # "how many of them went up?"
    if of == "aus" and not polar and asked.aus and asked.says(_BESIDES):
        return Query("au")
    if of == "frames" and polar and not (asked.has("clip_word") or asked.says(_THERE_ARE)):
        return Query("how_long")  # "did it take more than 20 frames?": it is told in frames too
    bound = asked.counted
    if polar and bound is None and asked.says(r"\b(?:only|just) (?:one|1|a single)\b"):
        bound = ("less", 2.0)
    polar = polar and (asked.whether or bound is not None)  # "number of regions?"
    denied = polar and asked.denied
    return Query("count", polar, denied, of=of or "movements", bound=bound, **asked.where)


def how_long(asked: Asked) -> Query | None:
    """For example "how long did it last?", "was it brief?"."""
    polar, bound = asked.polar and not asked.ranged, asked.bound
    denied = polar and asked.negated
    if asked.says(_PLATEAU) and not (asked.whether or asked.has("when")):
        return Query("how_long", of="plateau")
    lasting = r"\blast(?:s|ed|ing)?\b(?! (?:motion|movement|to|at|one|in|of|thing|part|region))"
    lasting += r"|(?<!\bi )\b(?:take|took)\b(?! part)"
    lasting += r"|\b(?:over|finished|done|gone) (?:in|within)\b"
    lasting += r"|\b(?:longer|shorter|faster|quicker|slower) than\b"
    timed = asked.has("when", "first", "final")
    span = asked.has("how_long") or (asked.says(lasting) and not timed)
    span = span and not asked.has("which_way")  # "which direction did it take?"
    span = span or (asked.says(r"\binterval\b") and len(asked.values("moment")) == 2)
    span = span or (asked.has("count") and asked.has("frame_word") and not asked.has("clip_word"))
    if asked.has("micro") and asked.says(r"\bor (?:an? )?(?:macro\w*|micro\w*|normal)\b"):
        return Query("how_long")  # "micro or macro?": that is told by how long it lasts
    span = span or (polar and asked.limited == "s" and not timed and not asked.has("moment"))
    span = span or (
        asked.says(r"\btime (?:between|from)\b|^from .* to\b|\bapart\b")
        and len(asked.values("moment")) == 2
    )
    beyond = asked.says(r"\b(?:longer|slower|shorter|faster) than (?:an? )?micro")
    if (
        asked.has("micro")
        and polar
        and (beyond or not span)
        and not asked.has("feel", "when", "move", "count")
    ):
        macro = asked.says(r"\bmacro") and not asked.says(r"\bmicro")
        macro = macro or asked.says(r"\btoo (?:long|slow|lasting)\b|\b(?:longer|slower) than\b")
        usual: Bound = ("more" if macro else "less", BRIEF)
        return Query("how_long", True, denied, bound=bound or usual)
    if asked.has("brief") and asked.has("long") and "or" in asked.words:
        return Query("how_long")  # "was it gradual or sudden?"
    if asked.says(r"\btime (?:between|from) (?:the )?apex\b"):
        return Query("how_long", moments=("apex", "offset"))
    if polar and asked.says(r"\bfad\w+\b.*\b(?:slow|fast|quick|abrupt|sudden|gradual)"):
        return Query("how_long", moments=("apex", "offset"))
    over = asked.values("moment") == ("offset",) and asked.has("brief")  # "was it over quickly?"
    timed = asked.has("how_much", "more", "summary") or (asked.has("moment") and not over)
    if polar and not span and not asked.regions and not timed:
        if asked.has("brief"):
            return Query("how_long", True, denied, bound=bound or ("less", BRIEF))
        if asked.has("long") and not asked.has("clip_word"):
            return Query("how_long", True, denied, bound=bound or ("more", BRIEF))
    if asked.says(r"^how (?:much|many \w+ of) (?:footage|video|film|material)\b"):
        return Query("how_long", of="clip")
    seconds = asked.ranged and asked.says(r"\d (?:ms|s|seconds?)\b|\bseconds?\b")
    span = span or (seconds and not asked.has("when", "first", "final", "moment", "move", "region"))
    if not span or (asked.has("first", "final") and asked.has("move")):
        return None
    if asked.has("clip_word") and not asked.has("movement_word", "moment"):
        return Query("how_long", polar, denied, of="clip", bound=bound)
    moments = _span(asked)
    if polar and bound is None and not asked.whether and not asked.has("brief"):
        polar = False  # "duration?"
    if polar and bound is None:
        bound = ("less" if asked.has("brief") else "more", BRIEF)
    bound, denied = bound if polar else None, denied and polar
    return Query("how_long", polar, denied, moments=moments, bound=bound, **_of_what(asked))


def _span(asked: Asked) -> tuple[str, ...]:
    """The two moments between which time is asked for; none for the whole movement."""
    named = asked.values("moment")
    if asked.says(r"^(?:did|does) (?:it|the (?:movement|motion|expression)) rise\b"):
        return ("onset", "apex")
    if asked.says(r"\b(?:the|of) (?:rise|rising phase)\b(?!.*\bfall)"):
        return ("onset", "apex")
    if asked.says(r"\b(?:the|of) (?:fall|decay|falling phase)\b(?!.*\brise)"):
        return ("apex", "offset")
    if asked.says(
        r"\brise time\b|\b(?:to|until|till|reach|reaching) (?:the |its )?(?:apex|peak|maximum)"
    ):
        return ("onset", "apex")
    if asked.says(
        r"\b(?:fall|decay) time\b|\bfade|\bback to\b|\breturn|\b(?:from|after) (?:the )?(?:apex|"
        r"peak)"
    ):
        return ("apex", "offset") if not asked.says(r"\brise\b|come back") else ()
    if set(named) >= {"onset", "offset"} or len(named) != 1:
        return () if len(named) != 2 or set(named) == {"onset", "offset"} else tuple(named)
    return ("onset", "apex") if named == ("apex",) else ()


def order(asked: Asked) -> Query | None:
    """For example "what moved first?", "did the brows move before the mouth?"."""
    if asked.has("how_long") and asked.says(_UNTIL_START):
        return Query("when", moments=("onset",))
    # "Does the movement start after 100 ms?" is about a time, "what moves after it?" is not.
    if (
        asked.polar
        and asked.bound
        and asked.limited == "s"
        and asked.values("moment")
        and not (asked.regions or asked.has("how_long", "last"))
        and not asked.says(r"\b(?:over|finished|done|gone) (?:in|within)\b")
    ):
        return Query("when", True, asked.negated, moments=asked.values("moment"), bound=asked.bound)
    if asked.polar and asked.values("moment") and asked.says(r"\b(?:before|after|by) frame \d"):
        return Query("when", moments=asked.values("moment"))  # each is told with its frame
    if not asked.has("most", "likely", "feel") and asked.says(_NTH):
        return Query("order")  # all are told in their order
    if asked.aus and not asked.regions and (when := asked.says(_BEFORE)) | asked.says(_AFTER):
        return Query("when", of="others") if when else Query("moved", moments=("offset",))
    if asked.has("frame_word") and asked.says(
        r"\b(?:first|initial) (?:and|or) (?:the )?(?:last|final)\b"
    ):
        return Query("when", moments=("onset", "offset"), **_of_what(asked))
    if (rank := _end_of_all(asked)) and not asked.regions:
        return Query("order", rank=rank)
    at_once = r"\b(?:all|everything)\b.*\btogether$|\b(?:they|it all)\b.*\bmov\w+ together$"
    if asked.polar and not asked.regions and asked.says(at_once):
        return Query("order", True, not asked.denied)
    if asked.polar and len(asked.regions) > 1 and asked.says(r"\bmov\w+ together\b"):
        return Query("order", True, not asked.denied, regions=asked.parts)
    last = asked.polar and bool(asked.regions) and asked.says(r"\blast$")
    if not (asked.has("first", "final", "order") or last) or asked.has("au_word", "when"):
        return None
    if asked.says(r"^which\b.*\b(?:after|before) which$"):
        return Query("order")
    if asked.has("order") and asked.says(r"\bor one (?:after|by)\b"):
        return Query("order")
    beside = len(asked.mentions) > 1 or asked.regions
    if asked.polar and asked.aus and beside and asked.says(r"\b(?:before|after|earlier|later)\b"):
        return Query("order")  # of the regions: "did the smile come before the brow raise?"
    than = next((m.at for m in asked.marks if m.concept in {"first", "final"}), 9999)
    both = [m for m in asked.marks if m.concept == "side" and m.value in SIDES]
    if asked.polar and len(both) == 2 and both[0].at < than < both[1].at:
        later = asked.says(r"\b(?:after|later than|behind)\b")
        side = (both[later].value,)
        return Query("order", True, asked.denied, regions=asked.parts, sides=side)
    ahead = [m for m in asked.regions if m.at < than]
    behind = [m for m in asked.regions if m.at > than]
    if ahead and behind:
        later = asked.says(r"\b(?:after|later than)\b")
        ahead, behind = (behind, ahead) if later else (ahead, behind)
        one, two = (expand(m.value for m in part) for part in (ahead, behind))
        sides = asked.sides if len(asked.sides) == 1 else ()
        denied = asked.polar and asked.denied
        return Query("order", asked.polar, denied, regions=one, than=two, sides=sides)
    if asked.values("moment") and not asked.says(r"\b(?:what|which|who|where)\b"):
        return None
    rank = "first" if asked.has("first") else "last" if asked.has("final") or last else ""
    apart = asked.says(r"\b(?:delay\w*|time lag|lag|out of sync|one after|one by one|in turn)\b")
    together = (
        not (rank or apart) and asked.polar and not asked.says(r"^(?:order|sequence|tell|give)\b")
    )
    polar = asked.polar and not asked.choice("region") and (not rank or bool(asked.regions))
    open_ = asked.says(r"^(?:what|which|who)\b")
    named = asked.has("move", "region_word", "order", "moment", "whole")
    if not (asked.regions or named or open_):
        return None
    polar = polar and (bool(rank) or together or apart)
    sides = asked.sides if polar and len(asked.sides) == 1 else ()
    negated = polar and together != asked.denied  # whether one went after another, if not together
    return Query("order", polar, negated, regions=asked.parts, rank=rank, sides=sides)


def _end_of_all(asked: Asked) -> str:
    """The end of the order that a moment asks for: "what started it?", "where did it begin?"."""
    begun = r"^(?:what|which part|which region) (?:started|starts|begins?|began|set)\b|"
    begun += r"^where (?:did|does) (?:it|the \w+)(?: all)? (?:start|begin)\b"
    if asked.says(begun) and not asked.has("clip_word"):
        return "first"
    ended = r"^what (?:came|moved|moves|comes) (?:at|in) the (?:very )?end\b"
    return "last" if asked.says(ended) else ""


def when(asked: Asked) -> Query | None:
    """For example "when did it peak?", "when did it happen?"."""
    if not (asked.has("when") or asked.says(r"\bat what\b|\bhow far into\b")):
        return None
    moments, bound = asked.values("moment"), asked.bound
    if asked.says(r"\buntil when\b|\bback to (?:rest|normal)\b|\b(?:calm|settle)"):
        moments = moments or ("offset",)
    if asked.has("most") or asked.says(r"\bbest\b|\bpause\b|\b(?:should|do|would) i\b"):
        moments = ("apex",)
    elif not moments and (asked.has("first") or asked.says(r"\bat rest\b")):
        moments = ("onset",)
    elif not moments and asked.has("final"):
        moments = ("offset",)
    polar = asked.polar and bound is not None
    bound, denied = bound if polar else None, polar and asked.negated
    return Query("when", polar, denied, moments=moments, bound=bound, **_of_what(asked))


def _of_what(asked: Asked) -> dict[str, Any]:
    """The part of the face, AU or class whose time is asked for: "when did the chin move?"."""
    # Neutral is the rest that a movement comes from and goes back to.
    classes = tuple(name for name in asked.values("class") if name != NOTHING)
    return {**asked.where, "aus": asked.aus, "classes": classes}


def moment(asked: Asked) -> Query | None:
    """A moment that is named alone: "the apex?", "mark the onset"."""
    moments, bound = asked.values("moment"), asked.bound
    if asked.says(r"^(?:what is )?(?:the )?interval$"):
        return Query("when")
    if not moments or asked.regions or asked.has("class", "au", "au_word", "feel", "way"):
        return None
    if asked.limited == "px":
        return None  # "at most 2 px?" names no apex
    if asked.says(r"\bmov(?:e|es|ed|ing)\b|\bfrom\b.*\bto\b|\bbetween\b|\bchanges?\b"):
        return None
    polar = asked.polar and bound is not None
    denied = polar and asked.negated
    return Query("when", polar, denied, moments=moments, bound=bound if polar else None)
