"""Rules for questions about the reading: emotion, AUs, reasons, doubts; and about the chat."""

from __future__ import annotations

import re

from deft_llm.queries.marks import Asked
from deft_llm.queries.query import Query

_ABOUT_US = {
    "strength": r"\b(?:slight|moderate|marked)\b(?=.*\bmean)|\b(?:counts? as|do you (?:say|call)|"
    r"what is|what means|mean by) (?:it |a )?(?:slight|moderate|marked)\b",
    "files": r"\bcsv\b|\bexport\b|\bheat ?maps?\b|\b(?:plot|draw|picture|download|save)\b.*"
    r"\b(?:curve|motion|arrows?|report|results?|overlay)\b|^(?:plot|download|save)\b",
    "privacy": r"\boffline\b|\bprivacy\b|\bprivate\b|\bmy upload\b|"
    r"\bwho can see (?:my|this|the) (?:video|clip|face)\b|"
    r"\b(?:you|it|this|that) (?:store|save|keep|upload|send|share)\b",
    "accuracy": r"\bhow (?:accurate|reliable|good|precise)\b.*\b(?:you|usually|generally|overall|"
    r"in general|model|method|program|detection|recognition)\b|\b(?:biased?|unfair)\b|"
    r"\bcan you (?:really )?(?:detect|spot|see|find) microexpressions?\b|\btrained on\b|"
    r"\btraining (?:data|set)\b|\berror rates?\b|\b(?:benchmark|validated|calibrated)\b",
    "self": r"\b(?:who|what) are you\b(?! (?:able|good|for|sure))|\byour name\b|"
    r"^what (?:is your )?version\b|\bcit(?:e|ation)\b|"
    r"^what (?:is|does) (?:a )?deft\b|"
    r"\bare you (?:an? )?(?:human|robot|bot|ai|real|"
    r"machine|person|program|computer|alive|chatgpt|gpt|llm|language model)|"
    r"\b(?:which|what) (?:language |ai )?model\b|\bwho (?:made|built|programmed) you\b",
    "method": r"\bhow (?:do|does|did|are|is|was) (?:you|it|this|that|the \w+(?: \w+)?) "
    r"(?:measur|work\b|"
    r"comput|"
    r"calculat|detect|(?:find|found|locate|determine|get) .*\b(?:onset|apex|offset|interval|"
    r"landmarks?|regions?))|\boptical flow\b|\bmethod\b|\balgorithm\b|"
    r"\bdo(?:es)? (?:you|the model) look at\b|"
    r"\bhead (?:motion|movement)s? (?:\w+ )?(?:removed|compensated|subtracted|corrected)\b|"
    r"^(?:is|was|has) (?:it|that|this)(?: been)? (?:removed|compensated|subtracted)\b|"
    r"^(?:did|do) (?:you|it) (?:smooth|filter|average|align|compensate|subtract|remove|correct)\b",
}
_SHORTLY = (
    r"\b(?:one|a single|single|two|a couple of|1|2) (?:short )?(?:sentences?|lines?)\b|\btl ?dr\b|"
    r"\b(?:nutshell|headline|one liner|caption)\b|^(?:in )?(?:short|brief)$|"
    r"\b(?:summari[sz]e|sum|describe|report)\b.*\b(?:briefly|shortly|in short|in brief)\b"
)
_ABSENT = (
    r"\b(?:absent|missing|inactive|left out|lacking)\b|"
    r"\bnot (?:\w+ )?(?:there|present|active|named|seen|found|coded)\b"
)
_OF_SOMEBODY = r"\bmeans? (?:that )?(?:he|she|they|somebody|someone)\b"
_TURNS = frozenset({"not", "instead", "rather"})


