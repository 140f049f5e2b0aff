"""What queries are executed on: a clip's measurement and, once it is needed, its explanation.

Between what surely moved (``RegionTable.active``) and what did not lies motion that is likely: it
is told as such, and answers a yes/no question with "probably".
"""

from __future__ import annotations

import math
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
from deft_llm.motion.onset_apex import BLINK_PX, BLINK_TIME, blinks, lids_down
from deft_llm.motion.regions import ACTIVE_Z, REGION_NAMES, RegionTable
from deft_llm.queries.findings import Fact
from deft_llm.queries.query import PARTS, SIDES, Query

#: Noise floors and px from which a region that is not surely active has likely moved, and the share
#: of the largest motion below which a region may only follow the skin beside it. On simulated clips
#: of both heads these raised the balanced accuracy of "did it move?" from .81 to .85.
LIKELY_Z, LIKELY_PX = 2.0, 0.2
FAINT_SHARE = 0.5
ALONG = 0.38  # cosine of 67.5 degrees: "up" covers "up and outward", as the octants do


@dataclass(frozen=True)
class Weighed:
    """What the model's heads make of all that they see of a clip, also where little moved.

    Attributes:
        classes: Class -> probability, those of ``answers.COARSE_LABELS``.
        emotions: Emotion -> probability by the emotion head.
        aus: AU number -> its probability on the subject's left and right.
    """

    classes: dict[str, float]
    emotions: dict[str, float]
    aus: dict[int, tuple[float, float]]

    @property
    def label(self) -> str:
        """The likeliest class."""
        return max(self.classes, key=self.classes.__getitem__)


@dataclass(frozen=True)
class Sight:
    """A measured clip and what the model says of it.

    Attributes:
        measurement: The measurement.
        explain: Gives the explanation; called at most once, by the kinds that need it.
        weigh: Gives what the heads make of the clip; None if it is not judged.
    """

    measurement: Measurement
    explain: Callable[[], Explanation]
    weigh: Callable[[], Weighed | None] = lambda: None

    @cached_property
    def explanation(self) -> Explanation:
        """The model's explanation."""
        return self.explain()

    @cached_property
    def weighed(self) -> Weighed | None:
        """What the heads make of the clip."""
        return self.weigh()

    @cached_property
    def rows(self) -> tuple[Evidence, ...]:
        """Regions that moved from onset to apex, the largest motion first."""
        return _ordered(measured_evidence(self.measurement.table_apex))

    @cached_property
    def likely(self) -> tuple[Evidence, ...]:
        """Regions that likely moved from onset to apex, but not surely."""
        table = self.measurement.table_apex
        near = ~table.active & (table.z >= LIKELY_Z) & (table.magnitude >= LIKELY_PX)
        # Where nothing surely moved, nothing is said to have moved: one of twenty regions reaches
        # such a z by chance.
        if not self.rows:
            return ()
        return _ordered(
            Evidence(
                REGION_NAMES[i],
                table.direction(i),
                float(table.magnitude[i]),
                float(table.z[i]),
            )
            for i in np.flatnonzero(near).tolist()
        )

    def faint(self, row: Evidence) -> bool:
        """Whether so little moved beside what else did that it may be the skin next to that."""
        least = min(LIKELY_PX, FAINT_SHARE * self.rows[0].magnitude)
        return row.phase != OFFSET_PHASE and row.magnitude < least

    @cached_property
    def closings(self) -> tuple[tuple[str, int, int], ...] | None:
        """Closings of both eyes ("eyes") and of one: first frame, and the one after the last.

        None if the motion was not followed over the clip.
        """
        trajectory = self.measurement.trajectory
        if trajectory is None:
            return None
        visible = np.flatnonzero(self.measurement.aligned.present)
        times = self.times[visible]
        down = {
            side: trajectory.regions[visible, REGION_NAMES.index(f"{side} upper lid"), 1]
            for side in SIDES
        }
        # v points down. The lid that came down less: both have to close in a blink.
        both = _closings(np.minimum(down["left"], down["right"]), times)
        # Through the last frame inside, because b may be one past the end.
        found = [("eyes", int(visible[a]), int(visible[b - 1]) + 1) for a, b in both]
        taken = [range(a, b) for a, b in both]
        for side, path in down.items():
            for a, b in _closings(path, times):
                # Eyes that blink together do not wink one by one.
                if not any(set(range(a, b)) & set(span) for span in taken):
                    found.append((f"{side} eye", int(visible[a]), int(visible[b - 1]) + 1))
        return tuple(found)

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

    @property
    def seconds(self) -> float:
        """Length of the clip: its last frame is shown for a step as well."""
        steps = np.diff(self.times)
        return float(self.times[-1]) + (float(np.median(steps)) if steps.size else 0.0)

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
        return float(table.u[i]) * along[0] + float(table.v[i]) * along[1] >= ALONG * length > 0


def _closings(lids: NDArray[np.float32], times: NDArray[np.float64]) -> list[tuple[int, int]]:
    """Blinks of a lid, and a closing that the end of the clip cuts off: first frame, and one past.

    A blink that is cut off did happen, though nobody sees the eyes open again; how long it lasts is
    not known, so it has to come down as fast as a blink does.
    """
    found = blinks(lids, times)
    down = lids_down(lids, times)
    open_ = np.flatnonzero(down < BLINK_PX / 4)
    first = int(open_[-1]) + 1 if open_.size else len(down)
    if 0 < first < len(down) and down[first:].max() >= BLINK_PX:
        closed = first + int(np.argmax(down[first:] >= BLINK_PX))
        if times[closed] - times[first - 1] <= BLINK_TIME / 2:
            found.append((first, len(down)))
    return found


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


def likely_fact(row: Evidence) -> Fact:
    """A region that likely moved; it has no evidence, as it is not surely above its noise."""
    return Fact(row.region, "likely", round(row.magnitude, 3), z_below(row.z))


def z_below(z: float) -> str:
    """The z of a region that does not count as moved, in words."""
    return f"z {shown_z(z):.1f}"


def shown_z(z: float) -> float:
    """A z as it is told: rounded, but 2.96 is not 3.0, from which a region counts as moved."""
    shown = round(z, 1)
    return math.floor(10 * z) / 10 if z < ACTIVE_Z <= shown else shown


def each_side(query: Query, found: Iterable[str]) -> bool:
    """Whether some regions satisfy a query: one on each side if it requires both, else any."""
    regions = list(found)
    if len(query.sides) < len(SIDES):
        return bool(regions)
    return all(any(name.startswith(side) for name in regions) for side in SIDES)


def _ordered(rows: Iterable[Evidence]) -> tuple[Evidence, ...]:
    return tuple(sorted(rows, key=lambda row: -row.magnitude))
