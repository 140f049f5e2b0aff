"""Rules for questions about what moved: where to, how far, on which side, compared."""

from __future__ import annotations

import re
from typing import Any

from deft_llm.answers import NOTHING
from deft_llm.queries.marks import Asked
from deft_llm.queries.query import PARTS, SIDES, Query, expand

#: Canonical px from which a movement counts as marked, and up to which as slight.
STRONG_PX, WEAK_PX = 1.0, 0.4


_FRAME = r"\bframe(?: number| no)? (\d+)\b|\b(\d+)(?:st|nd|rd|th) frame\b"
_FRAME_SPAN = r"\bframes? \d+ ?(?:and|to|until|till|-) ?(?:frame )?(\d+)\b"
_AT_SECONDS = r"\bat (?:about |around |time |t )?(?:= ?)?(\d+(?:\.\d+)?) (s|ms)\b"
# "Between 0.1 and 0.2 s": the same.
_SECONDS_SPAN = (
    r"\b(?:between|from) (?:about )?\d+(?:\.\d+)? ?(?:s|ms)? ?(?:and|to|until|till|-) ?"
    r"(\d+(?:\.\d+)?) (s|ms)\b"
)
_NOT = r"\b(?:not|nothing)\b"
_HALVES = (
    r"\b(?:(?:upper|top)(?: half| face)? (?:or|versus|vs) (?:the )?(?:lower|bottom)|"
    r"(?:lower|bottom)(?: half| face)? (?:or|versus|vs) (?:the )?(?:upper|top))\b(?! lip| lid| eye)"
)
_BUT_NOT = r"\b(?:but|and|while|whereas|though)\b(?: \w+){0,4} not\b"
# "Did the mouth move, not the brows?"
_NOT_THAT = r", ?(?:and |but )?not (?:(?:the|his|her|their|its|on) )*\w+"
_NOT_BUT = r"\bnot\b.*\b(?:but|and|while|whereas|though)\b.*\b(?:did|do|does|moved|moves)$"
_AS_MUCH = (
    r"\bas (?:much|far|strong|strongly|large|big|high|hard|fast|long|little|weak|small) as\b|"
    r"\btimes (?:as|more|stronger|larger|bigger|further|farther|higher)\b|\btwice as\b"
)
_LARGEST = (
    r"^(?:what (?:is|was) )?(?:the )?(?:max|maximum|maximal|peak) (?:displacement|motion|movement|"
    r"excursion|amplitude)\b"
)
_RANKING = (
    r"\b(?:largest|biggest|strongest|most|smallest|weakest|least)\b.* to (?:the )?(?:smallest|"
    r"weakest|least|largest|biggest|strongest|most)\b|\b(?:descending|ascending) order\b|"
    r"\b(?:third|fourth|fifth|3rd|4th|5th) (?:most|strongest|largest|biggest|greatest|furthest)\b"
)
_ALIKE = r"\b(?:same|alike|equal|equally|equals)\b"
_OUTDOES = r"\b(?:outdo|outdid|outdoes|outdone|surpass\w*|exceed\w*|beat|beats|outweigh\w*)\b"
_UNLIKE = r"\b(?:differ|differs|differed|different|differently|unlike)\b"