def about_chat(asked: Asked) -> Query | None:
    """For example "what can I ask?", "what is AU12?", "who are you?"."""
    for of, pattern in _ABOUT_US.items():
        if re.search(pattern, asked.text):
            return Query("help", of=of)
    indefinite = asked.says(r"^(?:what|explain) (?:is|are|does|do)? ?(?:an?|the term|the word)\b")
    asks = asked.has("meaning") or indefinite
    coded = asked.aus and asked.says(
        r"^what (?:is|are|does|s) (?:an? |the )?(?:au|action unit)s? ?\d"
    )
    if asks and asked.aus and asked.says(_OF_SOMEBODY) and not asked.values("class"):
        return Query("decline", topic="thoughts")  # "does the frown mean that he minds?"
    if (asks and asked.aus) or coded:
        return Query("help", aus=asked.aus)
    if asks and (moments := asked.values("moment")) and not asked.has("how_long", "when"):
        return Query("help", moments=moments)
    if asks and asked.has("au_word") and asked.says(r"\b(?:combinations?|strings?|codes|coding)\b"):
        return Query("au")  # "what's the AU combination?"
    if asked.aus and asked.says(r"^what (?:would|does|do|did|should) .*\blooks?\b"):
        return Query("help", aus=asked.aus)
    for cue, of in {"au_word": "aus", "micro": "movements", "noise": "noise"}.items():
        if asks and asked.has(cue):
            return Query("help", of=of)
    if asked.has("clip_word") and asked.says(r"^what (?:else )?can you (?:say|tell)\b"):
        return Query("summary")
    if asked.has("ask") and not (asked.regions or asked.aus or asked.values("class")):
        return Query("help")
    return None


def record(asked: Asked) -> Query | None:
    """For example "give me JSON", "in one sentence"."""
    if asked.has("json"):
        return Query("summary", of="json")
    about_part = asked.regions or asked.aus or asked.values("class")
    return Query("summary", of="sentence") if asked.says(_SHORTLY) and not about_part else None


def why_not(asked: Asked) -> Query | None:
    """For example "why not fear?", "what speaks against anger?"."""
    classes, aus = asked.values("class"), asked.aus
    would = r"^what (?:would|do|does|did|should|must)\b.*\b(?:need|have|be there|call|say|miss)"
    if (classes or aus) and asked.says(would) and not asked.has("move"):
        return Query("why_not", classes=classes, aus=aus)  # "what would it need to be anger?"
    than = next((m.at for m in asked.marks if m.concept == "than"), 0)
    if asked.has("why") and than and (others := asked.values("class", than)):
        return Query("why_not", classes=others)
    if asked.has("order") and not (classes or aus):
        return None  # "is the left corner delayed against the right?"
    excluded = asked.has("why") and "not" in asked.words
    excluded = excluded or asked.says(r"^why (?:is|was|are|were) (?:there )?no\b")
    if not (asked.has("against") or excluded) or asked.says(
        r"\bfor or against\b|\brule out\b.*\b(?:motion|movement)"
    ):
        return None
    turn = next((i for i, word in enumerate(asked.words) if i and word in _TURNS), 0)
    if "why" in asked.words and asked.values("class", to=turn):
        classes = asked.values("class", turn)  # "why surprise and not fear?"
    if "why" in asked.words and len(aus) > 1 and turn > 1:
        aus = Asked.of(asked.text.partition(f" {asked.words[turn]} ")[2]).aus or aus
    if classes or aus or asked.has("against") or len(asked.words) <= 6:
        return Query("why_not", classes=classes, aus=aus, **asked.where)
    return None


def why(asked: Asked) -> Query | None:
    """For example "why?", "what is the evidence for AU12?"."""
    if asked.has("clip_word") and asked.says(r"\b(?:walk|take|talk) (?:me|us) through\b"):
        return Query("summary")
    if asked.says(r"^where\b.*\bsee\b") and asked.values("class"):
        return Query("why", classes=asked.values("class"))
    telling = (
        r"^(?:what|which)\b(?! (?:does|do|did|is|was|would)\b).*\b(?:says?|speaks?|suggests?|"
        r"means?|shows?|indicates?|tells?|gives?|points?)\b"
    )
    if asked.has("class", "au") and not asked.has("au_word") and asked.says(telling):
        return Query("why", classes=asked.values("class"), aus=asked.aus)
    if not asked.has("why") or (asked.has("likely") and asked.first != "why"):
        return None
    if asked.polar and asked.has("head"):
        return None  # "could the head's motion explain it?" is about the head
    if asked.polar and asked.says(r"^(?:is|was) there (?:any |some )?(?:evidence|indication)"):
        return None  # "is there evidence of a smile?" is about the smile
    if asked.polar and asked.values("class"):
        return None  # "is that a reason to call it fear?" is about fear
    return Query("why", classes=asked.values("class"), aus=asked.aus, **asked.where)


