"""What queries are executed on: a clip's measurement and, once it is needed, its explanation."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from deft_llm import facs
from deft_llm.clip import OFFSET_PHASE, Evidence, Explanation
from deft_llm.deft.inference import wording
from deft_llm.motion.evidence import measured_evidence
from deft_llm.motion.measure import Measurement
from deft_llm.motion.regions import REGION_NAMES, RegionTable
from deft_llm.queries.findings import Fact
from deft_llm.queries.query import PARTS, SIDES, Query

_ALONG = 0.38  # cosine of 67.5 degrees: "up" covers "up and outward", as the octants do


@dataclass(frozen=True)
class Sight:
    """A measured clip and what the model says of it.

    Attributes:
        measurement: The measurement.
        explain: Gives the explanation; called at most once, by the kinds that need it.
    """

    measurement: Measurement
    explain: Callable[[], Explanation]

    @cached_property
    def explanation(self) -> Explanation:
        """The model's explanation."""
        return self.explain()

    @cached_property
    def rows(self) -> tuple[Evidence, ...]:
        """Regions that moved from onset to apex, the largest motion first."""
        return _ordered(measured_evidence(self.measurement.table_apex))

    @cached_property
    def back(self) -> tuple[Evidence, ...]:
        """Regions that moved from apex to offset, the largest motion first."""
        rows = measured_evidence(self.measurement.table_offset)
        return _ordered(replace(row, phase=OFFSET_PHASE) for row in rows)

    @property
    def rise(self) -> tuple[int, int]:
        """Frames of onset and apex."""
        return self.measurement.interval.onset, self.measurement.interval.apex

    @property
    def fall(self) -> tuple[int, int]:
        """Frames of apex and offset."""
        return self.measurement.interval.apex, self.measurement.interval.offset

    @property
    def times(self) -> NDArray[np.float64]:
        """Seconds of the frames, the first at 0."""
        stamps = self.measurement.aligned.timestamps
        return stamps - stamps[0]

    def time(self, frame: int) -> float:
        """Seconds of a frame from the start of the clip."""
        return float(self.times[frame])

    def asked_rows(self, query: Query) -> tuple[Evidence, ...]:
        """Rows of the phase and the places that a query names; of its AUs, if it names some."""
        rows = self.back if "offset" in query.moments else self.rows
        if query.aus:
            rows = tuple(row for row in rows if any(explains(number, row) for number in query.aus))
        names = set(places(query))
        return tuple(row for row in rows if row.region in names)

    def table(self, query: Query) -> RegionTable:
        """The table of the phase that a query asks about."""
        late = "offset" in query.moments
        return self.measurement.table_offset if late else self.measurement.table_apex

    def unseen(self, names: Iterable[str]) -> tuple[str, ...]:
        """Those regions that could not be measured."""
        placed = self.measurement.table_apex.placed
        return tuple(name for name in names if not placed[REGION_NAMES.index(name)])

    def goes(self, row: Evidence, way: str) -> bool:
        """Whether a row's motion has a direction such as "up"; "outward" needs a side."""
        late = row.phase == OFFSET_PHASE
        table = self.measurement.table_offset if late else self.measurement.table_apex
        i, side = REGION_NAMES.index(row.region), facs.REGIONS[row.region].side
        if side == "middle" and way in {"inward", "outward"}:
            return False
        along = direction(way, side)
        length = float(table.magnitude[i])
        # The chain also refuses a region that did not move at all.
        return float(table.u[i]) * along[0] + float(table.v[i]) * along[1] >= _ALONG * length > 0


def direction(way: str, side: facs.Side) -> tuple[float, float]:
    """Unit vector (right, down) in the image of a way; left is the subject's, so image right."""
    if way in SIDES:
        return (1.0 if way == "left" else -1.0), 0.0
    return facs.direction_vector(way, side)


def places(query: Query) -> tuple[str, ...]:
    """Names of the regions that a query is about; all if it names none."""
    sides = query.sides or SIDES
    parts = query.regions or PARTS
    # "The left" without a part leaves out the midline; a part such as "chin" takes it in.
    middle = bool(query.regions) or not query.sides
    return tuple(
        name
        for part in parts
        for name in ([f"{side} {part}" for side in sides] if part not in facs.REGIONS else [part])
        if part not in facs.REGIONS or middle
    )


def explains(number: int, row: Evidence) -> bool:
    """Whether the motion of a region fits an AU."""
    return number in facs.ACTION_UNITS and wording.explains(str(number), row)


def moved_fact(row: Evidence, frames: tuple[int, int]) -> Fact:
    """A region that moved."""
    return Fact(row.region, "moved", True, evidence=(row,), frames=frames)


def each_side(query: Query, found: Iterable[str]) -> bool:
    """Whether some regions satisfy a query: one on each side if it requires both, else any."""
    regions = list(found)
    if len(query.sides) < len(SIDES):
        return bool(regions)
    return all(any(name.startswith(side) for name in regions) for side in SIDES)


def _ordered(rows: Iterable[Evidence]) -> tuple[Evidence, ...]:
    return tuple(sorted(rows, key=lambda row: -row.magnitude))
