"""Whether everything that is said about a clip agrees with its measurement and with itself."""

from __future__ import annotations

import json
from collections.abc import Iterator

import numpy as np

from deft_llm import facs
from deft_llm.answers import (
    NOTHING,
    coarse_label,
    parse_structured_answer,
    stated_aus,
    stated_claims,
    stated_labels,
)
from deft_llm.clip import Explanation
from deft_llm.deft.inference.claims import check_sentences, supported
from deft_llm.deft.inference.engine import execute
from deft_llm.deft.inference.replies import reply
from deft_llm.motion.measure import Measurement
from deft_llm.motion.regions import REGION_NAMES
from deft_llm.queries.query import parse_query

_SILENCE = ("no motion", "no region", "nothing moved")  # phrases that say that nothing moved
#: Queries whose answers are held against each other.
QUERIES = (
    *("moved", "moved?", "direction", "magnitude", "side_difference", "compare rank=most", "when"),
    *("how_long", "au", "au? au=12", "emotion", "probability", "why", "confidence", "count of=aus"),
    *("count of=regions", "summary", "summary of=labels", "summary of=json"),
)


def contradictions(measurement: Measurement, explanation: Explanation) -> list[str]:
    """What an explanation and the answers about a clip say against the measurement or each other.

    Args:
        measurement: The clip's measurement.
        explanation: Its explanation.

    Returns:
        One line for each contradiction, in words; empty if there is none.
    """
    answers = {
        line: reply(execute(parse_query(line), measurement, lambda: explanation))
        for line in QUERIES
    }
    said = " ".join([explanation.rationale, explanation.status, *answers.values()]).lower()
    silent = any(phrase in said for phrase in _SILENCE)
    active = {REGION_NAMES[i] for i in np.flatnonzero(measurement.table_apex.active)}
    return [
        *_moved(active, silent, explanation),
        *_claims(measurement, explanation, answers),
        *_aus(explanation, answers),
        *_labels(explanation, answers),
        *_curve(measurement),
    ]


def _moved(active: set[str], silent: bool, explanation: Explanation) -> Iterator[str]:
    if active and silent:
        yield f"{len(active)} regions moved, and it is said that none did"
    if {row.region for row in explanation.evidence} != active:
        yield "the evidence is not the active regions"
    named = explanation.emotion or explanation.aus or explanation.rationale
    if not active and (named or not silent):
        yield "no region moved, and something is said about motion"


def _claims(
    measurement: Measurement, explanation: Explanation, answers: dict[str, str]
) -> Iterator[str]:
    table = measurement.table_apex
    for row in explanation.evidence:
        if not supported(table, row.region, row.direction):
            yield f"evidence {row.region} {row.direction}"
    for text in (explanation.rationale, *answers.values()):
        for sentence in check_sentences(text, table):
            if sentence.verdict == "unsupported":
                yield f"not borne out: {sentence.text}"
    stated = {region for region, _ in stated_claims(explanation.rationale)}
    if stated != {row.region for row in explanation.evidence}:
        yield "the reasons do not state every region that moved"


def _aus(explanation: Explanation, answers: dict[str, str]) -> Iterator[str]:
    named = {facs.au_number(code) for code in explanation.aus}
    if stated_aus(explanation.rationale) != named:
        yield "the reasons speak of other AUs than the list"
    for code in explanation.aus:
        if not any(code in row.aus for row in explanation.evidence):
            yield f"no motion speaks for {facs.au_short(code)}"
    if answers["au? au=12"].startswith("Yes") != (12 in named):
        yield "the answer about AU12 is not the list's"
    if explanation.aus and stated_aus(answers["au"]) != named:
        yield "the answer lists other AUs"


def _labels(explanation: Explanation, answers: dict[str, str]) -> Iterator[str]:
    found = explanation.emotion or NOTHING
    texts = (explanation.rationale, answers["why"], answers["summary"], answers["emotion"])
    for label in (label for text in texts for label in stated_labels(text)):
        if coarse_label(label) != found:
            yield f"{label} is concluded, the class is {found}"
    if not explanation.probabilities:
        return
    likeliest = max(explanation.probabilities, key=explanation.probabilities.__getitem__)
    if likeliest != found:
        yield f"the class is {found}, the likeliest {likeliest}"
    record = parse_structured_answer(answers["summary of=json"])
    if record is None or record["class"] != found:
        yield f"the structured answer: {json.dumps(record)[:80]}"


def _curve(measurement: Measurement) -> Iterator[str]:
    interval = measurement.interval
    part = measurement.curve[interval.onset : interval.offset + 1]
    if measurement.found and part[interval.apex - interval.onset] < np.nanmax(part):
        yield "the apex is not where the curve is highest"