def side(asked: Asked) -> Query | None:
    """For example "which side moved more?", "was it symmetrical?", "only on the left?"."""
    if len(asked.words) == 1 and asked.values("side"):
        return None  # "left" asks nothing alone
    where: dict[str, Any] = {"regions": asked.parts, "aus": asked.aus}
    polar = asked.polar and not asked.choice("side")
    if _sides_parted(asked):
        # Yes or no would answer for one of them.
        return Query("moved", **asked.where | {"sides": ()}) if asked.regions else Query("moved")
    if asked.polar and (one := re.search(r"\b(n?either|no) (?:side|half)\b", asked.text)):
        none = one[1] != "either"
        if asked.has("more", "uneven"):
            return Query("side_difference", True, none, **where)
        if not (asked.values("way") or asked.aus):
            return Query("moved", True, none, regions=asked.parts)
    if asked.has("uneven"):
        return Query("side_difference", polar=polar, negated=asked.denied, **where)
    if asked.has("even") and not asked.says(r"^even\b|\beven (?!on|left|between|and|or)\w"):
        alike = polar and not asked.denied
        return Query("side_difference", polar=polar, negated=alike, **where)
    ahead, behind = _compared(asked)
    if behind and ahead != behind:
        return None  # "did the left brow move more than the mouth?"
    if len(asked.regions) <= 1 and asked.says(r"\bone (?:\w+ )+than the other\b"):
        return Query("side_difference", polar=polar, **where)  # "is one brow higher than the other"
    if asked.regions and asked.says(r"\b(?:only|just) one\b"):
        return Query("side_difference", polar=polar, **where)
    if asked.says(r"\b(?:sides|halves)\b") and (alike := asked.says(_ALIKE)) != asked.says(_UNLIKE):
        return Query("side_difference", polar=polar, negated=alike, **where)
    if asked.first in {"about", "describe"}:
        return None  # "tell me about the left half only"
    than = r"\b(?:only|just)\b"
    if not asked.values("moment"):  # "higher at the apex than at the onset" is of no side
        than += r"|\b(?:higher|lower|wider|faster)\b.*\bthan\b"
    more = asked.has("more", "less_than", "most") or asked.says(than)
    placed = asked.says(r"\b(?:left|right)(?: hand)? (?:side|half) of\b")
    if asked.says(_HALVES):
        return None  # "which half moved more, the upper or the lower one?"
    which = asked.has("which_side") and not placed  # "did the left side of her mouth move?"
    if which or (asked.choice("side") and not asked.has("which_way")):
        return Query("side_difference", **where)
    if more and len(asked.regions) == 1 and _which_of_two(asked):
        return Query("side_difference", **where)
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
        return Query("side_difference", polar, polar and asked.denied, sides=(side,), **where)
    if asked.says(r"\bratio\b"):
        polar = polar and asked.whether
    differ = asked.says(r"\b(?:differ(?:ent|ence|s)?|ratio)\b") and (
        asked.values("side") or "side" in asked.words
    )
    return Query("side_difference", polar=polar, **where) if differ else None


