"""How surely a region's motion is the one that a coded AU asks for: candidates and their score.

DEFT-LLM (arXiv 2511.10948) asks that optical flow and AU label agree and gives no numbers; all of
this is our own choice. A candidate is a region that a coded AU moves, moving roughly its way from
onset to apex. Its score is the probability that the statement "this region moves in that
direction" is true, by a logistic regression on what speaks for it in place, direction and time:

- motion over noise floor, of the onset phase alone and of both phases (true motion comes back after
  the apex, so ``(onset - offset) / 2`` measures it twice and averages the noise of the frames at
  rest);
- the angle to the expected direction, of the onset phase and of both phases;
- whether the offset phase opposes the onset phase;
- the other side's region, where the AU is coded on both sides;
- what the AU's other regions do.

``agreement.json`` holds the weights and the threshold with the recipe that made them
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

# Weight of the expected direction beside the measured one in the direction that is named: one
# vote each. On the clips that fit the weights, false candidates are regions that did move, named
# with a wrong direction; 1.0 instead of 0.6 took recall at a precision of 0.97 from 0.66 to 0.71.
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
_LARGEST_Z = 8.0  # beyond, a larger z says no more


@dataclass(frozen=True)
class Candidate:
    """A statement that may be written.

    Attributes:
        region: Index in ``facs.REGIONS``.
        direction: The direction that flow of both phases and label agree on.
        aus: Coded AUs that expect it.
        features: (K,) values of ``AGREEMENT_FEATURES``.
    """

    region: int
    direction: str
    aus: tuple[str, ...]
    features: Floats


@dataclass(frozen=True)
class AgreementWeights:
    """A fitted score.

    Attributes:
        mean: (K,) of the features in the fit.
        scale: (K,) standard deviations.
        weights: (K,) of the standardised features.
        threshold: Least probability of a statement that is written.
        recipe: What it was fitted on.
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
        table = np.array([values["mean_scale_weight"][name] for name in AGREEMENT_FEATURES], float)
        return cls(table[:, 0], table[:, 1], table[:, 2], values["threshold"], values["recipe"])


@lru_cache(maxsize=1)
def fitted() -> AgreementWeights:
    """The weights that come with the project."""
    return AgreementWeights.from_json(AGREEMENT_FILE.read_text(encoding="utf-8"))


def candidates(regions: NDArray[Any], aus: Iterable[str]) -> list[Candidate]:
    """The statements that flow and label both speak for, surely or not.

    Args:
        regions: (P, R, F) region tables of a measured clip, onset and offset phase.
        aus: Coded AUs.

    Returns:
        In the order of ``facs.REGIONS``.
    """
    codes = tuple(aus)
    table = np.asarray(regions, np.float64)
    onset_phase, offset_phase = table[0, :, :2], table[1, :, :2]
    both = (onset_phase - offset_phase) / 2
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
        u, v = _unit(both[i]) + PULL * expected
        direction = facs.direction_name(float(u), float(v), facs.REGIONS[name].side)
        found.append(Candidate(i, direction, explaining, features))
    return found


def _unit(vector: Floats) -> Floats:
    return np.asarray(vector / max(math.hypot(*vector), 1e-6), np.float64)


def _cosine(a: Floats, b: Floats) -> float:
    return float(_unit(a) @ _unit(b))


def _nearest(codes: Iterable[str], region: int, moved: Floats) -> Floats:
    """Of the directions that the codes give a region, the unit vector nearest to its motion."""
    vectors = np.concatenate([expected_vectors(code)[region] for code in codes])
    return np.asarray(vectors[int((vectors @ moved).argmax())], np.float64)


def _pulls(code: str, moved: Floats, floor: Floats) -> dict[int, float]:
    """Motion of every region of an AU along its direction, in noise floors, at most 8."""
    return {
        i: float(np.clip((vectors @ moved[i]).max() / floor[i], -_LARGEST_Z, _LARGEST_Z))
        for i, vectors in expected_vectors(code).items()
    }


def _pooled(pulls: Mapping[int, float], without: int | None = None) -> float:
    """Z of an AU over its regions (Stouffer), on a signed log scale."""
    values = [z for i, z in pulls.items() if i != without]
    z = sum(values) / math.sqrt(len(values)) if values else 0.0
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
    opposed = -_cosine(onset_phase[i], offset_phase[i])
    paired = twin != i and any(code[0] not in "LR" for code in codes)
    twin_cosine = _cosine(onset_phase[twin] * (-1.0, 1.0), onset_phase[i]) if paired else 0.0
    twin_z = min(math.hypot(*onset_phase[twin]) / floor[twin], _LARGEST_Z)
    name = _NAMES[i]
    lid = name.endswith("lid")
    lids = abs(float(np.mean(onset_phase[_UPPER_LIDS, 1] / floor[_UPPER_LIDS])))
    return np.array(
        [
            1.0,
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
            max(_pooled(pulls[code], i) for code in codes),
            float(name.endswith("upper lid")),
            float(name.endswith("lower lid")),
            float(name.endswith("lip")),
            math.log1p(lids) if lid else 0.0,
        ]
    )
