"""Which question was asked about a clip: a kind that can be answered, one to decline, or neither.

A question is understood if it is one of the phrasings that the model was trained on
(``unimer/templates/questions.yaml``) or shares most of its telling words with one. What a face
cannot tell (honesty, health, character, identity, the future) is declined by its words, before
anything else is tried. The rules and limits are our own choice.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property, lru_cache

from deft_llm import facs
from deft_llm.unimer.answer_writer import Templates

BEYOND, UNKNOWN = "beyond", "unknown"
#: The kinds that are answered about one clip.
KINDS: tuple[str, ...] = (
    *("class", "emotion", "aus", "au_yes_no", "motion", "why", "structured_answer"),
    *("onset_time", "apex_time", "offset_time", "duration"),
)
DECLINED = (
    "That cannot be told from a face. Ask what moved, which action units that is, how it is read, "
    "or when it happened."
)
NOT_UNDERSTOOD = (
    "I did not understand that. You can ask, for example: {examples} Or ask about an action unit "
    "by its number, or when the movement starts, peaks and ends."
)
_LEAST = 0.62  # similarity to a known phrasing from which a question counts as understood

# Stems of what no motion of a face can say; whole words where a stem would catch too much.
_BEYOND = re.compile(
    r"\b(?:l(?:ie|ies|ied|ying|iar)\b|decei|decepti|honest|dishonest|truth|guilt|innocent|crim|"
    r"steal|stole|murder|terror|dangerous|suspect|confess|hid(?:e|es|ing)\b|hire|hiring|employ|"
    r"job\b|promot|fire him|fire her|salary|loan|insur|depress|anxi|autis|adhd|schizo|bipolar|"
    r"mental|disorder|disease|diagnos|ill\b|sick|health|pain\b|drunk|drug|stroke|parkinson|"
    r"pregnan|age\b|aged\b|how old|young|gender|sex\b|sexual|gay\b|male\b|female\b|man or|"
    r"woman or|race\b|racial|ethnic|national|religio|politic|vote|who is (?:this|that|he|she|it)|"
    r"whose face|identity|identify (?:the|this|him|her)|recogni[sz]e (?:the|this|him|her)|name of "
    r"(?:the|this) p|trust|sincer|genuin|fake|faking|pretend|insincer|real feeling|deep down|"
    r"really feel|think(?:s|ing)? (?:about|of)|thought|intention|intend|motive|personality|"
    r"character\b|intelligen|iq\b|smart|stupid|attracti|beautiful|ugly|pretty\b|love[sd]?\b|"
    r"married|rich\b|poor\b|will (?:he|she|they|the person|it) |going to|tomorrow|future|"
    r"predict|next (?:time|week|year)|where (?:does|is) (?:he|she|the person) (?:come )?from|"
    r"made (?:the person|him|her|them) |should (?:i|we) |(?:he|she|person) an? good |a good \w+|"
    r"(?:his|her|their) name|threat|convict|believ|nervous about)",
    re.IGNORECASE,
)
_WORD = re.compile(r"[a-z]+|\d+")
_AU = re.compile(r"\bau\s*-?(\d{1,3})\b|\baction unit\s*(?:number\s*)?(\d{1,3})\b", re.IGNORECASE)
_FILLER = frozenset(
    """a an the is are was were be been do does did can could would will you i we me us it its this
    that these those there here of in on at to for from and or by with as so please tell give say
    just kindly clip video face person he she they his her their him them have has had any some
    one what which how""".split()  # noqa: SIM905
)
# Words that mean the same here.
_MEANINGS = {
    "emotion": "emotions feeling feelings feels feel",
    "expression": "expressions",
    "aus": "au",
    "units": "unit",
    "move": "moved moves moving movement movements motion motions changed happened",
    "why": "reason reasons",
    "explain": "explanation",
    "start": "begin begins starts started begun onset",
    "peak": "peaks peaked apex strongest",
    "end": "ends ended offset over",
    "last": "lasted lasts long duration",
    "region": "regions parts part areas area",
    "summarise": "summarize summary",
    "show": "shows shown showing displayed",
    "label": "labelled",
}
_SAME = {other: word for word, others in _MEANINGS.items() for other in others.split()}


@dataclass(frozen=True)
class Question:
    """A question as understood.

    Attributes:
        kind: A member of ``KINDS``, "beyond" or "unknown".
        au: The FACS number that it asks about, for "au_yes_no"; 0 without one.
    """

    kind: str
    au: int = 0


def words(text: str) -> Counter[str]:
    """The telling words of a text, with words of one meaning made equal."""
    lower = re.sub(r"action units?", "aus", text.lower())
    found = (_SAME.get(word, word) for word in _WORD.findall(lower))
    return Counter(word for word in found if word not in _FILLER)


class Questions:
    """Understands questions by the phrasings of some templates."""

    def __init__(self, templates: Templates | None = None) -> None:
        self.templates = templates or Templates()

    @cached_property
    def _known(self) -> dict[str, str]:
        """Normalised phrasing -> kind, for phrasings without fields."""
        rows = self.templates.questions.items()
        texts = {_plain(t): kind for kind, phrasings in rows for t in phrasings if "{" not in t}
        # "hidden" asks the other kinds' questions about a clip without a face.
        own = {_plain(t): kind for kind in KINDS for t in self.templates.questions[kind]}
        return {**texts, **own}

    @cached_property
    def _phrasings(self) -> list[tuple[str, Counter[str]]]:
        rows = self.templates.questions.items()
        # Of "hidden" see above; a question about one AU is known by its AU.
        rest = ((k, texts) for k, texts in rows if k not in {"hidden", "au_yes_no"})
        kinds = [(kind, text) for kind, texts in rest for text in texts]
        return [(kind, words(re.sub(r"\{\w+\}", "", text))) for kind, text in kinds]

    @cached_property
    def _weights(self) -> dict[str, float]:
        """Inverse document frequency of the words, a kind of question counting as a document."""
        kinds: dict[str, set[str]] = {}
        for kind, counted in self._phrasings:
            kinds.setdefault(kind, set()).update(counted)
        document = Counter(word for each in kinds.values() for word in each)
        return {word: math.log(1 + len(kinds) / count) for word, count in document.items()}

    def understand(self, question: str) -> Question:
        """What a question asks."""
        plain = _plain(question)
        if (kind := self._known.get(plain)) and kind in {*KINDS, BEYOND}:
            return Question(kind, _asked_au(question) if kind == "au_yes_no" else 0)
        if _BEYOND.search(question):
            return Question(BEYOND)
        if au := _asked_au(question):
            # Other questions about one AU (its side, its motion) are answered by the same facts.
            return Question("au_yes_no", au)
        kind, score = self._nearest(words(question))
        return Question(kind if score >= _LEAST and kind in {*KINDS, BEYOND} else UNKNOWN)

    def _nearest(self, asked: Counter[str]) -> tuple[str, float]:
        """The kind whose phrasing shares most with the asked words, and the similarity, 0 to 1."""
        ranked = ((self._similarity(asked, phrasing), kind) for kind, phrasing in self._phrasings)
        score, kind = max(ranked, default=(0.0, UNKNOWN))
        return kind, score

    def _similarity(self, a: Iterable[str], b: Iterable[str]) -> float:
        # A word that no phrasing has weighs most: it is what the question is about.
        rare = max(self._weights.values())
        weight = {word: self._weights.get(word, rare) for word in {*a, *b}}
        both = sum(weight[word] for word in set(a) & set(b))
        either = sum(weight.values())
        # Between Jaccard and Dice: half of the words in common are not enough, two thirds are.
        return 2 * both / (either + both) if either else 0.0

    def examples(self) -> str:
        """Some questions that are understood, in one line."""
        first = self.templates.questions
        return " ".join(first[kind][0] for kind in ("motion", "aus", "emotion"))


@lru_cache(maxsize=1)
def questions() -> Questions:
    """Questions by the wording in the package."""
    return Questions()


def _plain(text: str) -> str:
    return " ".join(re.findall(r"[\w{}]+", text.lower()))


@lru_cache(maxsize=1)
def _au_names() -> dict[str, int]:
    return {au.name.lower(): number for number, au in facs.ACTION_UNITS.items()}


def _asked_au(question: str) -> int:
    """The AU number that a question names, by number or by name; 0 without one."""
    if match := _AU.search(question):
        return int(match[1] or match[2])
    lower = question.lower()
    found = [name for name in _au_names() if name in lower]
    return _au_names()[max(found, key=len)] if found else 0
