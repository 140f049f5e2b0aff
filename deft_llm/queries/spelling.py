"""Words of a question: cut, spelt out, with typing errors mended, and told from other languages."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping
from functools import lru_cache

from deft_llm.queries.ordinary import NEIGHBOURS

_WORD = re.compile(r"[a-z]+|\d+(?:\.\d+)?|%")
_TAG = re.compile(r"<[^<>]{0,200}>")
#: Number words, and words for shares of one.
SPELT = {
    **{"one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8},
    **{"nine": 9, "ten": 10, "eleven": 11, "twelve": 12, "thirteen": 13, "fourteen": 14},
    **{"fifteen": 15, "sixteen": 16, "seventeen": 17, "eighteen": 18, "nineteen": 19},
    **{"twenty": 20},
}
SHARES = {"third": 1 / 3, "quarter": 0.25, "fifth": 0.2, "tenth": 0.1, "hundredth": 0.01}


def _spelt(said: re.Match[str]) -> str:
    return f"{said[1]} {SPELT[said[2]]}"


def _share(said: re.Match[str]) -> str:
    number = SPELT[said[1]] if said[1] in SPELT else int(said[1])
    return f"{round(number * SHARES[said[2]], 3):g} s"


_SHORT = (
    # Contractions, and how they are typed in a hurry.
    (re.compile(r"\b(can)(?:'t|not)\b|\bcant\b"), "can not"),
    (re.compile(r"\bwon'?t\b"), "will not"),
    (
        re.compile(r"\b(do|did|does|is|are|was|were|has|have|had|would|could|should)n'?t\b"),
        r"\1 not",
    ),
    (re.compile(r"\b(what|when|where|who|how|that|it|he|she|there|here|why)'?s\b(?!')"), r"\1 is"),
    (re.compile(r"\b(they|you|we)'re\b"), r"\1 are"),
    (re.compile(r"\bi'm\b|\bim\b"), "i am"),
    (re.compile(r"\b(\w+)'(?:ve|d|ll)\b"), r"\1"),
    (re.compile(r"\b(\w+)'s?\b"), r"\1"),
    (re.compile(r"\bu\b"), "you"),
    (re.compile(r"\br\b"), "are"),
    (re.compile(r"\b(?:teh|hte)\b"), "the"),
    (re.compile(r"\bupp+\b"), "up"),
    (re.compile(r"\blemme\b"), "let me"),
    (re.compile(r"\bgimme\b"), "give me"),
    (re.compile(r"\b(?:wat|wut|wht)\b"), "what"),
    (re.compile(r"\bhw\b"), "how"),
    (re.compile(r"\b(?:whn|wehn)\b"), "when"),
    (re.compile(r"\b(?:wich|whch)\b"), "which"),
    (re.compile(r"\b(?:ths|tihs)\b"), "this"),
    (re.compile(r"\b(the|to) peek\b"), r"\1 peak"),
    # No English word ends so: "smilng", "movnig".
    (re.compile(r"\b([a-z]+[b-df-hj-np-tv-xz])(?:ng|nig)\b"), r"\1ing"),
    (re.compile(r"\bdose\b"), "does"),
    (re.compile(r"\bdis\b"), "this"),
    (re.compile(r"\bra[sz]e(d?)\b"), r"raise\1"),
    (re.compile(r"\bvids?\b"), "video"),
    (re.compile(r"\by (?=not\b)"), "why "),
    (
        re.compile(
            r"\b(more|less|stronger|weaker|bigger|f[au]rther|earlier|later|longer) then\b(?!\W*$)"
        ),
        r"\1 than",
    ),
    (re.compile(r"\b(than|least|most) twice\b"), r"\1 2 times"),
    (re.compile(r"\bpls\b|\bplz\b"), "please"),
    (
        # "Inner or outer brow" names two parts.
        re.compile(
            r"\b(inner|outer|upper|lower) (and|or|versus|vs) (?:the )?"
            r"(inner|outer|upper|lower) (\w+)"
        ),
        r"\1 \4 \2 \3 \4",
    ),
    (re.compile(r"\b(au|action units?)s?[\s\-_#.]*(\d)"), r"\1 \2"),
    # "AU twelve", "three tenths of a second".
    (re.compile(rf"\b(au|action units?) ({'|'.join(SPELT)})\b"), _spelt),
    (
        re.compile(rf"\b({'|'.join(SPELT)}|\d) ({'|'.join(SHARES)})s? of (?:a|one) second\b"),
        _share,
    ),
    (re.compile(r"\bfacs\b"), "facscode"),
    (re.compile(r"\bmicro[\s-]*expression"), "microexpression"),
    (re.compile(r"\bwithin the first second\b"), "within 1 s"),
    (re.compile(r"\b(?:no|not) (?:longer|more|further|later) than\b"), "at most"),
    (re.compile(r"\b(?:no|not) (?:less|shorter|fewer) than\b"), "at least"),
    (
        # Not "was it over in a second?".
        re.compile(
            r"\bover (?=\d|half\b|a (?:quarter|second|pixel|third)\b|(?:one|two|three|four|five|"
            r"six)\b)"
        ),
        "more than ",
    ),
    (re.compile(r"(\d)\s*(?:milliseconds?|millisecs?|msecs?|ms)\b"), r"\1 ms"),
    (re.compile(r"(\d)\s*(?:pixels?|px)\b"), r"\1 px"),
    (re.compile(r"(\d)\s*(?:seconds?|secs?|s)\b"), r"\1 s"),
    (
        # For whom it is explained is no question about that person.
        re.compile(
            r"\b((?:explain|describe|summari[sz]e|sum up|tell)\b.*?) (?:to|for|like i am|as if i "
            r"(?:am|were))(?: an?| my)? (?:child|kid|five|5|lay(?:man|men|person)|beginner|"
            r"newcomer|non[ -]?expert|grandm\w+|mum|mom|dad)(?: year old)?\b"
        ),
        r"\1 simply",
    ),
)
#: Ordinary words that must not be taken for a misspelt word of the vocabulary.
ORDINARY = frozenset(
    """a about after again all also am an and another any anybody anyone anything are as ask at be
    bear because been before behind being better between big borrow bow boy brown but by call came
    can cat chain chair change check cheer child china chip clear clip coin cold come could country
    crow day dear did different do does dog done dress drink each early either enough even ever
    every example eye fact fair far fast feel felt few find fine first flip follow food for found
    four frame friend from full game gave gear get girl give given go goes going good got great
    green grow guy had hair half hand has have he hear heard heat help her here hers him his home
    hope hot hour house how however hungry i idea if in instead into is it its job just keep kind
    know large last late lead least less let letter life lift light like line lisp list little long
    look lose lost lot love made make man many may me mean men might mile mine minute mode model
    money month moon more most movie much music must my name near need never new next nice night no
    none nor not note nothing now number of off often old on once one only open or order other our
    out own page paper part people person picture place play please point possible press pretty
    prove put question quick quite rain rather read real really red reset right road room rose run
    said same saw say says see seem seen sentence she shin shoe short should show similar simple
    since sit size slip small so some somebody someone something song soon sorry sort sound south
    speak still stop story strong such sure take talk tear tell than thank that the their them then
    there these they thin thing think this those though three through time tips to today told too
    tree true try turn two type under until us use used using usual very video view voice wait walk
    want was watch water way we wear weather week well went were what when where whether which while
    white who whole whose why wide will wind window with woman women word work world would write
    wrong year yes yet you young your coder code cook joke sing print prompt system poem song spell
    file files market accept colleague tenable consistent
    suppose label labelled allow defend somebody moment point exactly rise mistake sense mind
    matter case left form term terms grey grab scene shake mark share store stone state stage
    style scare stare bore
    core sore bold cold hold fold gold sold told build field shield yield wrist lost cost host post
    boost boat coat goat note vote rate late mate gate date fate hate bite kite site
    win wins won winner cite list stock stocks price""".split()  # noqa: SIM905
)
#: Frequent words of other languages that are no English ones.
_FOREIGN = frozenset(
    """der das und ist nicht ein eine einen den dem wie warum wann wo wer hat sich mit auf von zu
    ich du er sie es wir ihr bewegt gesicht gefühl welche welches welcher bitte kann mir für auch
    le la les un une est pas que quoi qui quel quelle comment pourquoi quand visage bouge il elle
    dans avec sur sont ce cette je tu nous vous mon et ou où elles ils des du au aux montre émotion
    el los las una es qué cuál cómo cuándo dónde quién por para con cara se movió mueve ella está
    y pero muestra emoción emocion esta del al lo si sonríe
    che cosa come quando perché dove chi è il lo gli viso mosso muove con una della del sono questo
    o que como quando porque onde rosto mexeu uma não com ele ela está isso você
    de het een en niet hoe waarom wanneer gezicht beweegt van met zijn
    co jak dlaczego kiedy gdzie kto twarz jest nie się ona on ruszyło
    ne nasıl neden yüz bu bir mi mu
    vad hur varför när ansikte och är inte som det
    apa bagaimana mengapa kapan wajah yang dia""".split()  # noqa: SIM905
) - {"a", "an", "au", "aux", "on", "me", "is", "he", "to", "no", "do", "so", "was", "will", "at"}


#: Words that would be mistaken for others without their ending.
_WHOLE = frozenset("made does ever over under others".split())  # noqa: SIM905

_FOREIGN_GREETINGS = frozenset(
    ("bonjour", "hola", "hallo", "gracias", "merci", "danke", "ciao", "salut", "grazie", "ola")
)


def normal(text: str) -> str:
    """Lower case, one kind of apostrophe, contractions spelt out, without tags."""
    text = unicodedata.normalize("NFKC", text).lower()
    text = re.sub(r"[’‘`´]", "'", _TAG.sub(" ", text))
    for pattern, full in _SHORT:
        text = pattern.sub(full, text)
    return text


def split(text: str) -> list[str]:
    """The words and numbers of a normal text; accents are dropped."""
    plain = unicodedata.normalize("NFKD", text)
    return _WORD.findall("".join(c for c in plain if not unicodedata.combining(c)))


@lru_cache(maxsize=8192)
def stem(word: str) -> str:
    """A word without the endings of plural and tense: "moved" and "moves" are "mov"."""
    if len(word) <= 3 or word in _WHOLE or not word.isalpha():
        return word
    for ending in ("ings", "ing", "ed", "es", "s", "e"):
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            word = word[: -len(ending)]
            break
    return word[:-1] if len(word) > 3 and word[-1] == word[-2] else word


@lru_cache(maxsize=1)
def _ordinary() -> frozenset[str]:
    return frozenset(map(stem, ORDINARY)) | ORDINARY


#: Words without which a question asks something else, mended like those of the vocabulary.
_BINDING = ("anything", "everything", "something", "nothing", "anywhere", "everywhere", "somewhere")


def mend(word: str, known: Mapping[str, str]) -> str:
    """The known word that a misspelt one most likely is; the word itself if there is none.

    Args:
        word: Lower case.
        known: Stem -> a word of the vocabulary.
    """
    own = stem(word)
    if own in known or own in _ordinary() or len(word) < 4 or not word.isalpha():
        return word
    if word in NEIGHBOURS:
        return word
    for whole in _BINDING:
        if distance(word, whole, 1) == 1:
            return whole
    most = 1 if len(word) < 8 else 2
    # Of stems that are as near, the one whose word is nearer: "happines" is not "happens".
    ranked = (
        (min(distance(own, other, most), whole), other[0] != own[0], whole, other)
        for other in known
        for whole in [distance(word, known[other], most)]
    )
    best = min(ranked, default=(most + 1, False, 0, ""))
    # A short word is mended only if its first letter is right: most short words are near another.
    if best[0] > most or (best[1] and len(word) < 6):
        return word
    # Of a short word, one letter is missing or two are swapped: "rice" is no "rise".
    slip = len(best[3]) > len(own) or sorted(best[3]) == sorted(own)
    return known[best[3]] if slip or len(word) > 4 else word


def distance(a: str, b: str, most: int) -> int:
    """Edits (insert, delete, replace, swap neighbours) between two words; above most: most + 1."""
    if abs(len(a) - len(b)) > most:
        return most + 1
    before: list[int] = []
    row = list(range(len(b) + 1))
    for i, letter in enumerate(a, 1):
        before, last, row = row, before, [i]
        for j, other in enumerate(b, 1):
            cost = min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (letter != other))
            if i > 1 and j > 1 and letter == b[j - 2] and a[i - 2] == other:
                cost = min(cost, last[j - 2] + 1)
            row.append(cost)
        if min(row) > most:
            return most + 1
    return row[-1]


def is_foreign(text: str, known: Iterable[str]) -> bool:
    """Whether a question is not English: by its script, or by frequent words of other languages.

    Args:
        text: As typed.
        known: Stems of the vocabulary.
    """
    letters = [c for c in text if c.isalpha()]
    latin = sum(unicodedata.name(c, "").startswith("LATIN") for c in letters)
    if len(letters) > 2 * latin:
        return True
    words = re.findall(r"[^\W\d_]+", text.lower())
    foreign = sum(word in _FOREIGN for word in words)
    familiar = set(known)
    english = sum(word in ORDINARY or stem(word) in familiar for word in words)
    greeted = any(word in _FOREIGN_GREETINGS for word in words)
    return greeted or (len(words) > 1 and 0 < foreign >= english)
