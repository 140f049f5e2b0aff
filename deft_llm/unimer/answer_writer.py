"""Questions and answers about one clip, from its evidence and its labels.

The wording is in ``unimer/templates``; this module fills it in, and ``answers.py`` parses
answers.
"""

from __future__ import annotations

import random
import string
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deft_llm import facs
from deft_llm.answers import NOTHING, PLURALS, Facts, au_name, strength, structured_answer
from deft_llm.clip import Evidence
from deft_llm.config import read_yaml
from deft_llm.errors import UserError
from deft_llm.resources import templates as own_templates

# Question types of DEFT-LLM's own recipe; unimer/conversation_sampler.py has all types. "class"
# and "emotion" are asked often because a one-word answer weighs about one token in the loss.
_QUESTION_WEIGHTS = {
    **{"structured_answer": 8, "class": 8, "emotion": 4},
    **{"motion": 3, "aus": 3, "why": 3, "au_yes_no": 2},
}


_AU = frozenset({"number", "name"})
_STATEMENT = frozenset({"where", "moves", "direction"})
_TIME = frozenset({"time", "frame"})
_LABELS = frozenset({"aus", "emotion", "label"})
# Fields that the code fills in. Templates are checked against them when they are loaded, because
# an unknown field would otherwise raise KeyError in the middle of a build.
QUESTION_FIELDS: dict[str, frozenset[str]] = {
    **dict.fromkeys(("au_yes_no", "side", "au_motion"), _AU),
    "counterfactual": frozenset({"emotion"}),
    **dict.fromkeys(("query", "tool_call"), frozenset({"question"})),
    "query_after": frozenset({"question", "before"}),
}
ANSWER_FIELDS: dict[str, frozenset[str]] = {
    "statement": _STATEMENT,
    "statement_strength": _STATEMENT | {"strength"},
    "because": frozenset({"statements", "au"}),
    "unseen": frozenset({"au"}),
    "conclusion": frozenset({"emotion"}),
    **dict.fromkeys(("combined_one", "combined_many"), _LABELS),
    **dict.fromkeys(("plausible", "implausible"), frozenset({"emotion", "motion"})),
    "implausible_nothing": frozenset({"emotion"}),
    "au_unseen": frozenset({"au"}),
    "au_absent": _AU,
    "phase_return": frozenset({"statements"}),
    **dict.fromkeys(("onset_time", "apex_time", "offset_time"), _TIME),
    "duration": frozenset({"duration", "onset_phase", "offset_phase"}),
    "same_class": frozenset({"label"}),
    "other_class": frozenset({"label", "other"}),
    **dict.fromkeys(("stronger_first", "stronger_second"), frozenset({"first", "second"})),
    "shared_aus": frozenset({"shared", "first", "second"}),
}
_PLAIN_ANSWERS = (
    *("conclusion_others", "nothing", "no_motion", "no_aus", "side_left", "side_right"),
    *("phase_stays", "no_time", "beyond", "hidden"),
)
QUESTION_TYPES: tuple[str, ...] = (
    *(
        "class",
        "emotion",
        "aus",
        "au_yes_no",
        "motion",
        "why",
        "structured_answer",
        "side",
        "combined",
    ),
    *("counterfactual", "au_motion", "phases", "onset_time", "apex_time", "offset_time"),
    *("duration", "beyond", "hidden", "compare_class", "compare_strength", "compare_aus"),
    *("query", "query_after", "tool_call"),
)


