"""Queries about when: moments, durations, order, blinks, and the motion of the head."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from deft_llm.clip import Interval
from deft_llm.deft.inference import motion_queries, reading_queries
from deft_llm.deft.inference.motion_queries import STILL, parts_of, still
from deft_llm.deft.inference.sight import Sight, places
from deft_llm.motion.regions import REGION_NAMES
from deft_llm.motion.remarks import not_returned
from deft_llm.motion.timing import half_rise
from deft_llm.queries.findings import Fact, Findings
from deft_llm.queries.query import MOMENTS, Query

#: Canonical px from which a head is said to have moved; our own choice: half of the least drift of
#: the simulated clips is noise of the landmarks.
HEAD_PX = 1.0
#: A head nods, or shakes, if it goes so many times further that way than across it; our choice.
_ONE_WAY = 2.0
#: Share of the way to the apex from which a movement is close to it; our choice.
_CLOSE = 0.9
_UNFOLLOWED = "the motion was measured between given frames only, not over the clip"


def moved(query: Query, sight: Sight) -> Findings:
    """Which regions moved; of an AU or emotion that is not there, that it is not."""
    if (query.aus or query.classes) and (absent := _absent(query, sight)) is not None:
        # It was not held, nor did it come back.
        return replace(absent, polarity=False if query.polar else None)
    return motion_queries.moved(query, sight)


def when(query: Query, sight: Sight) -> Findings:
    """Times of the moments, or whether the first of them is before or after a time."""
    if query.of == "others":
        return _others(query, sight)
    if (absent := _absent(query, sight)) is not None:
        return absent
    names = query.moments or MOMENTS
    facts = tuple(_moment(name, sight.measurement.interval, sight) for name in names)
    if not query.polar:
        return Findings(query, facts=(*facts, *_rises(query, sight)))
    return Findings(query, _within(query, facts[0].value), facts[:1])


def _others(query: Query, sight: Sight) -> Findings:
    """The apexes of the movements besides the one that is measured, with all their frames."""
    if sight.measurement.trajectory is None:
        return Findings(query, untold=_UNFOLLOWED)
    found = sorted(sight.measurement.others, key=lambda each: each.onset)
    facts = tuple(
        Fact("other movement", "time", round(sight.time(each.apex), 3), "s", (), _frames(each))
        for each in found
    )
    return Findings(query, facts=facts or (Fact("other movements", "number", 0),))


def _frames(interval: Interval) -> tuple[int, int, int]:
    return interval.onset, interval.apex, interval.offset


def _absent(query: Query, sight: Sight) -> Findings | None:
    """What is found instead of a time where nothing of what is asked about moved; else None."""
    if not sight.rows:
        return _nothing_moved(query)
    place = Query("moved", regions=query.regions, sides=query.sides)
    if (query.regions or query.sides) and not sight.asked_rows(place):
        return replace(_nothing_moved(query), facts=still(place, sight))
    read = None
    if query.aus:
        asked = Query("au", True, aus=query.aus, sides=query.sides)
        read = reading_queries.action_units(asked, sight)
    elif query.classes:
        read = reading_queries.emotion(Query("emotion", True, classes=query.classes), sight)
    if read is None or read.polarity is not False:
        return None
    return replace(_nothing_moved(query), facts=read.facts)


def _nothing_moved(query: Query) -> Findings:
    # Nothing is true of a movement that was not there, but that it was not so.
    return Findings(query, query.negated if query.polar else None, (STILL,))


def _rises(query: Query, sight: Sight) -> tuple[Fact, ...]:
    """When the parts asked about had gone half of their way, for whoever asks when they started."""
    asked = (query.regions or query.sides) and "onset" in (query.moments or MOMENTS)
    if not asked or sight.measurement.trajectory is None:
        return ()
    known, names = _half_rises(sight), places(query)
    return tuple(
        Fact(row.region, "half of the way", round(known[row.region][0], 3), "s", (row,), sight.rise)
        for row in sight.rows
        if row.region in known and row.region in names
    )


def _half_rises(sight: Sight) -> dict[str, tuple[float, float]]:
    """Seconds at which regions had gone half of their way to the apex, and their tolerance."""
    measured = sight.measurement
    assert measured.trajectory is not None
    seconds, tolerance = half_rise(
        measured.trajectory, measured.interval, sight.times, measured.noise
    )
    moved = {row.region for row in sight.rows if not sight.faint(row)}
    return {
        name: (float(seconds[i]), float(tolerance[i]))
        for i, name in enumerate(REGION_NAMES)
        if name in moved and not math.isnan(seconds[i])
    }


def _moment(name: str, interval: Interval, sight: Sight) -> Fact:
    frame = getattr(interval, name)
    return Fact(name, "time", round(sight.time(frame), 3), "s", frames=(frame,))


def how_long(query: Query, sight: Sight) -> Findings:
    """Duration of the movement or the clip, or between two moments, or whether within a bound."""
    if query.of == "clip":
        fact = Fact("clip", "duration", round(sight.seconds, 3), "s")
        return Findings(query, _within(query, fact.value) if query.polar else None, (fact,))
    if query.of == "plateau":
        return _plateau(query, sight)
    if query.of != "speed" and (absent := _absent(query, sight)) is not None:
        return absent
    if not sight.rows:
        return _nothing_moved(query)
    interval = sight.measurement.interval
    # Of one moment, it is the phase that it begins or ends: "is the onset abrupt?".
    asked = query.moments
    if len(asked) == 1:
        asked = _PHASES[asked == ("offset",)]
    spans = [asked] if asked else [("onset", "offset"), *_PHASES]
    facts = tuple(_span(span, interval, sight) for span in spans)
    if query.of == "speed":
        return _speeds(query, sight, facts)
    held = _unfinished(sight) if "offset" in spans[0] else ()
    # At least so long: only what lies below that is known.
    known = not held or (query.bound is not None and float(facts[0].value or 0) > query.bound[1])
    polarity = _within(query, facts[0].value) if query.polar and known else None
    return Findings(query, polarity, (*facts, *held))


def _unfinished(sight: Sight) -> tuple[Fact, ...]:
    """That a movement goes on after its offset, so that it may last longer than it is said to."""
    measured = sight.measurement
    held = not_returned(measured.returned, measured.interval, measured.aligned)
    return (Fact("movement", "remark", held),) if held else ()


def _plateau(query: Query, sight: Sight) -> Findings:
    """How long the movement stays close to its apex."""
    trajectory, interval = sight.measurement.trajectory, sight.measurement.interval
    if trajectory is None:
        return Findings(query, untold=_UNFOLLOWED)
    if not sight.rows:
        return _nothing_moved(query)
    index = [REGION_NAMES.index(row.region) for row in sight.rows]
    path = trajectory.regions[:, index] - trajectory.regions[interval.onset, index]
    reach = path[interval.apex]
    # Progress towards the apex of all that moved: 0 at the onset and 1 at the apex.
    share = np.einsum("trc,rc->t", path, reach) / max(float((reach * reach).sum()), 1e-9)
    low = np.flatnonzero(~(share >= _CLOSE))  # NaN without a face
    first = int(max((i for i in low if i < interval.apex), default=-1)) + 1
    last = int(min((i for i in low if i > interval.apex), default=len(share))) - 1
    seconds = round(sight.time(last) - sight.time(first), 3)
    return Findings(query, facts=(Fact("plateau", "duration", seconds, "s", frames=(first, last)),))


def _speeds(query: Query, sight: Sight, spans: tuple[Fact, ...]) -> Findings:
    """Mean speeds from onset to apex of the regions asked about, or of the one that moved most."""
    seconds = sight.time(sight.rise[1]) - sight.time(sight.rise[0])
    rising = replace(query, moments=())
    rows = sight.asked_rows(rising)
    if not rows or seconds <= 0:
        return Findings(query, facts=still(rising, sight) if not rows else spans)
    # Those of one pair or place are told, of a whole face the fastest.
    shown = rows if query.regions or query.sides else rows[:1]
    speeds = tuple(
        Fact(row.region, "speed", round(row.magnitude / seconds, 1), "px/s", (row,), sight.rise)
        for row in shown
    )
    if query.polar:
        return Findings(query, _within(query, speeds[0].value), speeds[:1])
    return Findings(query, facts=(*spans, *speeds))


_PHASES = [("onset", "apex"), ("apex", "offset")]


def _span(span: tuple[str, ...], interval: Interval, sight: Sight) -> Fact:
    first, last = getattr(interval, span[0]), getattr(interval, span[-1])
    seconds = round(sight.time(last) - sight.time(first), 3)
    about = "movement" if set(span) == {"onset", "offset"} else f"{span[0]} to {span[-1]}"
    return Fact(about, "duration", seconds, "s", frames=(first, last))


def _within(query: Query, value: object) -> bool:
    kind, limit = query.bound or ("more", 0.0)
    assert isinstance(value, float)
    return (value > limit if kind == "more" else value <= limit) != query.negated


def order(query: Query, sight: Sight) -> Findings:
    """What moved first or last, whether regions moved before others, or all together."""
    if sight.measurement.trajectory is None:
        return Findings(query, untold=_UNFOLLOWED)
    if not sight.rows:
        # "not" without regions to compare asks whether all moved together: nothing did.
        compared = query.rank or parts_of(query.than)
        return _nothing_moved(query if compared else replace(query, negated=False))
    known, moving = _half_rises(sight), {row.region: row for row in sight.rows}
    place = Query("moved", regions=(*query.regions, *parts_of(query.than)))
    asked = places(place)
    compared = query.rank or parts_of(query.than) or query.sides
    if query.polar and query.regions and not (compared or moving.keys() & set(asked)):
        return Findings(query, False, still(place, sight))  # neither together nor one by one
    timed = {name: known[name] for name in sorted(known, key=lambda n: known[n][0])}
    # If none of those asked about has a time, all that moved are shown.
    shown = {name: value for name, value in timed.items() if name in asked} or timed
    shown = shown if query.regions else _telling(shown)
    facts = tuple(
        Fact(name, "time", round(at, 3), "s", (moving[name],), sight.rise)
        for name, (at, _) in shown.items()
    )
    if not facts:
        return Findings(query, untold="what moved is too small to tell when it did")
    if parts_of(query.than):
        return _before(query, known, facts)
    together = _together(list(_telling(shown).values()))
    if together and len(shown) > 1:
        facts = (Fact("movement", "order", "together", frames=sight.rise), *facts)
    if not query.polar:
        return Findings(query, facts=facts if query.rank != "last" or together else facts[::-1])
    if len(query.sides) == 1 and not query.rank:
        return _ahead_of_other_side(query, known, facts)
    if query.rank and query.regions:
        ends = list(timed)
        edge = timed[ends[-1 if query.rank == "last" else 0]]
        near = {n for n, (at, tol) in timed.items() if abs(at - edge[0]) <= max(tol, edge[1])}
        return Findings(query, bool(near & set(places(query))) != query.negated, facts)
    return Findings(query, together == query.negated, facts)


def _ahead_of_other_side(
    query: Query, known: dict[str, tuple[float, float]], facts: tuple[Fact, ...]
) -> Findings:
    """Whether the first region of a side moved before the first one of the other."""
    other = "right" if query.sides == ("left",) else "left"
    names = [places(replace(query, sides=(side,))) for side in (query.sides[0], other)]
    sided = [
        [known[n] for n in group if n in known and n.startswith(("left", "right"))]
        for group in names
    ]
    if not all(sided):
        return Findings(query, untold="one side did not move enough to tell when", facts=facts)
    mine, others = map(min, sided)
    return Findings(query, (others[0] - mine[0] > max(mine[1], others[1])) != query.negated, facts)


def _telling(timed: dict[str, tuple[float, float]]) -> dict[str, tuple[float, float]]:
    """Regions that tell the order: not lids beside others, as they follow blinks and the gaze."""
    others = {name: value for name, value in timed.items() if not name.endswith("lid")}
    return others or timed


def _together(timed: list[tuple[float, float]]) -> bool:
    """Whether some regions moved at once, as far as their times (s, tolerance) can tell.

    The tolerance is of two regions. The first and the last of many differ by more when all move at
    once: by the quantiles of the studentized range, about 0.28 more for each doubling.
    """
    first, last = min(timed), max(timed)
    wider = 1.0 + 0.28 * math.log2(max(len(timed), 2) / 2)
    return last[0] - first[0] <= wider * max(first[1], last[1])


def _before(
    query: Query, known: dict[str, tuple[float, float]], facts: tuple[Fact, ...]
) -> Findings:
    groups = [
        places(Query("moved", regions=parts)) for parts in (query.regions, parts_of(query.than))
    ]
    firsts = [min((known[n] for n in names if n in known), default=None) for names in groups]
    if firsts[0] is None or firsts[1] is None:
        return Findings(query, untold="one of them did not move enough to tell when", facts=facts)
    gap = firsts[1][0] - firsts[0][0]
    together = abs(gap) <= max(firsts[0][1], firsts[1][1])
    if together:
        facts = (Fact("movement", "order", "together"), *facts)
    before = gap > 0 and not together
    return Findings(query, before != query.negated if query.polar else None, facts)


def blink(query: Query, sight: Sight) -> Findings:
    """Whether and when the eyes blinked, or one of them winked."""
    lids = sight.closings
    if lids is None:
        return Findings(query, untold=_UNFOLLOWED)
    facts = tuple(
        Fact(about, "blink", round(sight.time(first), 3), "s", frames=(first, stop - 1))
        for about, first, stop in lids
        if (about == "eyes") != (query.of == "wink")
    )
    polarity = (bool(facts) != query.negated) if query.polar else None
    return Findings(query, polarity, facts or (Fact("eyes", "blinks", 0),))


def head_motion(query: Query, sight: Sight) -> Findings:
    """How far the head moved over the clip, or whether it did."""
    px = float(sight.measurement.head_motion)
    if math.isnan(px):
        return Findings(query, untold=_UNFOLLOWED)
    facts = [Fact("head", "px", round(px, 2), "px")]
    if not math.isnan(shift := float(sight.measurement.head_shift)):
        frames = (sight.measurement.interval.onset, sight.measurement.interval.offset)
        facts.append(Fact("head", "px during the movement", round(shift, 2), "px", frames=frames))
    if query.of and (path := _head_spans(sight)):
        across, along = path
        facts += [
            Fact("head", "px across", round(across, 2), "px"),
            Fact("head", "px up and down", round(along, 2), "px"),
        ]
        mine, other = (along, across) if query.of == "nod" else (across, along)
        so = mine >= HEAD_PX and mine >= _ONE_WAY * other
        # A head that goes both ways may do either.
        told = so or mine < HEAD_PX or other >= _ONE_WAY * mine
        return Findings(
            query, (so != query.negated) if query.polar and told else None, tuple(facts)
        )
    kind, limit = query.bound or ("more", HEAD_PX)
    yes = px >= limit if kind == "more" else px < limit
    return Findings(query, (yes != query.negated) if query.polar else None, tuple(facts))


def _head_spans(sight: Sight) -> tuple[float, float] | None:
    """How far the head went to the sides and up and down, px."""
    trajectory = sight.measurement.trajectory
    if trajectory is None:
        return None
    across, along = np.nanmax(trajectory.head, axis=0) - np.nanmin(trajectory.head, axis=0)
    return float(across), float(along)
