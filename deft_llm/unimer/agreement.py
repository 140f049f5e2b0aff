"""The probability that a region's motion is the one a coded AU expects: candidates and score.

DEFT-LLM (arXiv 2511.10948) requires optical flow and AU label to agree and gives no numbers; all of
this is our own choice. A candidate is a region that a coded AU moves and whose onset-phase motion
is roughly in the expected direction. Its score is the probability that the statement "this region
moves in that direction" is true, from a logistic regression on:

- motion over noise floor, of the onset phase alone and of both phases (true motion returns after
  the apex, so ``(onset - offset) / 2`` measures it twice and averages the noise of the frames at
  rest);
- the angle to the expected direction, of the onset phase and of both phases;
- whether the offset phase opposes the onset phase;
- the motion of the other side's region, if the AU is coded on both sides;
- the motion of the AU's other regions.

``agreement.json`` stores the weights, the threshold and the recipe that they were fitted with
(``instruction_data/calibrate.py``). Dimensions: P phases (onset, offset), R regions, F columns of
``data/features.py``.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deft_llm import facs
from deft_llm.data.features import REGION_COLUMNS
from deft_llm.motion.evidence import expected_vectors, explaining_aus
from deft_llm.motion.regions import ACTIVE_PX

Floats = NDArray[np.float64]

# The stated direction is the measured unit vector plus PULL times the expected one. On the clips of
# the fit, false candidates are regions that did move but got a wrong direction; 1.0 instead of 0.6
# raised recall at a precision of 0.97 from 0.66 to 0.71.
PULL = 1.0
AGREEMENT_FILE = Path(__file__).with_name("agreement.json")
AGREEMENT_FEATURES: tuple[str, ...] = (
    *("bias", "z_onset_phase", "z_both", "size", "coherence", "angle_onset_phase", "angle_both"),
    *("opposed", "opposed_z", "twin", "twin_z", "au", "au_elsewhere"),
    *("upper_lid", "lower_lid", "lips", "lids_down"),
)
_NAMES = list(facs.REGIONS)
_INDEX = {name: i for i, name in enumerate(_NAMES)}
_TWIN = [_INDEX[facs.mirror_region(name)] for name in _NAMES]
_UPPER_LIDS = [i for i, name in enumerate(_NAMES) if name.endswith("upper lid")]
_MAGNITUDE, _COHERENCE = REGION_COLUMNS.index("magnitude"), REGION_COLUMNS.index("coherence")
_NOISE = REGION_COLUMNS.index("noise")
_LARGEST_Z = 8.0  # motion is certain by then; larger values would only dominate sums


@dataclass(frozen=True)
class Candidate:
    """A statement about one region, not yet judged.

    Attributes:
        region: Index in ``facs.REGIONS``.
        direction: Direction to state, from the flow of both phases and the expected direction.
        aus: Coded AUs that expect it.
        features: (K,) values of ``AGREEMENT_FEATURES``.
    """

    region: int
    direction: str
    aus: tuple[str, ...]
    features: Floats


@dataclass(frozen=True)
class AgreementWeights:
    """The fitted logistic regression.

    Attributes:
        mean: (K,) feature means in the fit.
        scale: (K,) standard deviations.
        weights: (K,) weights of the standardised features.
        threshold: Minimum probability for a statement to be written.
        recipe: Data that it was fitted on.
    """

    mean: Floats
    scale: Floats
    weights: Floats
    threshold: float
    recipe: Mapping[str, Any]

    def probability(self, features: Floats) -> Floats:
        """Probability (...) that statements with these features (..., K) are true."""
        logits = ((features - self.mean) / self.scale) @ self.weights
        return np.asarray(1.0 / (1.0 + np.exp(-logits)), np.float64)

    def to_json(self) -> str:
        """The content of ``agreement.json``."""
        rows = {
            name: [round(float(x), 5) for x in (m, s, w)]
            for name, m, s, w in zip(
                AGREEMENT_FEATURES, self.mean, self.scale, self.weights, strict=True
            )
        }
        return json.dumps(
            {
                "recipe": dict(self.recipe),
                "threshold": round(self.threshold, 4),
                "mean_scale_weight": rows,
            },
            indent=1,
        )

    @classmethod
    def from_json(cls, text: str) -> AgreementWeights:
        """Read ``agreement.json``."""
        values = json.loads(text)
        # Looked up by name, so the order in the file does not matter.
        table = np.array([values["mean_scale_weight"][name] for name in AGREEMENT_FEATURES], float)
        return cls(table[:, 0], table[:, 1], table[:, 2], values["threshold"], values["recipe"])


@lru_cache(maxsize=1)
def fitted() -> AgreementWeights:
    """The weights that come with the project."""
    return AgreementWeights.from_json(AGREEMENT_FILE.read_text(encoding="utf-8"))


def candidates(regions: NDArray[Any], aus: Iterable[str]) -> list[Candidate]:
    """Statements that flow and coding both support, before any threshold.

    Args:
        regions: (P, R, F) region tables of a measured clip, onset and offset phase.
        aus: Coded AUs.

    Returns:
        In the order of ``facs.REGIONS``.
    """
    codes = tuple(aus)
    # Tables are stored as float16, which is too coarse to compute with.
    table = np.asarray(regions, np.float64)
    onset_phase, offset_phase = table[0, :, :2], table[1, :, :2]
    # The motion comes back after the apex: the offset phase counts with the opposite sign.
    both = (onset_phase - offset_phase) / 2
    # Both phases have the same floors, so those of the onset phase serve for all z below.
    floor = np.maximum(table[0, :, _NOISE], 1e-3)
    pulls = {code: _pulls(code, onset_phase, floor) for code in codes}
    found = []
    for i, name in enumerate(_NAMES):
        size = float(table[0, i, _MAGNITUDE])
        if size < ACTIVE_PX:
            continue
        explaining = explaining_aus(name, float(onset_phase[i, 0]), float(onset_phase[i, 1]), codes)
        if not explaining:
            continue
        expected = _nearest(explaining, i, onset_phase[i])
        features = _features(i, table, both, floor, expected, explaining, pulls)
        # A sum of unit vectors: how far the region moved has no influence on its direction.
        u, v = _unit(both[i]) + PULL * expected
        direction = facs.direction_name(float(u), float(v), facs.REGIONS[name].side)
        found.append(Candidate(i, direction, explaining, features))
    return found


def _unit(vector: Floats) -> Floats:
    return np.asarray(vector / max(math.hypot(*vector), 1e-6), np.float64)


def _cosine(a: Floats, b: Floats) -> float:
    return float(_unit(a) @ _unit(b))


def _nearest(codes: Iterable[str], region: int, moved: Floats) -> Floats:
    """The expected unit vector of a region, over all codes, that is nearest to its motion."""
    vectors = np.concatenate([expected_vectors(code)[region] for code in codes])
    return np.asarray(vectors[int((vectors @ moved).argmax())], np.float64)


def _pulls(code: str, moved: Floats, floor: Floats) -> dict[int, float]:
    """Motion of each of an AU's regions along the expected direction, in noise floors, -8..8."""
    return {
        i: float(np.clip((vectors @ moved[i]).max() / floor[i], -_LARGEST_Z, _LARGEST_Z))
        for i, vectors in expected_vectors(code).items()
    }


