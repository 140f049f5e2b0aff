"""Regions that moved, and the AUs that explain their motion.

An AU explains a region's motion if one of its expected directions for that region
(``facs.expected_directions``) is within ``MAX_ANGLE`` of the measured one; the angle is our own
choice. Whether a region moved at all is decided in one place, ``RegionTable.active``.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from deft_llm import facs
from deft_llm.clip import Evidence
from deft_llm.motion.regions import RegionTable

Floats = NDArray[np.float64]
MAX_ANGLE = 60.0  # degrees between the measured and an expected direction
#: Canonical px: the largest motion of the simulated micro-expressions. Larger ones are macro.
MACRO_PX = 3.0
#: Share of the regions which an AU moves that have to move like it; our own choice.
_MOST_REGIONS = 0.5
# Every AU that moves the skin, without sides: what a motion may be a sign of.
ALL_AUS: tuple[str, ...] = tuple(
    str(number) for number in facs.ACTION_UNITS if facs.expected_directions(str(number))
)
_NAMES = list(facs.REGIONS)
_INDEX = {name: i for i, name in enumerate(_NAMES)}


@lru_cache(maxsize=4096)
def expected_vectors(code: str) -> dict[int, Floats]:
    """Region index -> unit vectors (D, 2) of the directions that the AU expects there."""
    return {
        _INDEX[region]: np.array(
            [facs.direction_vector(name, facs.REGIONS[region].side) for name in names]
        )
        for region, names in facs.expected_directions(code).items()
    }


def explaining_aus(
    region: str, u: float, v: float, aus: Iterable[str] = ALL_AUS
) -> tuple[str, ...]:
    """The AUs that agree with a motion.

    Args:
        region: A key of ``facs.REGIONS``.
        u: Motion to the image's right.
        v: Motion down.
        aus: AU codes to consider, such as ``("1", "L12")``.

    Returns:
        The codes that expect this region to move in a direction within ``MAX_ANGLE``, in the order
        given.
    """
    length, index = math.hypot(u, v), _INDEX[region]
    if length == 0.0:
        return ()
    # Compare projections instead of angles: one product for all directions, and no arccos.
    least = math.cos(math.radians(MAX_ANGLE)) * length
    moved = np.array([u, v])
    return tuple(
        code
        for code in aus
        if index in expected_vectors(code)
        and float((expected_vectors(code)[index] @ moved).max()) >= least
    )


def measured_evidence(table: RegionTable, aus: Iterable[str] = ALL_AUS) -> tuple[Evidence, ...]:
    """The active regions, with the AUs that explain their motion (possibly none).

    Args:
        table: Region motion from onset to apex.
        aus: AU codes that may explain it.

    Returns:
        In the order of ``facs.REGIONS``.
    """
    return moved_regions(table.u, table.v, table.active, aus, table.z)


def moved_regions(
    u: NDArray[np.floating],
    v: NDArray[np.floating],
    active: NDArray[np.bool_],
    aus: Iterable[str],
    z: NDArray[np.floating],
) -> tuple[Evidence, ...]:
    """``measured_evidence`` from the columns of a region table, each (R,)."""
    rows, codes = [], tuple(aus)  # a tuple: an iterator would be used up by the first region
    for i in np.flatnonzero(active):
        name = _NAMES[i]
        x, y = float(u[i]), float(v[i])
        rows.append(
            Evidence(
                region=name,
                direction=facs.direction_name(x, y, facs.REGIONS[name].side),
                magnitude=math.hypot(x, y),
                z=float(z[i]),
                aus=explaining_aus(name, x, y, codes),
            )
        )
    return tuple(rows)


def moved_aus(table: RegionTable) -> frozenset[str]:
    """The AU codes that an active region speaks for.

    Args:
        table: Region motion from onset to apex.

    Returns:
        Codes with a side ("L12") if a region of that side, or of the midline, moves as that AU
        moves it; without a side ("12") if any region does.
    """
    codes: set[str] = set()
    for row in measured_evidence(table):
        side = facs.REGIONS[row.region].side
        codes.update(row.aus)
        # A region of the midline speaks for both sides.
        codes.update(f"L{code}" for code in row.aus if side != "right")
        codes.update(f"R{code}" for code in row.aus if side != "left")
    return frozenset(codes)


def largest_motion(table: RegionTable) -> float:
    """Largest motion of the active regions, px; 0 if none is active."""
    return float(table.magnitude[table.active].max(initial=0.0))


def fewest_aus(table: RegionTable) -> tuple[str, ...]:
    """The fewest AUs that account for the regions that moved, without asking a model.

    Most motion fits many AUs. Taken is the AU whose regions moved most, if half of all that it
    should move did; then the one that accounts for most of the rest, and so on.

    Args:
        table: Region motion from onset to apex.

    Returns:
        Sorted codes; with a side if the regions of the other side stayed still.
    """
    rows = measured_evidence(table)
    moved: dict[str, set[str]] = {}  # code with its side -> regions that move like it
    for code in ALL_AUS:
        names = {row.region for row in rows if code in row.aus}
        sides = {facs.REGIONS[name].side for name in names} - {"middle"}
        # Motion on one side alone names the AU with that side; the midline has no say.
        coded = f"{sides.pop()[0].upper()}{code}" if len(sides) == 1 else code
        # A one-sided AU is measured by the regions of its own side only.
        if names and len(names) >= _MOST_REGIONS * len(facs.expected_directions(coded)):
            moved[coded] = names
    open_motion = {row.region: row.magnitude for row in rows}
    chosen: list[str] = []
    while moved:
        gain = {c: sum(open_motion.get(name, 0.0) for name in moved[c]) for c in moved}
        best = max(gain, key=gain.__getitem__)
        if gain[best] <= 0.0:
            break
        chosen.append(best)
        for name in moved[best]:
            open_motion.pop(name, None)
    return facs.sort_aus(chosen)
