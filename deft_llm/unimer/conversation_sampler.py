"""Conversations over every question type, each answer with the evidence that it states.

``unimer/answer_writer.py`` answers the question types of DEFT-LLM's own recipe. This module adds
the other Uni-MER types about one clip: side, combined sentence, counterfactual, the motion behind
one AU, the offset phase, times, and questions that a clip cannot answer; and free questions
(``query_questions.py``) whose answer is their query, in a line or as a tool call. Questions about
two clips are in ``unimer/comparison.py``.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable

from deft_llm import facs
from deft_llm.answers import NOTHING, Facts, au_name
from deft_llm.clip import Evidence
from deft_llm.queries.calls import TOOL, arguments
from deft_llm.unimer.answer_writer import AnswerWriter, Turn, stated_evidence, statements
from deft_llm.unimer.balance import Balances, au_choice, label_choice
from deft_llm.unimer.query_questions import Pair, QueryQuestions

KIND_WEIGHTS: dict[str, int] = {
    **{
        "structured_answer": 4,
        "class": 4,
        "motion": 3,
        "aus": 3,
        "emotion": 2,
        "why": 3,
        "au_yes_no": 4,
    },
    **{"side": 3, "combined": 2, "counterfactual": 3, "au_motion": 2, "phases": 2},
    **{"onset_time": 1, "apex_time": 1, "offset_time": 1, "duration": 1, "beyond": 1},
    **{"query": 3, "query_after": 1, "tool_call": 2},
}
_NAMES_EMOTION = frozenset(
    {"structured_answer", "class", "emotion", "why", "combined", "counterfactual"}
)
_OF_LABEL = frozenset({"class", "emotion", "beyond"})  # answered by the label, or by nothing
_TIMES = frozenset({"onset_time", "apex_time", "offset_time", "duration"})
_BEYOND = 0.15  # share of the questions for the engine that no clip can answer
_ABSENT = 0.2  # share of "au_motion" questions that ask about an AU that is not coded


class ConversationSampler:
    """Asks one clip questions of all types."""

    def __init__(self, writer: AnswerWriter, balances: Balances) -> None:
        self.writer, self.balances = writer, balances
        self._special: dict[str, Callable[[Facts, random.Random], Turn | None]] = {
            "au_yes_no": self._yes_no,
            "side": self._side,
            "counterfactual": self._counterfactual,
            "au_motion": self._au_motion,
            "query": self._query,
            "query_after": self._query_after,
            "tool_call": self._tool_call,
        }
        self._questions = QueryQuestions(random.Random(0))
        self._plain: dict[str, Callable[[Facts], str]] = {
            "combined": self._combined,
            "phases": self._phases,
            "duration": self._duration,
            "beyond": lambda _: writer.text("beyond"),
            **{
                # kind=kind binds the loop variable now, not when the lambda is called.
                kind: lambda facts, kind=kind: self._time(kind, facts)  # type: ignore[misc]
                for kind in ("onset_time", "apex_time", "offset_time")
            },
        }

    def conversation(
        self, facts: Facts, rng: random.Random, turns: int, emotion_known: bool
    ) -> list[Turn]:
        """Several turns of different types.

        Args:
            facts: What the answers may state.
            rng: Draws types, phrasings and what is asked about.
            turns: Number of questions.
            emotion_known: False leaves out every type whose answer names an emotion.
        """
        weights = {k: w for k, w in KIND_WEIGHTS.items() if self._fits(k, facts, emotion_known)}
        asked: list[Turn] = []
        while len(asked) < turns and weights:
            kind = rng.choices(list(weights), list(weights.values()))[0]
            # A type is tried once: it neither repeats nor is retried if it has no question here.
            del weights[kind]
            turn = self.turn(kind, facts, rng)
            if turn is not None:
                asked.append(turn)
        return asked

    def turn(self, kind: str, facts: Facts, rng: random.Random) -> Turn | None:
        """One question and answer; None if the type has no question for this clip."""
        if kind in self._special:
            return self._special[kind](facts, rng)
        question = rng.choice(self.writer.templates.questions[kind])
        answer = self._plain[kind](facts) if kind in self._plain else None
        if answer is None:
            answer = self.writer.answer(kind, facts)
        return Turn(kind, question, answer, stated_evidence(kind, facts))

    @staticmethod
    def _fits(kind: str, facts: Facts, emotion_known: bool) -> bool:
        if kind in _NAMES_EMOTION and not emotion_known:
            return False
        if facts.label_alone:
            return kind in _OF_LABEL
        if kind in _TIMES:
            return facts.interval is not None and facts.fps is not None
        return {
            "side": any(code[0] in "LR" for code in facts.aus),
            "combined": facts.emotion is not None and bool(facts.aus),
            "au_motion": bool(facts.aus),
            "phases": bool(facts.evidence),
        }.get(kind, True)

    # ------------------------------------------------------------ types with a choice

    def _ask(self, kind: str, rng: random.Random, **fields: str) -> str:
        return rng.choice(self.writer.templates.questions[kind]).format(**fields)

    def _ask_au(self, kind: str, number: int, rng: random.Random) -> str:
        name = facs.ACTION_UNITS[number].name
        return self._ask(kind, rng, number=str(number), name=name)

    def _yes_no(self, facts: Facts, rng: random.Random) -> Turn | None:
        asked = self.balances.aus.ask(au_choice(facts), rng)
        if asked is None:
            return None
        question = self._ask_au("au_yes_no", int(asked[0]), rng)
        return Turn("au_yes_no", question, "yes" if asked[1] else "no")

    def _side(self, facts: Facts, rng: random.Random) -> Turn | None:
        sided = [code for code in facts.aus if code[0] in "LR"]
        if not sided:
            return None
        code = rng.choice(sided)
        answer = self.writer.text("side_left" if code[0] == "L" else "side_right")
        return Turn("side", self._ask_au("side", facs.au_number(code), rng), answer)

    def _counterfactual(self, facts: Facts, rng: random.Random) -> Turn | None:
        asked = self.balances.labels.ask(label_choice(facts), rng)
        if asked is None:
            return None
        emotion, plausible = asked
        question = self._ask("counterfactual", rng, emotion=emotion)
        if facts.emotion is None:
            answer = self.writer.text("implausible_nothing", emotion=emotion)
        else:
            name = "plausible" if plausible else "implausible"
            answer = self.writer.text(name, emotion=emotion, motion=self.writer.motion(facts))
        return Turn("counterfactual", question, answer, stated_evidence("counterfactual", facts))

    def _au_motion(self, facts: Facts, rng: random.Random) -> Turn | None:
        if rng.random() < _ABSENT and (no := au_choice(facts).no):
            number = int(rng.choices([o for o, _ in no], [w for _, w in no])[0])
            name = facs.ACTION_UNITS[number].name
            answer = self.writer.text("au_absent", number=str(number), name=name)
            return Turn("au_motion", self._ask_au("au_motion", number, rng), answer)
        code = rng.choice(facts.aus)
        question = self._ask_au("au_motion", facs.au_number(code), rng)
        own = tuple(k for k, row in enumerate(facts.evidence) if code in row.aus)
        if not own:
            answer = self.writer.text("au_unseen", au=au_name(code))
            return Turn("au_motion", question, answer)
        # motion() reads nothing but the evidence.
        accepted = Facts(None, (), tuple(facts.evidence[k] for k in own))
        return Turn("au_motion", question, self.writer.motion(accepted), own)

    # ----------------------------------------------- questions for the query engine

    def _drawn(self, rng: random.Random) -> Pair:
        """A question of any kind, one in four beyond what a clip can tell."""
        maker = self._questions.drawing(rng)
        at = rng.random()
        # elsewhere: asks nothing about a clip
        return maker.beyond() if at < _BEYOND else maker.elsewhere() if at < 0.25 else maker.pair()

    def _query(self, _: Facts, rng: random.Random) -> Turn:
        pair = self._drawn(rng)
        return Turn("query", self._ask("query", rng, question=pair.question), str(pair.query))

    def _query_after(self, _: Facts, rng: random.Random) -> Turn:
        pair = self._questions.drawing(rng).follow_up()
        asked = self._ask("query_after", rng, question=pair.question, before=pair.before)
        return Turn("query_after", asked, str(pair.query))

    def _tool_call(self, _: Facts, rng: random.Random) -> Turn:
        pair = self._drawn(rng)
        call = {"name": TOOL, "arguments": arguments(pair.query)}
        return Turn(
            "tool_call", self._ask("tool_call", rng, question=pair.question), json.dumps(call)
        )

    # ------------------------------------------------------------------- plain types

    def _combined(self, facts: Facts) -> str:
        return self.writer.text(
            "combined_one" if len(facts.aus) == 1 else "combined_many",
            aus=", ".join(map(au_name, facts.aus)),
            emotion=facts.emotion or NOTHING,
            label=facts.coarse,
        )

    def _phases(self, facts: Facts) -> str:
        if not facts.returns:
            return self.writer.text("phase_stays")
        return self.writer.text("phase_return", statements=self._joined(facts.returns))

    def _joined(self, rows: tuple[Evidence, ...]) -> str:
        parts = [
            self.writer.text("statement", where=where, moves=moves, direction=direction)
            for where, moves, direction, _ in statements(rows)
        ]
        return ", ".join(part[0].lower() + part[1:] for part in parts)

    def _time(self, kind: str, facts: Facts) -> str:
        # Without agreed motion the coded times cannot be seen in the clip.
        if not facts.evidence or facts.interval is None or not facts.fps:
            return self.writer.text("no_time")
        frame = getattr(facts.interval, kind.removesuffix("_time"))
        return self.writer.text(kind, time=f"{frame / facts.fps:.2f} s", frame=str(frame))

    def _duration(self, facts: Facts) -> str:
        if not facts.evidence or facts.interval is None or not facts.fps:
            return self.writer.text("no_time")
        i, ms = facts.interval, 1000.0 / facts.fps
        return self.writer.text(
            "duration",
            duration=f"{(i.offset - i.onset) * ms:.0f} ms",
            onset_phase=f"{(i.apex - i.onset) * ms:.0f} ms",
            offset_phase=f"{(i.offset - i.apex) * ms:.0f} ms",
        )
