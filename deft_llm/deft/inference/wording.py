"""An explanation in words, written from what was measured and what the model chose.

The model chooses the class, the emotion and the action units; which regions moved, and where to, is
measured. Sentences are written here, so none can state motion that was not measured, leave an AU
without its motion, or conclude on another class. What AUs and class do not agree on is said.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from deft_llm import facs
from deft_llm.answers import NOTHING, au_name
from deft_llm.clip import Evidence, Explanation
from deft_llm.simulator.scene.statistics import class_share
from deft_llm.unimer.answer_writer import statements

# AUs and class disagree if no named AU has at least this share of its coded clips in that class; so
# do the AU head and the named AUs, if the head gives one less.
LEAST_SHARE = 0.1
NO_EMOTION = "The model names no emotion for this motion."


def explains(code: str, row: Evidence) -> bool:
    """Whether a named AU explains the motion of a region."""
    bare = str(facs.au_number(code))
    return bare in row.aus and row.region in facs.expected_directions(code)


def fits(row: Evidence, named: Iterable[str]) -> tuple[str, ...]:
    """The named AUs that explain the motion of a region; without one, all AUs that would."""
    return tuple(code for code in named if explains(code, row)) or row.aus


def description(evidence: Sequence[Evidence]) -> str:
    """What moved, one sentence for each region or pair, with its strength."""
    return " ".join(
        f"{where} {moves} {direction}, {word}."
        for where, moves, direction, word in statements(evidence)
    )


def rationale(evidence: Sequence[Evidence], aus: Sequence[str], emotion: str) -> str:
    """The reasons: motion by AU, motion that no named AU explains, and the conclusion.

    Args:
        evidence: The regions that moved.
        aus: The named AUs; each has to explain one of these regions.
        emotion: The emotion or class that the model names, or "none".
    """
    sentences, stated = [], set[str]()
    for code in aus:
        own = [row for row in evidence if explains(code, row)]
        new = [row for row in own if row.region not in stated]
        stated.update(row.region for row in own)
        # A region that two AUs explain is described once, with the first.
        reason = _joined(new) if new else "The same motion fits"
        sentences.append(f"{reason}{':' if new else ''} {au_name(code)}.")
    if rest := [row for row in evidence if row.region not in stated]:
        why = "no named action unit explains it" if aus else "no action unit is named"
        sentences.append(f"{_joined(rest)}: {why}.")
    return " ".join([*sentences, _conclusion(emotion)])


def _joined(rows: Sequence[Evidence]) -> str:
    parts = [f"{where} {moves} {way}" for where, moves, way, _ in statements(rows)]
    return ", ".join([parts[0], *(part[0].lower() + part[1:] for part in parts[1:])])


def _conclusion(emotion: str) -> str:
    if emotion == NOTHING:
        return NO_EMOTION
    if emotion == "others":
        return "Together this fits none of the basic emotions."
    return f"Together this is read as {emotion}."


def explained(
    evidence: Sequence[Evidence],
    probabilities: Mapping[str, float],
    emotion: str,
    aus: Mapping[str, float],
    remarks: tuple[str, ...] = (),
) -> Explanation:
    """An explanation whose class, emotion, AUs, evidence and reasons agree.

    Args:
        evidence: The regions that moved, the largest motion first.
        probabilities: Of the classes.
        emotion: The emotion of the likeliest class that the model names, or "none".
        aus: The named AUs and their probabilities; each has to explain one of the regions.
        remarks: On the measurement.
    """
    best = max(probabilities, key=probabilities.__getitem__)
    return Explanation(
        emotion=None if best == NOTHING else best,
        probabilities=dict(probabilities),
        aus=dict(aus),
        evidence=tuple(replace(row, aus=fits(row, aus)) for row in evidence),
        fine_emotion=None if best == NOTHING else emotion,
        rationale=rationale(evidence, tuple(aus), emotion),
        disagreement=disagreement(best, aus),
        remarks=remarks,
    )


def disagreement(label: str, aus: Mapping[str, float]) -> str:
    """How AU head, named AUs and class disagree, in words; empty if they agree.

    AUs and class are held against the published codings (``simulator/scene/statistics.py``).

    Args:
        label: The class, one of ``answers.COARSE_LABELS``.
        aus: The named AUs and their probabilities from the AU head.
    """
    doubts = [
        f"the AU head gives {facs.au_short(code)} only {share:.2f}"
        for code, share in aus.items()
        if share < LEAST_SHARE
    ]
    if label in facs.THREE_CLASSES:
        doubts += _without_aus(label, tuple(aus))
    return "; ".join(doubts)


def _without_aus(label: str, aus: tuple[str, ...]) -> list[str]:
    if not aus:
        return [f"no action unit speaks for {label}: the class rests on the motion as a whole"]
    shares = {code: class_share(code, label) for code in aus}
    known = {code: share for code, share in shares.items() if share is not None}
    if not known or max(known.values()) >= LEAST_SHARE:
        return []
    listed = ", ".join(f"{100 * p:.0f} % with {facs.au_short(code)}" for code, p in known.items())
    return [f"the action units do not speak for {label}, so few coded clips are {label}: {listed}"]