class Templates:
    """The phrasings of one folder of YAML files."""

    def __init__(self, folder: Path | None = None) -> None:
        """Read ``questions.yaml`` and ``answers.yaml``.

        Args:
            folder: Folder of both files; None for the wording in the package.

        Raises:
            UserError: If a file is missing, lacks an entry, or an entry has an unknown field.
        """
        folder = folder or own_templates()
        path = folder / "questions.yaml"
        self.questions: dict[str, list[str]] = self._load(path)
        for kind in QUESTION_TYPES:
            phrasings = self.questions.get(kind)
            if not (isinstance(phrasings, list) and phrasings):
                missing = sorted(set(QUESTION_TYPES) - {k for k, v in self.questions.items() if v})
                raise UserError(f"{path}: no phrasing for {missing}; expected a list of questions")
            for text in phrasings:
                _check_fields(path, kind, text, QUESTION_FIELDS.get(kind, frozenset()))
        path = folder / "answers.yaml"
        self.answers: dict[str, str] = self._load(path)
        for name in (*ANSWER_FIELDS, *_PLAIN_ANSWERS):
            if name not in self.answers:
                raise UserError(f"{path}: no sentence {name!r}")
            _check_fields(path, name, self.answers[name], ANSWER_FIELDS.get(name, frozenset()))

    @staticmethod
    def _load(path: Path) -> dict[str, Any]:
        if not path.is_file():
            raise UserError(
                f"{path}: no such file; expected a folder with questions.yaml and answers.yaml, "
                "or leave templates out for the wording that comes with the package"
            )
        return read_yaml(path)

    def prompts(self) -> dict[str, str]:
        """The wording that the library itself uses, by question type."""
        return {name: phrasings[0] for name, phrasings in self.questions.items()}


def _check_fields(path: Path, name: str, text: Any, known: frozenset[str]) -> None:
    try:
        used = {field for _, field, _, _ in string.Formatter().parse(text) if field is not None}
    except (TypeError, ValueError) as error:
        raise UserError(f"{path}, {name}: {text!r} is no template ({error})") from None
    if unknown := sorted(used - known):
        names = ", ".join(f"{{{field}}}" for field in sorted(known)) or "none"
        raise UserError(f"{path}, {name}: unknown field {unknown[0]!r}; expected {names}")


def statements(evidence: Sequence[Evidence]) -> list[tuple[str, str, str, str]]:
    """Evidence as (where, moves, direction, strength); equal left and right motion is joined."""
    # Directions of sided regions are "inward" or "outward", so symmetric motion has the same
    # name on both sides.
    by_region = {row.region: row for row in evidence}
    rows, done = [], set()
    for row in evidence:
        if row.region in done:
            continue
        twin = by_region.get(facs.mirror_region(row.region))
        # A midline region (glabella, chin) is its own mirror image.
        same = twin is not None and twin is not row and twin.direction == row.direction
        done.add(row.region)
        if same and twin is not None:
            done.add(twin.region)
            # The region's name without its side.
            part = row.region.partition(" ")[2]
            where = f"Both {PLURALS.get(part, part + 's')}"
            magnitude = (row.magnitude + twin.magnitude) / 2
            rows.append((where, "move", row.direction, strength(magnitude)))
        else:
            where, word = f"The {row.region}", strength(row.magnitude)
            rows.append((where, "moves", row.direction, word))
    return rows


@dataclass(frozen=True)
class Turn:
    """One question and its answer.

    Attributes:
        kind: Question type.
        question: Text of the question.
        answer: Text of the answer.
        evidence: Indices into ``Facts.evidence + Facts.returns`` of what the answer states.
    """

    kind: str
    question: str
    answer: str
    evidence: tuple[int, ...] = ()


