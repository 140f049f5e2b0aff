"""How far regions are from rest in one frame: "what happens at frame 20?", "at 0.2 s"."""

from __future__ import annotations

import numpy as np

from deft_llm import facs
from deft_llm.clip import Interval
from deft_llm.deft.inference.sight import ALONG, Sight, direction, each_side, places
from deft_llm.motion.regions import ACTIVE_PX, ACTIVE_Z, REGION_NAMES
from deft_llm.queries.findings import Fact, Findings
from deft_llm.queries.query import Query

_LEAST_REACH = 0.1  # px at the apex, so that no noise is scaled up


def at_time(query: Query, sight: Sight) -> Findings:
    """Regions that are away from rest in a frame, or whether those asked about are.

    Rest is the onset. A region counts from the z at which it counts as moved; one that does not
    move in the clip does not count either, as a single frame is noisier than the whole movement.
    Its path is scaled to end, at the apex, where the fit over all frames has it.
    """
    measured, frame = sight.measurement, _frame(query.at, sight)
    if measured.trajectory is None:
        return Findings(query, untold="the motion was not followed over the clip")
    if frame is None:
        last = len(sight.times) - 1
        untold = f"the clip ends with frame {last}, at {sight.time(last):.3f} s"
        return Findings(query, untold=untold)
    paths = measured.trajectory.regions
    away = paths[frame] - paths[measured.interval.onset]
    reach = np.linalg.norm(paths[measured.interval.apex] - paths[measured.interval.onset], axis=1)
    if np.isnan(away).all():
        return Findings(query, untold=f"no face is seen in frame {frame}")
    moment = Fact("clip", "time", round(sight.time(frame), 3), "s", frames=(frame,))
    phase = Fact("clip", "phase", _phase(frame, measured.interval) if sight.rows else "at rest")
    moving = {row.region for row in (*sight.rows, *sight.back)} & set(places(query))
    found: dict[str, float] = {}
    facts: list[Fact] = []
    for name in moving:
        i = REGION_NAMES.index(name)
        scale = float(measured.table_apex.magnitude[i]) / max(float(reach[i]), _LEAST_REACH)
        u, v = (scale * float(away[i, axis]) for axis in (0, 1))
        side, px = facs.REGIONS[name].side, float(np.hypot(u, v))
        if not px >= max(ACTIVE_Z * float(measured.noise[i]), ACTIVE_PX):  # nor is NaN
            continue
        ways = [direction(way, side) for way in query.directions]
        if ways and not any(u * x + v * y >= ALONG * px for x, y in ways):
            continue
        found[name] = px
        way = facs.direction_name(u, v, side)
        frames = (measured.interval.onset, frame)
        facts.append(Fact(name, "away from rest", round(px, 3), f"px {way}", frames=frames))
    facts.sort(key=lambda fact: -found[fact.about])
    yes = each_side(query, found) != query.negated
    return Findings(query, yes if query.polar else None, (moment, phase, *facts))


def _frame(at: str, sight: Sight) -> int | None:
    """The frame that is asked about; None if the clip does not have it."""
    if at.endswith("f"):
        frame = int(at[:-1])
        return frame if frame < len(sight.times) else None
    seconds, times = float(at[:-1]), sight.times
    if seconds > sight.seconds:
        return None
    return int(np.abs(times - seconds).argmin())


def _phase(frame: int, interval: Interval) -> str:
    if frame < interval.onset:
        return "before the onset"
    if frame > interval.offset:
        return "after the offset"
    if frame == interval.apex:
        return "at the apex"
    return "between onset and apex" if frame < interval.apex else "between apex and offset"