def _pooled(pulls: Mapping[int, float], without: int | None = None) -> float:
    """Z of an AU over its regions (Stouffer), on a signed log scale."""
    values = [z for i, z in pulls.items() if i != without]
    z = sum(values) / math.sqrt(len(values)) if values else 0.0
    # Signed log: large sums are compressed, and motion against the AU stays negative.
    return math.copysign(math.log1p(abs(z)), z)


def _features(
    i: int,
    table: Floats,
    both: Floats,
    floor: Floats,
    expected: Floats,
    codes: tuple[str, ...],
    pulls: Mapping[str, Mapping[int, float]],
) -> Floats:
    onset_phase, offset_phase, twin = table[0, :, :2], table[1, :, :2], _TWIN[i]
    z = math.hypot(*onset_phase[i]) / floor[i]
    # 1 where the region goes straight back after the apex, -1 where it moves on.
    opposed = -_cosine(onset_phase[i], offset_phase[i])
    # A code without L or R acts on both sides; midline regions have no twin.
    paired = twin != i and any(code[0] not in "LR" for code in codes)
    # Flip u: the motion of the other side as its mirror image.
    twin_cosine = _cosine(onset_phase[twin] * (-1.0, 1.0), onset_phase[i]) if paired else 0.0
    twin_z = min(math.hypot(*onset_phase[twin]) / floor[twin], _LARGEST_Z)
    name = _NAMES[i]
    lid = name.endswith("lid")
    # A blink moves both upper lids together, so lid regions also get their common vertical motion.
    lids = abs(float(np.mean(onset_phase[_UPPER_LIDS, 1] / floor[_UPPER_LIDS])))
    return np.array(
        [
            1.0,
            # The small constants keep the logarithms finite for a region at rest.
            math.log(z + 0.1),
            math.log(math.hypot(*both[i]) / floor[i] + 0.1),
            math.log(table[0, i, _MAGNITUDE] + 0.02),
            table[0, i, _COHERENCE],
            _cosine(onset_phase[i], expected),
            _cosine(both[i], expected),
            opposed,
            opposed * math.log1p(z),
            twin_cosine,
            twin_cosine * math.log1p(twin_z),
            max(_pooled(pulls[code]) for code in codes),
            # Without the region itself: support from the rest of the face.
            max(_pooled(pulls[code], i) for code in codes),
            float(name.endswith("upper lid")),
            float(name.endswith("lower lid")),
            float(name.endswith("lip")),
            math.log1p(lids) if lid else 0.0,
        ]
    )