def _compared(asked: Asked) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The regions before and behind "than"."""
    than = next((m.at for m in asked.marks if m.concept == "than"), 9999)
    ahead = tuple(m.value for m in asked.regions if m.at < than)
    return ahead, tuple(m.value for m in asked.regions if m.at > than)


def _which_of_two(asked: Asked) -> bool:
    """Whether one of a pair is asked for: "which cheek went further?"."""
    return asked.first in {"which", "what"} and asked.regions[0].at == 1


def compare(asked: Asked) -> Query | None:
    """For example "what moved most?", "did the mouth move more than the brows?"."""
    if asked.says(_AS_MUCH) and len({mark.value for mark in asked.regions}) == 2:
        one, two = (expand([value]) for value in dict.fromkeys(m.value for m in asked.regions))
        return Query("compare", regions=one, than=two)  # how far each went tells how much more
    ahead, behind = _compared(asked)
    denied = asked.polar and asked.denied
    if asked.has("more", "less_than") and ahead and behind:
        if asked.has("less_than") and not asked.has("more"):
            ahead, behind = behind, ahead
        sides = asked.sides if len(asked.sides) == 1 else ()
        one, two = expand(ahead), expand(behind)
        return Query("compare", asked.polar, denied, regions=one, than=two, sides=sides)
    if len(asked.regions) == 2 and asked.says(_OUTDOES):
        one, two = (expand([mark.value]) for mark in asked.regions)
        yes = asked.whether or asked.polar
        return Query("compare", yes, yes and asked.negated, regions=one, than=two)
    if asked.has("more") and ahead and asked.says(r"\bthan (?:.* )?(?:rest|else|others?)\b"):
        return Query("compare", asked.polar, denied, rank="most", **asked.where)
    if asked.says(_HALVES) and not asked.whether:
        halves = (expand(["upper face"]), expand(["lower face"]))
        return Query("compare", regions=halves[0], than=halves[1])
    pair = asked.first in {"which", "what"} and len({mark.value for mark in asked.regions}) == 2
    chosen = asked.choice("region") or (pair and asked.has("more"))
    several = r"(?:[2-9]|two|three|four|five|six|ten)"
    read = asked.has("feel", "class", "likely", "au_word")
    if not read and asked.says(
        rf"{_RANKING}|\b(?:top|bottom|largest|strongest|biggest|smallest|weakest) {several}\b|"
        rf"\b{several} (?:largest|stro|big)"
    ):
        return Query("moved", **asked.where)  # they are told from the largest down
    second = r"\bsecond (?:most|strongest|(?:larg|bigg|great|furth|farth)est)\b"
    sized = asked.says(r"\bsecond (?:larg|bigg|great|furth|farth)est\b") and not read
    if asked.says(second) and (sized or asked.has("move", "region_word", "movement_word")):
        return Query("compare", regions=asked.parts, rank="second", sides=asked.sides)
    if asked.says(_LARGEST):
        if asked.regions:
            return Query("magnitude", **asked.where)
        return Query("compare", rank="most", sides=asked.sides)
    if asked.has("most") or (chosen and asked.has("more")):
        if asked.values("class") or asked.has("feel", "au_word", "likely"):
            return None
        polar = asked.polar and not chosen and bool(asked.regions)
        return Query("compare", polar, polar and denied, rank="most", **asked.where)
    scarcely = asked.says(r"^(?:what|which)\b.*\b(?:hardly|barely|scarcely)\b")
    if asked.has("least") or scarcely:
        return Query("compare", regions=asked.parts, rank="least")
    if chosen and not asked.values("way") and "either" not in asked.words:
        return Query("compare", regions=asked.parts, rank="most")
    differ = r"^compare\b|\bdifferences?\b|\bcomparison\b"
    if asked.says(differ) and len(parts := {mark.value for mark in asked.regions}) > 1:
        if len(parts) > 2 or asked.whether:
            return Query("compare", regions=asked.parts, rank="most")
        first = asked.regions[0].value
        other = parts - {first}
        return Query("compare", regions=expand([first]), than=expand(other))
    return None


def magnitude(asked: Asked) -> Query | None:
    """For example "how far did it move?", "was it a strong movement?"."""
    polar, bound = asked.polar, asked.bound
    if asked.has("strong") and asked.has("weak") and "or" in asked.words and not asked.aus:
        return Query("magnitude", **asked.where)  # "was it strong or weak?"
    listed = asked.has("region_word", "whole") or asked.says(r"^(?:what|which|who|list)\b")
    listed = listed and not asked.says(r"\bhow\b")
    if bound and not polar and asked.limited in {"px", "pixel"} and listed:
        return Query("magnitude", bound=bound, **asked.where)  # "which parts moved less than 1 px?"
    every = asked.says(r"\b(?:everything|every|each|all)\b")
    many = (bound is not None and bound[0] == "less" and _any(asked)) or every
    if polar and bound and asked.limited in {"px", "pixel"} and many:
        # Of several regions, the largest says nothing about the least.
        return Query("magnitude", bound=bound, **asked.where)
    sized = asked.has("how_much") or asked.says(r"\bpx\b|\bpixels?\b")
    if (
        polar
        and bound is None
        and not asked.values("class")
        and not asked.has("feel", "expression")
    ):
        if asked.has("strong") and not asked.values("way"):
            bound = ("more", STRONG_PX)
        elif asked.has("weak") and not asked.values("way") and not _softened(asked):
            bound = ("less", WEAK_PX)
    if (asked.has("how_much") and bound is None and not asked.whether) or asked.ranged:
        polar = False  # "amplitude of the chin?"
    if asked.has("au_word") and not (asked.aus or asked.regions):
        return None  # "the AUs with their intensities"
    if sized and asked.has("region_word") and not asked.regions and not polar:
        return None  # all regions, with their strength
    if not sized and (bound is None or not polar or asked.has("au_word", "how_long", "when")):
        return None
    if asked.limited in {"s", "%"}:
        return None
    where = {**asked.where, "aus": asked.aus}
    moments = ("offset",) if asked.has("return") else ()
    polar = polar and bound is not None
    bound, denied = bound if polar else None, polar and asked.negated
    return Query("magnitude", polar, denied, bound=bound, moments=moments, **where)


def _any(asked: Asked) -> bool:
    """Whether one of many regions is asked for: "did any region move less than 0.5 px?"."""
    return asked.says(r"\b(?:any|some) (?:\w+ )?(?:regions?|parts?|areas?)\b|\b(?:any|some)thing\b")


def _softened(asked: Asked) -> bool:
    """Whether an AU is asked for in spite of a "slightly": "did he smile a bit?"."""
    return bool(asked.aus) and asked.says(r"\b(?:bit|bite|little|slightly|even)\b")


def direction(asked: Asked) -> Query | None:
    """For example "which way did the chin go?", "did the brows go up?"."""
    ways = asked.values("way")
    if asked.aus and not asked.regions and not asked.has("which_way"):
        return None
    moments = ("offset",) if asked.has("return") else ()
    listed = not asked.regions and asked.says(r"\bwhat mov|\bwhere\b|\bparts?\b|\bregions?\b")
    if asked.regions and _going_where(asked):
        return Query("direction", moments=moments, **asked.where)
    if (asked.has("which_way") and not listed) or asked.choice("way"):
        return Query("direction", directions=ways, moments=moments, aus=asked.aus, **asked.where)
    if not ways or asked.has("feel"):
        return None
    # "Up up and away" asks nothing; "what went up?" and "anything up?" do.
    told = asked.regions or asked.whether or asked.first in {"what", "which", "where", "who"}
    if not told and not asked.has("move", "region_word", "whole", "return"):
        return None
    if asked.negated and not asked.polar:
        return Query("moved", **asked.where)  # "what did not go up?": where to is told of all
    parted = _contrary(ways) or _parted(asked) or (asked.stays and len(asked.regions) > 1)
    if asked.polar and parted:
        # "Did the left brow go up and the right one down?": yes or no would answer for one of them.
        return Query("moved", **asked.where)
    # "what went up?" asks for regions, "did the brows go up?" for yes or no.
    return Query(
        "direction",
        asked.polar,
        asked.negated,
        directions=ways,
        moments=moments,
        **asked.where,
    )


def _parted(asked: Asked) -> bool:
    """Whether one part is said to move and another not to: "did the brows move, not the mouth?"."""
    return len({mark.value for mark in asked.regions}) > 1 and _contrasted(asked)


def _sides_parted(asked: Asked) -> bool:
    """Whether a side is said to move and the other not to: "the left one, but not the right?"."""
    both = set(SIDES) <= set(asked.values("side"))
    rests = asked.stays and asked.says(r"\b(?:but|and|while|whereas|though)\b")
    return asked.polar and both and (_contrasted(asked) or rests)


def _contrasted(asked: Asked) -> bool:
    """Whether something is said of one and denied of another."""
    return (
        asked.says(_BUT_NOT) or asked.says(_NOT_BUT) or re.search(_NOT_THAT, asked.text) is not None
    )


def _contrary(ways: tuple[str, ...]) -> bool:
    """Whether two ways exclude each other."""
    return {"up", "down"} <= set(ways) or {"inward", "outward"} <= set(ways)


def _going_where(asked: Asked) -> bool:
    """Whether the aim of a movement is asked for: "where did the chin go?"."""
    verbs = r"go|goes|going|gone|went|moves?|moving|head|heading|pulled|pushed|drawn|drift|off"
    return asked.says(rf"\bwhere (?:do|does|did|is|are|was|were) .*\b(?:{verbs})(?: to)?$") or (
        asked.says(r"\bwhere$") and not asked.values("way")
    )


# "What happens during the onset phase?": the way to the apex is what is measured.
_IN_PHASE = (
    r"\b(?:during|in|within|throughout) (?:the )?(onset|rise|rising|decay|fall|falling|offset)"
    r"(?: (?:phase|part))?\W*$"
)
_WHOLE = (
    r"^(?:is|was) (?:the |this )?(?:whole|entire|full|complete) (?:movement|motion|expression)$|"
    r"\b(?:whole|entire|full|complete) (?:movement|motion|expression|event|thing)\b"
    r".*\b(?:in|inside|within|captured|contained|covered|recorded|visible|seen)\b"
)
_SHOWN = "smile|grin|frown|scowl|sneer|pout|expression"
#: "Was the smile held?", not "was his head held still?" or "was a smile held back?".
_HELD = (
    r"\b(?:held|hold|sustained|stayed)\b.*\b(?:peak|apex)\b|"
    r"\b(?:peak|apex) (?:held|sustained)\b|"
    rf"\b(?:{_SHOWN}) (?:held|sustained)(?! back| still)\b|"
    rf"\b(?:hold|sustain) (?:the|this|that|his|her|their) (?:{_SHOWN})$"
)


def return_(asked: Asked) -> Query | None:
    """For example "did it come back?", "what happened after the apex?"."""
    if asked.polar and asked.says(r"\b(?:cut off|cut short|truncated)\b"):
        return Query("moved", True, not asked.negated, moments=("offset",))
    if asked.polar and asked.says(_WHOLE):
        return Query("moved", True, asked.negated, moments=("offset",))
    if asked.has("move") and (phase := re.search(_IN_PHASE, asked.text)):
        moments = () if phase[1] in {"onset", "rise", "rising"} else ("offset",)
        return Query("moved", asked.whether, asked.negated, moments=moments, **asked.where)
    if asked.polar and asked.says(_HELD):
        return Query("moved", True, not asked.negated, aus=asked.aus, moments=("offset",))
    if not asked.has("return") and not asked.says(r"^how\b.*\bfade"):
        return None
    if asked.has("how_much") and not asked.whether:
        return Query("magnitude", moments=("offset",), **asked.where)
    aim = asked.has("which_way") and not (asked.whether or asked.has("region_word"))
    if (asked.regions and _going_where(asked)) or aim:
        return Query("direction", moments=("offset",), **asked.where)
    return Query("moved", asked.whether, asked.negated, moments=("offset",), **asked.where)


def at_time(asked: Asked) -> Query | None:
    """For example "what happens at frame 20?", "is the mouth open at 0.2 s?"."""
    # "Between frames 11 and 22": what lies between is seen at its end.
    found = re.search(_FRAME_SPAN, asked.text) or re.search(_FRAME, asked.text)
    timed = re.search(_SECONDS_SPAN, asked.text) or re.search(_AT_SECONDS, asked.text)
    lasting = asked.has("when", "how_long", "last", "long", "brief")
    if not (found or timed) or lasting or asked.has("moment", "head", "blink"):
        return None
    at = ""
    if found:
        # The first frame is frame 0.
        frame = int(found[1]) if found[1] else int(found[2]) - 1
        before, after = asked.says(r"\bbefore frame\b"), asked.says(r"\b(?:after|past) frame\b")
        at = f"{max(frame - before + after, 0)}f"
    elif timed:
        seconds = float(timed[1]) / (1000.0 if timed[2] == "ms" else 1.0)
        at = f"{seconds:g}s"
    ways, parts = asked.values("way"), asked.parts
    if asked.paired:
        parts = expand([asked.paired[0].value])  # "is the mouth open?"
    return Query(
        *("moved", asked.whether, asked.negated),
        regions=parts,
        sides=asked.sides,
        directions=ways,
        at=at,
    )


def rests_at_end(asked: Asked) -> Query | None:
    """For example "is the face at rest in the last frame?"."""
    end = r"\b(?:last frame|end of (?:the )?(?:clip|video)|(?:in|at) the (?:very )?end)$"
    if not asked.whether or not asked.says(end):
        return None
    moves = asked.says(r"\bstill (?:\w+ )?(?:mov|go|up|down|away|rais|lower|lift)\w*\b")
    moves = moves or asked.says(r"\b(?:movement|motion|anything) left\b")
    # "Is she still smiling at the end?", but "is she still calm?" asks for rest.
    named = {"aus": asked.aus, "classes": asked.values("class")}
    calm = NOTHING in named["classes"]
    moves = moves or (bool(any(named.values())) and not calm and asked.says(r"\bstill\b"))
    if not moves and not calm and not asked.stays:
        return None
    what: dict[str, Any] = asked.where if calm else asked.where | named
    return Query("moved", True, moves != asked.says(_NOT), moments=("offset",), **what)


def moved(asked: Asked) -> Query | None:
    """For example "what moved?", "did the mouth move?", "is the face still?"."""
    polar = asked.polar
    if asked.aus or asked.values("class"):
        return None
    if others := excepted(asked):
        if "or" in asked.words:
            return Query("moved")  # "the eyes, or something other than the eyes?"
        # "Anything but" denies nothing before a place.
        any_ = asked.says(r"\b(?:any|some)thing but\b")
        return Query("moved", asked.whether or any_, asked.negated and not any_, regions=others)
    if polar and (asked.denied or asked.stays) and asked.negated and _any(asked):
        return Query("moved", negated=True, **asked.where)  # "did any part not move?"
    acts = asked.has("move") or asked.stays or (asked.has("expression") and polar)
    if asked.sides and asked.says(r"\b(?:anything|something)$"):
        return Query("moved", True, sides=asked.sides)  # "what about the left side, anything?"
    if asked.sides and not asked.regions and asked.first == "about":
        return Query("moved", sides=asked.sides)  # "tell me about the left half only"
    of = _quantified(asked) if polar else ""
    if polar and _parted(asked):
        return Query("moved", **asked.where)
    if asked.regions:
        negated = asked.negated and not (of == "only" and "nothing" in asked.words)
        return Query("moved", polar, negated, of=of, **asked.where)
    if acts or asked.has("region_word"):
        named = asked.has("region_word") or asked.says(r"\bwhat mov")
        if asked.has("feel") and not named:
            return None
        if asked.says(r"^describe\b.*\b(?:clip|video)\b"):
            return None
        return Query("moved", polar, asked.negated, sides=asked.sides, of=of)
    return None


def excepted(asked: Asked) -> tuple[str, ...]:
    """The parts besides those that are named: "did anything other than the brows move?"."""
    apart = (
        r"\b(?:other than|(?:any|every|some)thing but|besides|apart from|except(?: for)?|"
        r"aside from|leaving out|not counting|else but)\b"
    )
    if not asked.regions or not asked.says(apart) or asked.says(r"\bnothing\b"):
        return ()
    return tuple(part for part in PARTS if part not in asked.parts)


def _quantified(asked: Asked) -> str:
    """Whether all, or only what is named, is asked for: "did only the brows move?"."""
    but = r"nothing (?:but|except|besides)"
    alone = rf"only|just|solely|exclusively|(?:confined|limited|restricted) to|{but}"
    if asked.regions and asked.says(rf"\b(?:{alone})\b"):
        return "only"
    every = asked.says(
        r"\b(?:everything|every|all (?:of|the|regions|parts|areas)|(?:entire|whole|"
        r"complete) face)\b"
    )
    return "all" * (every and not asked.stays)
