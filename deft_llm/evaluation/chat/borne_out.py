"""Does the measurement bear out what an answer says?"""

from __future__ import annotations

from collections.abc import Iterator

from deft_llm.clip import OFFSET_PHASE, Evidence
from deft_llm.deft.inference.claims import check_sentences
from deft_llm.motion.measure import Measurement
from deft_llm.motion.regions import REGION_NAMES
from deft_llm.queries.findings import Findings

_ROUNDED = 0.011  # px


def not_borne_out(text: str, found: Findings, measurement: Measurement) -> Iterator[str]:
    """What an answer says against the measurement.

    Args:
        text: The answer.
        found: Its facts.
        measurement: The measured clip.

    Yields:
        Each in a few words: a fact with its value, a row of evidence, or a sentence.
    """
    table = measurement.table_apex
    for fact in found.facts:
        for row in fact.evidence:
            if not _measured(row, measurement):
                yield f"{row.region} {row.direction} {row.magnitude:.2f} px ({row.phase})"
        late = any(row.phase == OFFSET_PHASE for row in fact.evidence)
        if fact.about not in REGION_NAMES or late or "offset" in found.query.moments:
            continue
        i = REGION_NAMES.index(fact.about)
        right = {
            "moved": bool(table.active[i]) == fact.value,
            "direction": table.direction(i) == fact.value,
            "px": isinstance(fact.value, float)
            and abs(float(table.magnitude[i]) - fact.value) <= _ROUNDED,
        }
        if not right.get(fact.what, True):
            yield f"{fact.about} {fact.what} {fact.value}"
    if "offset" in found.query.moments or _late(found):
        return  # sentences are checked by the onset phase
    for sentence in check_sentences(text, table):
        if sentence.verdict == "unsupported":
            yield sentence.text.strip()


def _late(found: Findings) -> bool:
    return any(row.phase == OFFSET_PHASE for fact in found.facts for row in fact.evidence)


def _measured(row: Evidence, measurement: Measurement) -> bool:
    late = row.phase == OFFSET_PHASE
    table = measurement.table_offset if late else measurement.table_apex
    i = REGION_NAMES.index(row.region)
    same = abs(float(table.magnitude[i]) - row.magnitude) <= _ROUNDED
    return bool(table.active[i]) and same and table.direction(i) == row.direction
