"""Regions that moved, and the AUs that explain their motion.

An AU explains a region's motion if one of its expected directions for that region
(``facs.expected_directions``) is within ``MAX_ANGLE`` of the measured one. The angle and the
smallest z of a claim are our own choice.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from deft_llm import facs
from deft_llm.clip import Evidence
from deft_llm.motion.regions import ACTIVE_PX, ACTIVE_Z, RegionTable

Floats = NDArray[np.float64]
MAX_ANGLE = 60.0  # degrees between the measured and an expected direction
AGREED_Z = 1.0  # smallest z of motion that can support a model's claim
_INDEX = {name: i for i, name in enumerate(facs.REGIONS)}


@lru_cache(maxsize=4096)
def expected_vectors(code: str) -> dict[int, Floats]:
    """Region index -> unit vectors (D, 2) of the directions that the AU expects there."""
    return {
        _INDEX[region]: np.array(
            [facs.direction_vector(name, facs.REGIONS[region].side) for name in names]
        )
        for region, names in facs.expected_directions(code).items()
    }


def explaining_aus(region: str, u: float, v: float, aus: Iterable[str]) -> tuple[str, ...]:
    """The coded AUs that agree with a motion.

    Args:
        region: A key of ``facs.REGIONS``.
        u: Motion to the image's right.
        v: Motion down.
        aus: Coded AUs, such as ``("1", "L12")``.

    Returns:
        The codes that expect this region to move in a direction within ``MAX_ANGLE``.
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


def measured_evidence(
    table: RegionTable, aus: Iterable[str], least_z: float = ACTIVE_Z
) -> tuple[Evidence, ...]:
    """The regions that moved, with the AUs that explain their motion (possibly none).

    Args:
        table: Region motion from onset to apex.
        aus: AU codes that may explain it.
        least_z: Smallest motion over noise floor at which a region counts.

    Returns:
        In the order of ``facs.REGIONS``.
    """
    return moved_regions(table.u, table.v, table.magnitude, table.z, aus, least_z)


def moved_regions(
    u: NDArray[np.floating],
    v: NDArray[np.floating],
    magnitude: NDArray[np.floating],
    z: NDArray[np.floating],
    aus: Iterable[str],
    least_z: float = ACTIVE_Z,
) -> tuple[Evidence, ...]:
    """``measured_evidence`` from the columns of a region table, each (R,)."""
    rows, codes = [], tuple(aus)  # a tuple: an iterator would be used up by the first region
    for i, (name, region) in enumerate(facs.REGIONS.items()):
        if z[i] < least_z or magnitude[i] < ACTIVE_PX:
            continue
        x, y = float(u[i]), float(v[i])
        rows.append(
            Evidence(
                region=name,
                direction=facs.direction_name(x, y, region.side),
                magnitude=math.hypot(x, y),
                z=float(z[i]),
                aus=explaining_aus(name, x, y, codes),
            )
        )
    return tuple(rows)
