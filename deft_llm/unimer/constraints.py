"""The dual constraint: a region's motion is put into words only where flow and AU label agree.

Constraint 1 (flow): the region's motion stands out from its own noise floor, z >= ``AGREED_Z``.
Constraint 2 (label): a coded AU moves that region, in a direction within ``MAX_ANGLE``.
DEFT-LLM (arXiv 2511.10948) states both constraints and no numbers; those here are ours, set on
simulated clips where the truth is known. A region that an AU label singles out, moving the way
the label says, needs less proof than one of twenty that nothing speaks for: with z >= 1.5 the
statements are right in 96 % and tell 61 % of the regions that truly moved 0.1 px (z >= 1: 95 % and
65 %; z >= 3: 98 % and 46 %; 300 clips). "Active" (``regions.ACTIVE_Z``, 3) judges a region by
itself.
A clip is spoken of at all only when one agreed region reaches ``SEEN_Z``.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from deft_llm import facs
from deft_llm.clip import Evidence
from deft_llm.motion.regions import ACTIVE_PX, ACTIVE_Z, RegionTable

AGREED_Z = 1.5
SEEN_Z = 2.0
MAX_ANGLE = 60.0  # degrees between the measured and an expected direction
STRENGTHS: tuple[tuple[float, str], ...] = ((0.4, "slight"), (1.0, "moderate"))
STRONGEST = "marked"


def strength(magnitude: float) -> str:
    """A word for a magnitude in canonical pixels: slight < 0.4 <= moderate < 1.0 <= marked."""
    return next((word for limit, word in STRENGTHS if magnitude < limit), STRONGEST)


def explaining_aus(region: str, u: float, v: float, aus: Iterable[str]) -> tuple[str, ...]:
    """The coded AUs that a motion agrees with.

    Args:
        region: A key of ``facs.REGIONS``.
        u: Motion to the image's right.
        v: Motion down.
        aus: Coded AUs, such as ``("1", "L12")``.

    Returns:
        The codes that expect this region to move in a direction within ``MAX_ANGLE``.
    """
    side = facs.REGIONS[region].side
    length = math.hypot(u, v)
    if length == 0.0:
        return ()
    agreeing = []
    for code in aus:
        for direction in facs.expected_directions(code).get(region, ()):
            du, dv = facs.direction_vector(direction, side)
            if (u * du + v * dv) / length >= math.cos(math.radians(MAX_ANGLE)):
                agreeing.append(code)
                break
    return tuple(agreeing)


def measured_evidence(
    table: RegionTable, aus: Iterable[str], least_z: float = ACTIVE_Z
) -> tuple[Evidence, ...]:
    """The regions that moved, with the AUs that explain it (none: unexplained motion).

    Args:
        table: Region motion from onset to apex.
        aus: AU codes that may explain it.
        least_z: Motion over noise floor from which a region counts.

    Returns:
        In the order of ``facs.REGIONS``.
    """
    aus = tuple(aus)
    rows = []
    for i, (name, region) in enumerate(facs.REGIONS.items()):
        if table.z[i] < least_z or table.magnitude[i] < ACTIVE_PX:
            continue
        u, v = float(table.u[i]), float(table.v[i])
        rows.append(
            Evidence(
                region=name,
                direction=facs.direction_name(u, v, region.side),
                magnitude=math.hypot(u, v),
                z=float(table.z[i]),
                aus=explaining_aus(name, u, v, aus),
            )
        )
    return tuple(rows)


def agreed_evidence(table: RegionTable, aus: Iterable[str]) -> tuple[Evidence, ...]:
    """The motion on which flow and AU label agree: what may be put into words.

    Empty when none of it reaches ``SEEN_Z``: then nothing was seen.
    """
    rows = tuple(row for row in measured_evidence(table, aus, AGREED_Z) if row.aus)
    return rows if any(row.z >= SEEN_Z for row in rows) else ()
