"""Precision and recall of an explanation's claims against exact motion.

A claim is a region and a direction. It is right if that region truly moved, within 45 degrees of
that direction. Recall is over the regions that truly moved by at least ``MOVED_PX``.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deft_llm import facs
from deft_llm.errors import UserError

MOVED_PX = 0.1  # canonical pixels: motion from which recall counts a region
CLAIMED_PX = 0.02  # canonical pixels: least true motion for a claim to be right
# The angle between neighbouring directions (octants): one octant off is still right.
ANGLE = 45.0  # degrees
_NAMES = list(facs.REGIONS)


@dataclass(frozen=True)
class ClaimCounts:
    """Counts over some clips; sum them before computing precision or recall."""

    claims: int = 0
    right: int = 0
    moved: int = 0
    stated: int = 0

    def __add__(self, other: ClaimCounts) -> ClaimCounts:
        return ClaimCounts(
            self.claims + other.claims,
            self.right + other.right,
            self.moved + other.moved,
            self.stated + other.stated,
        )

    @property
    def precision(self) -> float:
        """Right claims over all claims; NaN without claims."""
        return self.right / self.claims if self.claims else math.nan

    @property
    def recall(self) -> float:
        """Moved regions with a right claim over all moved regions; NaN if nothing moved."""
        return self.stated / self.moved if self.moved else math.nan


def claim_holds(region: str, direction: str, motion: NDArray[np.float32]) -> bool:
    """Whether one claim agrees with the exact motion (R, 2) of the regions, canonical px."""
    if region not in facs.REGIONS:
        return False
    # Image axes: u right, v down. Words such as "outwards" depend on the subject's side.
    u, v = (float(x) for x in motion[_NAMES.index(region)])
    length = math.hypot(u, v)
    try:
        du, dv = facs.direction_vector(direction, facs.REGIONS[region].side)
    except UserError:
        return False
    along = u * du + v * dv
    # "along" is length times the cosine of the angle, so this compares angles without a division.
    return length >= CLAIMED_PX and along >= math.cos(math.radians(ANGLE)) * length


def count_claims(claims: Sequence[tuple[str, str]], motion: NDArray[np.float32]) -> ClaimCounts:
    """Score the claims about one clip.

    Args:
        claims: (region, direction) pairs, from ``answers.stated_claims``.
        motion: (R, 2) exact head-compensated motion, canonical px.
    """
    # Precision counts every claim, recall every region once, however often it is named.
    right = [claim for claim in claims if claim_holds(*claim, motion)]
    moved = {_NAMES[i] for i in np.flatnonzero(np.hypot(*motion.T) >= MOVED_PX)}
    stated = moved & {region for region, _ in right}
    return ClaimCounts(len(claims), len(right), len(moved), len(stated))


def hallucinated(code: str, coded: Iterable[str], motion: NDArray[np.float32]) -> bool:
    """Whether a named AU is unfounded: neither coded nor visible in the exact motion.

    It is visible in the motion if one of its regions truly moved (``MOVED_PX``) within 45
    degrees of a direction that the AU expects there. Naming an AU that looks like the coded one
    is an error of the AU scores, not a hallucination (our definition).

    Args:
        code: The named AU.
        coded: AU codes of the clip; sides are ignored.
        motion: (R, 2) exact head-compensated motion, canonical px.
    """
    if facs.au_number(code) in {facs.au_number(other) for other in coded}:
        return False
    return not any(
        np.hypot(*motion[_NAMES.index(region)]) >= MOVED_PX and claim_holds(region, way, motion)
        for region, ways in facs.expected_directions(code).items()
        for way in ways
    )
