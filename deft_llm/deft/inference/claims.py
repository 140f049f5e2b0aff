"""Check answers against the measured motion, sentence by sentence, before they are shown.

A sentence makes a claim if it states that a region moves in a direction; so does an evidence row
of a structured answer. The rule is our own choice: a claim is supported if the region is active
(``RegionTable.active``) and moved within ``CLAIM_ANGLE`` of the stated direction.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from deft_llm import facs
from deft_llm.answers import coarse_label, stated_claims, stated_labels
from deft_llm.clip import Evidence
from deft_llm.errors import UserError
from deft_llm.motion.evidence import measured_evidence
from deft_llm.motion.regions import REGION_NAMES, RegionTable

CLAIM_ANGLE = 45.0  # degrees between a claim and the measured motion
Verdict = Literal["supported", "unsupported", "no claim"]

# An evidence row of a structured answer, and the start of its rationale, which separates sentences
# but is no text itself.
_ROW = re.compile(r'\{"region": "[^"]*", "direction": "[^"]*"[^{}]*\}')
_RATIONALE = re.compile(r'[\]},\s]*"rationale": "')
# A point inside a number ("0.5 px") ends no sentence.
_SENTENCE = re.compile(r'\S[^\n]*?(?:[.!?](?=\s|"|$)|(?=\n)|$)')


def supported(table: RegionTable, region: str, direction: str) -> bool:
    """Whether the measured motion of a region supports a claim.

    The region must be active, and its motion within ``CLAIM_ANGLE`` of the direction.
    """
    claimed = _claimed(region, direction)
    if claimed is None:
        return False
    i, du, dv = claimed
    # u right, v down, as direction_vector has them; the product is the motion along the claim.
    length = float(table.magnitude[i])
    along = float(table.u[i]) * du + float(table.v[i]) * dv
    agrees = along >= math.cos(math.radians(CLAIM_ANGLE)) * length
    return bool(table.active[i] and agrees)


def claim_chance(table: RegionTable, region: str, direction: str) -> float:
    """How likely a claim is true, given what was measured and its noise, 0..1.

    ``supported`` is a verdict for readers, which noise alone must not pass; this is for choosing
    between answers. It is the chance that the region moved at all (``moved_chance``) times the
    chance that its true motion, Gaussian about the measured one, lies within ``CLAIM_ANGLE`` of the
    direction. Our own choice; 0 for a region or direction that does not exist.
    """
    claimed = _claimed(region, direction)
    if claimed is None or not table.placed[claimed[0]]:
        return 0.0
    i, du, dv = claimed
    u, v, noise = (float(column[i]) for column in (table.u, table.v, table.noise))
    # Both borders of the wedge are 45 degrees away, so they are at right angles to each other and
    # the motion across one says nothing about the other: the chances multiply.
    along, across = u * du + v * dv, u * dv - v * du
    inside = (_below(s / (math.sqrt(2) * noise)) for s in (along + across, along - across))
    return moved_chance(float(table.z[i])) * math.prod(inside)


def moved_chance(z: float) -> float:
    """Share of the regions at rest whose noise stays below z: the Rayleigh distribution."""
    return -math.expm1(-z * z / 2)


def _below(x: float) -> float:
    """The standard normal distribution."""
    return 0.5 * math.erfc(-x / math.sqrt(2))


def _claimed(region: str, direction: str) -> tuple[int, float, float] | None:
    """Index of the region, and the direction in image axes; None if either does not exist."""
    if region not in REGION_NAMES:
        return None
    try:
        du, dv = facs.direction_vector(direction, facs.REGIONS[region].side)
    # No direction of that name on the region's side.
    except UserError:
        return None
    return REGION_NAMES.index(region), du, dv


def contradicting(text: str, label: str) -> tuple[str, ...]:
    """Emotions and classes stated in a text that contradict the predicted class.

    Args:
        text: Prose.
        label: One of ``COARSE_LABELS``.
    """
    return tuple(name for name in stated_labels(text) if coarse_label(name) != label)


@dataclass(frozen=True)
class CheckedClaim:
    """One claim that a region moves in a direction.

    Attributes:
        region: As stated.
        direction: As stated.
        evidence: The measured motion of the region, with the measured direction; None if the
            region did not move.
        supported: Whether the measured motion supports the claim.
    """

    region: str
    direction: str
    evidence: Evidence | None
    supported: bool


@dataclass(frozen=True)
class CheckedSentence:
    """One sentence of an answer, or one evidence row of a structured answer.

    Attributes:
        start: Index of its first character in the answer.
        end: Index after its last character.
        text: ``answer[start:end]``.
        claims: Its claims about motion.
    """

    start: int
    end: int
    text: str
    claims: tuple[CheckedClaim, ...]

    @property
    def verdict(self) -> Verdict:
        """Verdict on the sentence; "unsupported" if any of its claims is unsupported."""
        if not self.claims:
            return "no claim"
        return "supported" if all(claim.supported for claim in self.claims) else "unsupported"


def check_sentences(text: str, table: RegionTable) -> tuple[CheckedSentence, ...]:
    """Check every sentence of an answer against the measured motion.

    While an answer grows, only the result for its last sentence can change.

    Args:
        text: Prose or a structured answer, complete or truncated.
        table: Region motion from onset to apex of the clip.

    Returns:
        Sentences in text order; spans do not overlap, and the text between them has no words.
    """
    measured = {row.region: row for row in measured_evidence(table)}
    sentences = []
    for start, end in sentence_spans(text):
        part = text[start:end]
        claims = tuple(
            CheckedClaim(region, way, measured.get(region), supported(table, region, way))
            for region, way in _claims(part)
        )
        sentences.append(CheckedSentence(start, end, part, claims))
    return tuple(sentences)


def _claims(part: str) -> tuple[tuple[str, str], ...]:
    if not _ROW.fullmatch(part):
        return stated_claims(part)
    try:
        row = json.loads(part)
        claim = row["region"], row["direction"]
    except (ValueError, KeyError):
        return ()
    return (claim,) if all(isinstance(name, str) for name in claim) else ()


def sentence_spans(text: str) -> Iterator[tuple[int, int]]:
    """Spans of an answer's evidence rows and sentences, in order."""
    borders = [(m.start(), m.end(), True) for m in _ROW.finditer(text)]
    borders += [(m.start(), m.end(), False) for m in _RATIONALE.finditer(text)]
    at = 0
    # A border at the very end closes the last sentence.
    for start, end, is_row in [*sorted(borders), (len(text), len(text), False)]:
        # Sentences end at a row's border, so that JSON and prose never share a span.
        for match in _SENTENCE.finditer(text, at, max(at, start)):
            if re.search(r"\w", match.group()):
                yield match.span()
        if is_row:
            yield start, end
        at = max(at, end)
