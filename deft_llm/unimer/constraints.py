"""The dual constraint: a region's motion is stated only where flow and AU label agree.

Place, direction and time have to agree: a coded AU moves the region, the onset-phase motion has the
expected direction (within ``MAX_ANGLE``), and the offset phase supports it. A fitted probability
(``unimer/agreement.py``) scores the agreement; statements below its threshold are not written. The
rest is stored separately and never stated as fact: coded AUs without visible motion ("label only"),
and regions that are active without any AU ("unexplained", for hard negatives).

"Active" (``regions.ACTIVE_Z``, 3) judges a region by its motion alone, without a label. A clip gets
statements only if at least one agreed region reaches ``SEEN_Z``.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from deft_llm import facs
from deft_llm.clip import OFFSET_PHASE, ONSET_PHASE, Evidence
from deft_llm.data.features import REGION_COLUMNS
from deft_llm.motion.evidence import MAX_ANGLE, moved_regions
from deft_llm.motion.regions import ACTIVE_PX, ACTIVE_Z
from deft_llm.unimer.agreement import AgreementWeights, candidates, fitted

SEEN_Z = 2.0
RETURN_Z = 1.0  # minimum z for a statement about the offset phase
Level = Literal["A", "B", "C", "label-only"]
# Least score of each level; our choice.
_LEVELS: tuple[tuple[float, Level], ...] = ((0.8, "A"), (0.5, "B"), (0.0, "C"))
_NAMES = list(facs.REGIONS)
_MAGNITUDE, _Z = REGION_COLUMNS.index("magnitude"), REGION_COLUMNS.index("z")


@dataclass(frozen=True)
class Agreement:
    """The statements of a clip on which flow and coding agree, and the rest.

    Attributes:
        evidence: Accepted statements about the onset phase, in the order of ``facs.REGIONS``.
        returns: Accepted statements about the offset phase of the same regions.
        label_only: Coded AUs without any accepted motion.
        unexplained: Active regions that no coded AU explains.
        score: 0..1; the mean of the share of coded AUs with accepted motion and the share of the
            active motion (z squared) that accepted statements explain.
        level: "A" from 0.8, "B" from 0.5, "C" below; "label-only" without any statement.
    """

    evidence: tuple[Evidence, ...]
    returns: tuple[Evidence, ...]
    label_only: tuple[str, ...]
    unexplained: tuple[Evidence, ...]
    score: float
    level: Level


def judge(
    regions: NDArray[Any],
    aus: Iterable[str],
    source: str = "",
    weights: AgreementWeights | None = None,
    least: float | None = None,
) -> Agreement:
    """Apply the dual constraint to one clip.

    Args:
        regions: (P, R, F) region tables of the clip: onset to apex, apex to offset.
        aus: Coded AUs.
        source: Source of the coding, stored with the evidence.
        weights: Fitted score; None for the project's own.
        least: Minimum probability of a statement; None for the threshold of the weights.

    Returns:
        The agreement.
    """
    weights = weights or fitted()
    least = weights.threshold if least is None else least
    codes, table = tuple(aus), np.asarray(regions, np.float64)
    evidence = _agreed(table, codes, source, weights, least)
    unexplained = tuple(row for row in _moved(table[0], codes) if not row.aus)
    accepted = {code for row in evidence for code in row.aus}
    label_only = tuple(code for code in codes if code not in accepted)
    score = _score(table[0], evidence, codes, label_only)
    level = next(name for least, name in _LEVELS if score >= least) if evidence else "label-only"
    returns = _returns(table[1], evidence)
    return Agreement(evidence, returns, label_only, unexplained, score, level)


def _agreed(
    table: NDArray[np.float64],
    aus: tuple[str, ...],
    source: str,
    weights: AgreementWeights,
    least: float,
) -> tuple[Evidence, ...]:
    found = candidates(table, aus)
    if not found:
        return ()
    sure = weights.probability(np.stack([c.features for c in found]))
    rows = tuple(
        Evidence(
            region=_NAMES[c.region],
            direction=c.direction,
            magnitude=float(table[0, c.region, _MAGNITUDE]),
            z=float(table[0, c.region, _Z]),
            aus=c.aus,
            phase=ONSET_PHASE,
            source=source,
        )
        for c, p in zip(found, sure, strict=True)
        if p >= least
    )
    # Weak statements are only written together with a clearer one.
    return rows if any(row.z >= SEEN_Z for row in rows) else ()


def _returns(
    offset_phase: NDArray[np.float64], evidence: tuple[Evidence, ...]
) -> tuple[Evidence, ...]:
    """Statements about the offset phase: regions with accepted onset motion that move back."""
    rows = []
    for row in evidence:
        i, side = _NAMES.index(row.region), facs.REGIONS[row.region].side
        u, v, size, z = (float(offset_phase[i, k]) for k in (0, 1, _MAGNITUDE, _Z))
        if z < RETURN_Z or size < ACTIVE_PX:
            continue
        du, dv = facs.direction_vector(row.direction, side)
        # The motion has to be within MAX_ANGLE of the opposite direction: -cos(angle) * length.
        if -(u * du + v * dv) < math.cos(math.radians(MAX_ANGLE)) * size:
            continue
        back = facs.direction_name(-du, -dv, side)
        rows.append(Evidence(row.region, back, size, z, row.aus, OFFSET_PHASE, row.source))
    return tuple(rows)


def _score(
    onset_phase: NDArray[np.float64],
    evidence: tuple[Evidence, ...],
    aus: tuple[str, ...],
    label_only: tuple[str, ...],
) -> float:
    if not evidence:
        return 0.0
    accepted = [_NAMES.index(row.region) for row in evidence]
    active = np.flatnonzero(_active(onset_phase))
    # Squared z: strong motion that no statement explains costs more than noise.
    energy = np.square(onset_phase[:, _Z])
    # Accepted regions count even below the "active" limit.
    counted = sorted({*accepted, *active.tolist()})
    explained = float(energy[accepted].sum() / energy[counted].sum())
    return 0.5 * (1 - len(label_only) / len(aus)) + 0.5 * explained


def _moved(table: NDArray[np.float64], aus: tuple[str, ...]) -> tuple[Evidence, ...]:
    """The active regions of a table (R, F)."""
    return moved_regions(table[:, 0], table[:, 1], _active(table), aus, table[:, _Z])


def _active(table: NDArray[np.float64]) -> NDArray[np.bool_]:
    # Not the stored column: a table is stored as float16, and is judged as it is read.
    return np.asarray((table[:, _Z] >= ACTIVE_Z) & (table[:, _MAGNITUDE] >= ACTIVE_PX))