def sure(asked: Asked) -> Query | None:
    """For example "how sure are you?"."""
    if not asked.has("sure") or (asked.has("quality") and asked.has("clip_word")):
        return None
    if asked.says(r"\b(?:right|correct|best) (?:label|word|reading|answer)\b") or (
        asked.says(r"^pretty sure\b")
    ):
        return None  # "is fear the right label?" is about fear
    if asked.regions and asked.has("move", "way") and not asked.polar and not asked.has("class"):
        return Query("magnitude", of="z", **asked.where)  # "how sure is it that the brow moved?"
    if asked.says(r"\blandmarks?\b") or (asked.whether and asked.regions and asked.has("move")):
        return None  # "are you sure that nothing moved in the brow?" is about the brow
    if asked.has("au_word") and not asked.aus and not asked.polar:
        return Query("confidence", of="aus")  # "each action unit, and how sure you are"
    bounded = asked.polar and bool(asked.share) and not asked.aus
    bound, denied = asked.share if bounded else None, bounded and asked.denied
    classes = asked.values("class")
    return Query("confidence", bounded, denied, classes=classes, aus=asked.aus, bound=bound)


def probability(asked: Asked) -> Query | None:
    """For example "how likely is fear?", "what is the second guess?", "anger over disgust?"."""
    if asked.has("even", "uneven"):
        return None  # "how symmetric is it, in per cent?"
    if asked.has("au_word") and not asked.aus and not asked.has("feel", "class"):
        return None  # "which AU has the lowest probability?"
    size = asked.says(r"\bsecond (?:larg|bigg|great|furth|farth)est\b") or asked.has("move")
    if (
        asked.has("second")
        and not asked.has("region_word")
        and not (size and not asked.has("likely", "feel", "class"))
    ):
        return Query("probability", rank="second")
    if asked.has("feel", "likely") and asked.says(r"\b(?:worst|least (?:likely|probable|well))\b"):
        return Query("probability", rank="least")
    if asked.has("feel", "likely") and asked.says(r"\btop (?:two|three|2|3)\b"):
        return Query("probability")
    other = asked.says(r"^what else\b") and (asked.has("class", "likely"))
    if other or (asked.first == "rank" and asked.has("feel")):
        return Query("probability")
    if asked.values("class") and asked.says(r"^how \w+ (?:is|was|does|did|do) \w+(?: \w+)?$"):
        return Query("probability", classes=asked.values("class"))
    classes = asked.values("class")
    than = next((m.at for m in asked.marks if m.concept == "than"), 9999)
    preferred = asked.values("class", to=than) and asked.values("class", than)
    if not (asked.has("likely") or preferred):
        return None
    if asked.has("move") and asked.has("region_word") and not classes:
        return None  # "which other regions moved?"
    polar = asked.polar
    if asked.choice("class"):
        return Query("probability", classes=classes, rank="most")
    if asked.says(r"\bplausible\b") or (
        polar and "than" not in asked.cues and classes and not asked.bound
    ):
        return Query("emotion", polar, polar and asked.denied, classes=classes) if classes else None
    polar = polar and (asked.whether or bool(asked.bound or asked.has("than")))
    ahead, behind = asked.values("class", to=than), asked.values("class", than)
    rank = "most" if asked.has("most") and not classes else ""
    return Query(
        "probability",
        polar,
        polar and asked.denied,
        classes=ahead,
        than=behind,
        rank=rank,
        bound=asked.share,
        aus=asked.aus,
    )


