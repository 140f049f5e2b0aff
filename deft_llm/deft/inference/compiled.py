"""Answers to the known kinds of questions, written from a clip's measurement and explanation."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence

from deft_llm import facs
from deft_llm.answers import NOTHING, au_name, strength
from deft_llm.clip import Evidence, Explanation
from deft_llm.deft.inference import wording
from deft_llm.deft.inference.questions import Question
from deft_llm.motion.evidence import measured_evidence
from deft_llm.motion.measure import Measurement

_TIMES = {"onset_time": "onset", "apex_time": "apex", "offset_time": "offset"}
_VERBS = {"onset": "starts", "apex": "peaks", "offset": "ends"}


def compiled(asked: Question, measurement: Measurement, explanation: Explanation) -> str:
    """The answer to a question of a kind in ``questions.KINDS``.

    Args:
        asked: The question as understood.
        measurement: The clip's measurement.
        explanation: Its explanation.
    """
    if not explanation.evidence:
        return _sentence(explanation.status)
    if asked.kind == "au_yes_no":
        return _about_au(asked.au, measured_evidence(measurement.table_apex), explanation)
    if asked.kind in _TIMES:
        return _moment(_TIMES[asked.kind], measurement)
    written: dict[str, Callable[[], str]] = {
        "class": lambda: _reading(explanation, explanation.emotion),
        "emotion": lambda: _reading(explanation, explanation.fine_emotion),
        "aus": lambda: _aus(explanation),
        "motion": lambda: wording.description(explanation.evidence),
        "why": lambda: _why(explanation),
        "structured_answer": lambda: structured(explanation),
        "duration": lambda: _duration(measurement),
    }
    return written[asked.kind]()


def structured(explanation: Explanation) -> str:
    """The structured answer (class, emotion, AUs, evidence, rationale) as JSON."""
    return json.dumps(
        {
            "class": explanation.emotion or NOTHING,
            "emotion": explanation.fine_emotion or NOTHING,
            "aus": list(explanation.aus),
            "evidence": [
                {
                    "region": row.region,
                    "direction": row.direction,
                    "strength": strength(row.magnitude),
                }
                for row in explanation.evidence
            ],
            "rationale": explanation.rationale,
        }
    )


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."


def _judged(explanation: Explanation) -> bool:
    return bool(explanation.probabilities)


def _reading(explanation: Explanation, label: str | None) -> str:
    if not _judged(explanation):
        return _sentence(explanation.status)
    return label or NOTHING


def _aus(explanation: Explanation) -> str:
    if explanation.aus:
        return ", ".join(map(au_name, explanation.aus))
    if not _judged(explanation):
        fitting = facs.sort_aus(code for row in explanation.evidence for code in row.aus)
        listed = ", ".join(map(facs.au_short, fitting)) or "no action unit"
        return f"None is named. {_sentence(explanation.status)} What moved fits {listed}."
    return "No action unit is named."


def _why(explanation: Explanation) -> str:
    doubt = explanation.disagreement
    more = "" if _judged(explanation) else _sentence(explanation.status)
    return " ".join(filter(None, (explanation.rationale, more, doubt and _sentence(doubt))))


def _about_au(number: int, evidence: Sequence[Evidence], explanation: Explanation) -> str:
    if number not in facs.ACTION_UNITS:
        return f"FACS has no AU{number}."
    if named := [code for code in explanation.aus if facs.au_number(code) == number]:
        rows = [row for row in evidence if wording.explains(named[0], row)]
        return f"Yes, {au_name(named[0])}. {wording.description(rows)}"
    label = facs.ACTION_UNITS[number].label
    if not facs.expected_directions(str(number)):
        return f"{label} does not move the skin in a way that is measured here."
    rows = [row for row in evidence if wording.explains(str(number), row)]
    if rows:
        return f"{label} is not named, though this would fit it: {wording.description(rows)}"
    return f"No: what moved does not fit {label}."


def _moment(name: str, measurement: Measurement) -> str:
    times, frame = measurement.aligned.timestamps, getattr(measurement.interval, name)
    return f"It {_VERBS[name]} at {times[frame] - times[0]:.3f} s (frame {frame})."


def _duration(measurement: Measurement) -> str:
    times, interval = measurement.aligned.timestamps, measurement.interval
    rise = times[interval.apex] - times[interval.onset]
    fall = times[interval.offset] - times[interval.apex]
    return f"It lasts {rise + fall:.3f} s: {rise:.3f} s to the apex and {fall:.3f} s after it."