class AnswerWriter:
    """Writes answers in the words of a set of templates."""

    def __init__(self, templates: Templates) -> None:
        self.templates = templates

    def answer(self, kind: str, facts: Facts) -> str:
        """The answer to one question type (for "au_yes_no": see ``turn``)."""
        return {
            "class": lambda: facts.coarse,
            "emotion": lambda: facts.emotion or NOTHING,
            "aus": lambda: ", ".join(map(au_name, facts.aus)) or self.text("no_aus"),
            "motion": lambda: self.motion(facts),
            "why": lambda: self.rationale(facts),
            "structured_answer": lambda: self._structured_answer(facts),
        }[kind]()

    # `name` is positional-only because a template field is called "name" too.
    def text(self, name: str, /, **fields: str) -> str:
        """One sentence of the templates."""
        return self.templates.answers[name].format(**fields)

    def motion(self, facts: Facts) -> str:
        """Every statement with its strength."""
        if not facts.evidence:
            return self.text("no_motion")
        return " ".join(
            self.text(
                "statement_strength", where=where, moves=moves, direction=direction, strength=word
            )
            for where, moves, direction, word in statements(facts.evidence)
        )

    def rationale(self, facts: Facts) -> str:
        """One sentence for each AU with the motion that supports it, then the emotion."""
        if facts.emotion is None:
            return self.text("nothing")
        sentences: list[str] = []
        # Regions already described: one that two AUs explain is described once, with the first AU.
        stated: set[str] = set()
        for code in facts.aus:
            own = [e for e in facts.evidence if code in e.aus and e.region not in stated]
            stated.update(e.region for e in own)
            au = au_name(code)
            # All motion of this AU was described with earlier AUs; a sentence that calls the AU
            # unseen would be wrong.
            if any(code in e.aus for e in facts.evidence) and not own:
                continue
            if not own:
                sentences.append(self.text("unseen", au=au))
                continue
            parts = [
                self.text("statement", where=where, moves=moves, direction=direction)
                for where, moves, direction, _ in statements(own)
            ]
            joined = ", ".join([parts[0], *(p[0].lower() + p[1:] for p in parts[1:])])
            sentences.append(self.text("because", statements=joined, au=au))
        if facts.emotion == "others":
            return " ".join([*sentences, self.text("conclusion_others")])
        return " ".join([*sentences, self.text("conclusion", emotion=facts.emotion)])

    def _structured_answer(self, facts: Facts) -> str:
        emotion = facts.emotion or NOTHING
        return structured_answer(
            facts.coarse, emotion, facts.aus, facts.evidence, self.rationale(facts)
        )

    def turn(self, kind: str, facts: Facts, rng: random.Random) -> tuple[str, str]:
        """One question in a random phrasing, and its answer."""
        question = rng.choice(self.templates.questions[kind])
        if kind != "au_yes_no":
            return question, self.answer(kind, facts)
        present = {facs.au_number(code) for code in facts.aus}
        number = self._asked_au(present, rng)
        name = facs.ACTION_UNITS[number].name
        return question.format(number=number, name=name), "yes" if number in present else "no"

    @staticmethod
    def _asked_au(present: set[int], rng: random.Random) -> int:
        """An AU that is present in half of the cases, so that yes and no are equally frequent."""
        if present and rng.random() < 0.5:
            return rng.choice(sorted(present))
        # AUs without movements (such as eye and head positions) never show in region motion.
        absent = [n for n, au in facs.ACTION_UNITS.items() if au.movements and n not in present]
        return rng.choice(absent)

    def conversation(
        self, facts: Facts, rng: random.Random, turns: int, emotion_known: bool = True
    ) -> list[Turn]:
        """Several turns of different question types.

        Args:
            facts: What the answers may state.
            rng: Draws types and phrasings.
            turns: Number of questions.
            emotion_known: False for a clip whose AUs were drawn without an emotion; question types
                whose answer names an emotion are left out.
        """
        weights = dict(_QUESTION_WEIGHTS)
        if not emotion_known:
            for kind in ("structured_answer", "class", "emotion", "why"):
                del weights[kind]
        kinds: list[str] = []
        # Weighted draw without repetition: a type drawn again is rejected.
        while len(kinds) < min(turns, len(weights)):
            kind = rng.choices(list(weights), weights=list(weights.values()))[0]
            if kind not in kinds:
                kinds.append(kind)
        return [
            Turn(kind, *self.turn(kind, facts, rng), stated_evidence(kind, facts)) for kind in kinds
        ]


def stated_evidence(kind: str, facts: Facts) -> tuple[int, ...]:
    """Indices into ``evidence + returns`` of what the answer to a question type states."""
    # This answer states the offset-phase rows, which follow the onset-phase rows.
    if kind == "phases":
        return tuple(range(len(facts.evidence), len(facts.evidence) + len(facts.returns)))
    states = {"motion", "why", "structured_answer", "counterfactual"}
    # Without an emotion, "why" and "counterfactual" are answered without naming any motion.
    speaks = facts.emotion is not None or kind in {"motion", "structured_answer"}
    return tuple(range(len(facts.evidence))) if kind in states and speaks else ()