def combined(asked: Asked) -> Query | None:
    """For example "name the action units, then the emotion"."""
    both = asked.has("au_word") and asked.has("feel") and not asked.aus
    if asked.says(r"\b(?:why|leads?|speaks?|justify|argue|reason|because)\b"):
        return None
    return Query("summary", of="labels") if both or asked.has("combined") else None


def emotion(asked: Asked) -> Query | None:
    """For example "how does she feel?", "is he happy?", "sad or angry?"."""
    classes = asked.values("class")
    if asked.aus and not classes:
        return None
    active = r"^(?:is|are|was|were) (?:au|action units?)s? \d+ (?:active|present|there|named)\b"
    if asked.aus and asked.says(rf"{active}|\b(?:as|like) (?:in|with)\b"):
        return None  # "is AU20 active?", "does the nose wrinkle as in disgust?"
    if classes:
        chosen = asked.choice("class") or (len(classes) > 1 and not asked.polar)
        return Query("emotion", not chosen, asked.negated, classes=classes)
    if asked.says(r"\bwhat mov") or (asked.has("au_word") and not asked.has("feel")):
        return None
    looks = asked.says(r"^how (?:do|does|did) \w+(?: \w+)? look$")
    if (
        looks
        or asked.has("feel")
        or (asked.has("expression") and not asked.regions and not asked.polar)
    ):
        coarse = asked.says(r"\bclass|\bcoarse|\bcategory|\bsort\b|\bclassify")
        # "There isn't any emotion" is no question, but yes or no answers it.
        polar = asked.polar and (asked.whether or asked.denied)
        return Query("emotion", polar, polar and asked.negated, of="labels" * coarse)
    return None


def au(asked: Asked) -> Query | None:
    """For example "which action units?", "did he smile?"."""
    if asked.says(r"\breach\w* (?:the |her |his |their )?eyes?\b"):
        return Query("au", asked.polar, asked.polar and asked.negated, aus=(6,))
    shut = asked.says(r"\b(?:closed|shut)\b") and {"upper lip", "lower lip"} <= set(asked.parts)
    if shut and asked.polar and not asked.aus:
        return Query("au", True, not asked.negated, aus=(25, 26, 27))
    if asked.aus:
        if asked.says(r"\b(?:other than|besides|apart from|except(?: for)?|aside from)\b"):
            return Query("au")  # which others there are is seen in the list of all
        rather = asked.says(r"\b(?:closer|rather|more)\b.*\bor\b")
        several = len(asked.mentions) > 1
        apart = several and asked.says(
            r"\b(?:without|but no|and no|and not|but not|no|not (?:au )?\d+|"
            r"(?:but|and|while) .*(?:absent|missing|inactive|not))\b"
        )
        if asked.polar and asked.regions and asked.says(r"\bbut not\b"):
            eyes = (6,) if "lower lid" in asked.parts else ()  # a smile that reaches them
            return Query("au", aus=(*asked.aus, *eyes))
        polar = asked.polar and not (asked.choice("au") or rather or apart)
        joined = asked.says(r"\b(?:both|all|and|with)\b") or "+" in asked.text
        every = polar and several and joined and "or" not in asked.words
        negated = polar and asked.negated
        return Query("au", polar, negated, aus=asked.aus, sides=asked.sides, of="all" * every)
    ranked = asked.has("most", "least", "likely") or asked.says(r"\b(?:lowest|highest)\b")
    if asked.has("au_word") and ranked and not asked.polar:
        return Query("confidence", of="aus")  # "which AU is the strongest?"
    if asked.has("au_word") and not asked.polar and asked.says(_ABSENT):
        return Query("au", negated=True, **asked.where)
    if asked.has("au_word"):
        polar = asked.polar and (asked.whether or asked.negated)  # "no AU at all?"
        return Query("au", polar, polar and asked.negated, **asked.where)
    return None


def summary(asked: Asked) -> Query | None:
    """For example "summarise it"."""
    spoken = asked.has("summary", "clip_word") or asked.says(r"^(?:everything|all)$")
    return Query("summary") if spoken and not asked.regions else None
