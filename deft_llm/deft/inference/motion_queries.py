"""Queries about what moved, where to, how far, and on which side more."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from deft_llm import facs
from deft_llm.clip import Evidence
from deft_llm.deft.inference import moment_queries
from deft_llm.deft.inference.sight import (
    Sight,
    each_side,
    explains,
    likely_fact,
    moved_fact,
    places,
    shown_z,
    z_below,
)
from deft_llm.media.canonical import INTEROCULAR
from deft_llm.motion.regions import ACTIVE_Z, REGION_NAMES
from deft_llm.motion.remarks import RETURNED, blind
from deft_llm.queries.findings import Fact, Findings
from deft_llm.queries.query import PARTS, SIDES, Query, expand, grouped

#: One side moves more if its motion is so many times the other's, and beyond the noise; our choice.
UNEVEN = 1.3
_SURE = 3.0  # noise floors
STILL = Fact("movement", "moved", False)
_NO_SCALE = "a video does not tell how large the face is, so motion is told in pixels"
_FEW = 3  # still regions that are named one by one


def moved(query: Query, sight: Sight) -> Findings:
    """Which regions moved, or stayed still, or whether these did."""
    names, late = places(query), "offset" in query.moments
    if query.at:
        return moment_queries.at_time(query, sight)
    if query.of == "likely":
        return _nearly(query, sight)
    if late and query.polar:
        return _returned(query, sight)
    if (unseen := sight.unseen(names)) and len(unseen) == len(names):
        return Findings(query, untold=_not_placed(unseen))
    rows = sight.asked_rows(query)
    clear = [row for row in rows if not sight.faint(row)]
    likely = () if late else tuple(row for row in sight.likely if row.region in names)
    blinked = () if late else _blinked(names, sight)
    # Faint motion is told only where there is no clearer one.
    shown = clear or ([] if likely else rows)
    facts = tuple(moved_fact(row, sight.fall if late else sight.rise) for row in shown)
    facts += tuple(map(likely_fact, likely))
    if query.polar and rows and not clear and not likely:
        facts += (Fact("movement", "faint", True),)
    moving = [row.region for row in (*clear, *likely)]
    restful = [name for name in names if name not in {row.region for row in rows} | set(moving)]
    if query.negated and not query.polar:
        return _restful(restful, query, sight)
    if query.regions and not blinked:
        few = not facts or len(restful) <= _FEW
        told = restful if few else _wholly(restful, query)
        facts += tuple(_at_rest(name, query, sight) for name in told)
    yes = each_side(query, (*moving, *(name for name in names if blinked and _is_upper_lid(name))))
    if query.of == "all":
        yes = not restful
    elif query.of == "only":
        others = [row for row in sight.rows if row.region not in names]
        facts += tuple(moved_fact(row, sight.rise) for row in others)
        yes = yes and not others
    polarity = (yes != query.negated) if query.polar else None
    if yes and not query.of and not query.negated and _wholly(restful, query):
        polarity = None  # of one place it is true, of the other it is not
    return Findings(query, polarity, (*(facts or still(query, sight)), *blinked))


def _wholly(restful: list[str], query: Query) -> list[str]:
    """The regions at rest of that one of two places asked about that does not move at all."""
    groups = [places(replace(query, regions=expand([name]))) for name in grouped(query.regions)]
    still = [names for names in groups if set(names) <= set(restful)]
    return [*still[0]] if len(groups) == 2 and len(still) == 1 else []


def _restful(names: list[str], query: Query, sight: Sight) -> Findings:
    """Which of these regions stay at rest; of those that cannot be measured, nothing is known."""
    table = sight.table(query)
    known = table.placed & ~blind(table)
    facts = tuple(Fact(name, "moved", False) for name in names if known[REGION_NAMES.index(name)])
    hidden = [name for name in names if not known[REGION_NAMES.index(name)]]
    if hidden:
        untold = f"nothing can be told of the {', the '.join(hidden)}"
    else:
        untold = "" if facts else "no region is known to stay at rest"
    return Findings(query, facts=facts, untold=untold)


def _nearly(query: Query, sight: Sight) -> Findings:
    """Regions that likely moved but do not count as moved, or else the one nearest to it."""
    names = places(query)
    near = tuple(row for row in sight.likely if row.region in names)
    if near:
        return Findings(query, facts=tuple(map(likely_fact, near)))
    table, moving = sight.table(query), {row.region for row in sight.rows}
    rest = [name for name in names if name not in moving and name not in sight.unseen((name,))]
    if not rest:
        return Findings(query, facts=(Fact("regions below the threshold", "number", 0),))
    best = max(rest, key=lambda name: float(table.z[REGION_NAMES.index(name)]))
    return Findings(query, facts=(_at_rest(best, query, sight),))


def _is_upper_lid(name: str) -> bool:
    return name.endswith("upper lid")


def _blinked(names: tuple[str, ...], sight: Sight) -> tuple[Fact, ...]:
    """Blinks, for whoever asks about the lids or the whole face: they are over before the apex."""
    if not any(map(_is_upper_lid, names)):
        return ()
    return tuple(
        Fact(about, "blink", round(sight.time(first), 3), "s", frames=(first, stop - 1))
        for about, first, stop in sight.closings or ()
        if about == "eyes"
    )


def _at_rest(name: str, query: Query, sight: Sight) -> Fact:
    z = float(sight.table(query).z[REGION_NAMES.index(name)])
    return Fact(name, "moved", False, unit=z_below(z))


def _returned(query: Query, sight: Sight) -> Findings:
    """Whether the motion came back after the apex."""
    rise, fall = sight.measurement.table_apex, sight.measurement.table_offset
    names = [row.region for row in sight.rows if row.region in places(query)]
    if not names:
        # Nothing came back; but nothing is held, cut off or still there at the end either.
        return Findings(query, None if query.negated else False, still(query, sight))
    index = [REGION_NAMES.index(name) for name in names]
    out = np.stack([rise.u, rise.v])[:, index]
    back = np.stack([fall.u, fall.v])[:, index]
    # Minus: what comes back points the other way. 1 means all of it, beyond 1 further than rest.
    share = -float((out * back).sum() / (out * out).sum())
    rows = tuple(row for row in sight.back if row.region in names)
    fact = Fact("movement", "returned", round(share, 3), "", rows, sight.fall)
    return Findings(query, (share >= RETURNED) != query.negated, (fact,))


def direction(query: Query, sight: Sight) -> Findings:
    """Where to the regions moved, or whether in some direction."""
    rows = sight.asked_rows(query)
    frames = sight.fall if "offset" in query.moments else sight.rise
    going = [row for row in rows if any(sight.goes(row, way) for way in query.directions)]
    named = bool(query.directions) and not query.regions and not query.aus
    shown = going if named and going else rows
    facts = tuple(
        Fact(row.region, "direction", row.direction, evidence=(row,), frames=frames)
        for row in shown
    )
    if not query.polar and query.directions and rows and not going:
        nowhere = f"nothing of it moves {' or '.join(query.directions)}"
        return Findings(query, facts=facts if query.regions else (), untold=nowhere)
    if not query.polar:
        return Findings(query, facts=facts or still(query, sight))
    against = [row for row in rows if row not in going and _opposed(row, query, sight)]
    # A mouth whose corners rise further than its lower lip falls goes up; something of a whole face
    # goes up whatever else falls.
    more = named or sum(row.magnitude for row in going) >= sum(row.magnitude for row in against)
    likely = () if "offset" in query.moments else _likely_going(query, sight)
    yes = more and each_side(query, (row.region for row in (*going, *likely)))
    facts = (*facts, *map(likely_fact, likely))
    return Findings(query, yes != query.negated, facts or still(query, sight))


def _likely_going(query: Query, sight: Sight) -> tuple[Evidence, ...]:
    names = places(query)
    return tuple(
        row
        for row in sight.likely
        if row.region in names
        and any(sight.goes(row, way) for way in query.directions)
        and (not query.aus or any(explains(number, row) for number in query.aus))
    )


_OPPOSITE = {"up": "down", "inward": "outward", "left": "right"}
_OPPOSITE |= {other: way for way, other in _OPPOSITE.items()}


def _opposed(row: Evidence, query: Query, sight: Sight) -> bool:
    return any(sight.goes(row, _OPPOSITE[way]) for way in query.directions)


def still(query: Query, sight: Sight) -> tuple[Fact, ...]:
    """What to say where nothing of what is asked about moved."""
    if not sight.rows:
        return (STILL,)
    if query.aus:
        return tuple(Fact(str(number), "fits", False) for number in query.aus)
    return tuple(_at_rest(name, query, sight) for name in places(query))


def magnitude(query: Query, sight: Sight) -> Findings:
    """How far the regions moved, or whether further than a bound."""
    if query.of in {"z", "noise"}:
        return _in_noise_floors(query, sight)
    rows = sight.asked_rows(query)
    frames = sight.fall if "offset" in query.moments else sight.rise
    facts = tuple(
        Fact(row.region, "px", round(row.magnitude, 3), "px", (row,), frames) for row in rows
    )
    if query.of == "mm":
        shares = tuple(_of_eyes(row, frames) for row in rows[:1])
        return Findings(query, facts=(*facts, *shares) or still(query, sight), untold=_NO_SCALE)
    if rows and query.bound and not query.polar:
        kind, limit = query.bound
        within = tuple(fact for fact, row in zip(facts, rows, strict=True) if _within(row, query))
        untold = "" if within else f"nothing that moves goes {kind} than {limit:g} px"
        return Findings(query, facts=within, untold=untold)
    if not query.polar:
        near = [row for row in sight.likely if row.region in places(query)] if not facts else []
        facts += tuple(Fact(row.region, "px", round(row.magnitude, 3), "px") for row in near)
        facts += tuple(map(likely_fact, near))
        return Findings(query, facts=facts or still(query, sight))
    yes = bool(rows) and _within(rows[0], query)
    return Findings(query, yes != query.negated, facts[:2] or still(query, sight))


def _within(row: Evidence, query: Query) -> bool:
    """Whether a region keeps to the limit of a query."""
    kind, limit = query.bound or ("more", 0.0)
    return row.magnitude >= limit if kind == "more" else row.magnitude < limit


def _in_noise_floors(query: Query, sight: Sight) -> Findings:
    """Motion, noise floor and z of the regions asked about, the largest z, or floor, first."""
    table, names = sight.table(query), places(query)
    if (unseen := sight.unseen(names)) and len(unseen) == len(names):
        return Findings(query, untold=_not_placed(unseen))
    rows = {row.region: row for row in sight.asked_rows(query)}
    index = [REGION_NAMES.index(name) for name in names if name not in unseen]
    column = table.noise if query.of == "noise" else table.z
    index = sorted(index, key=lambda i: -float(column[i]))[: 1 if query.rank else None]
    facts: list[Fact] = []
    for i in index:
        name = REGION_NAMES[i]
        evidence = (rows[name],) if name in rows else ()
        facts += [
            Fact(name, "px", round(float(table.magnitude[i]), 3), "px", evidence),
            Fact(name, "noise floor", round(float(table.noise[i]), 3), "px"),
            Fact(name, "z", shown_z(float(table.z[i]))),
        ]
    if not query.polar:
        return Findings(query, facts=tuple(facts))
    kind, limit = query.bound or ("more", ACTIVE_Z)
    # As it is told, so that no "z 3.0" is above 3.
    told = next(fact for fact in facts if fact.what == ("z" if query.of == "z" else "noise floor"))
    largest = float(told.value or 0.0)
    beyond = largest > limit if kind == "more" else largest < limit
    return Findings(query, beyond != query.negated, tuple(facts[:3]))


def _of_eyes(row: Evidence, frames: tuple[int, int]) -> Fact:
    share = round(row.magnitude / INTEROCULAR, 3)
    return Fact(row.region, "share of the distance of the eyes", share, "", (row,), frames)


def side_difference(query: Query, sight: Sight) -> Findings:
    """Which side moved more, or whether one does, or this one."""
    rows = [row for row in sight.rows if row.region in set(places(_both(query)))]
    if query.aus:
        rows = [row for row in rows if any(explains(number, row) for number in query.aus)]
    parts = list(dict.fromkeys(row.region.partition(" ")[2] for row in rows if _sided(row)))
    if not parts:
        middle = tuple(moved_fact(row, sight.rise) for row in rows) or still(_both(query), sight)
        # What is asked about, or all that moved, may have no sides that could differ.
        single = query.regions or [row.region for row in rows]
        if single and all(name in facs.REGIONS for name in single):
            lies = f"{' and the '.join(single)} {'lies' if len(single) == 1 else 'lie'}"
            untold = f"the {lies} in the middle of the face: there are no sides to compare"
            return Findings(query, facts=middle, untold=untold)
        return Findings(query, query.negated if query.polar else None, middle)
    table = sight.measurement.table_apex
    index = {side: [REGION_NAMES.index(f"{side} {part}") for part in parts] for side in SIDES}
    px = {side: float(np.mean(table.magnitude[index[side]])) for side in SIDES}
    # Error of the mean over the parts, whose noises are independent.
    noise = [float(np.linalg.norm(table.noise[index[side]])) / len(parts) for side in SIDES]
    low, high = sorted(px.values())
    uneven = high >= UNEVEN * max(low, 1e-6) and high - low > _SURE * math.hypot(*noise)
    side = max(px, key=px.__getitem__) if uneven else "neither"
    facts = (
        Fact("movement", "stronger side", side, evidence=tuple(rows), frames=sight.rise),
        *(Fact(f"{name} side", "px", round(px[name], 3), "px") for name in SIDES),
    )
    if not query.polar:
        return Findings(query, facts=facts)
    yes = side in query.sides if len(query.sides) == 1 else uneven
    return Findings(query, yes != query.negated, facts)


def _both(query: Query) -> Query:
    return Query(query.kind, regions=query.regions, aus=query.aus)


def _sided(row: Evidence) -> bool:
    return facs.REGIONS[row.region].side != "middle"


def compare(query: Query, sight: Sight) -> Findings:
    """Which region moved most or least, or whether one moved more than another."""
    if behind := parts_of(query.than):
        pair = [_largest(parts, sight) for parts in (query.regions, behind)]
        facts = tuple(_px(row, sight) for row in pair if row is not None)
        px = [row.magnitude if row is not None else 0.0 for row in pair]
        larger = (px[0] > px[1]) != query.negated
        return Findings(query, larger if query.polar else None, facts or still(query, sight))
    rows = sight.rows if query.polar else sight.asked_rows(query)
    if not rows:
        return Findings(query, query.negated if query.polar else None, still(query, sight))
    row = rows[-1] if query.rank == "least" else rows[0]
    if query.rank == "second":
        first = {row.region, facs.mirror_region(row.region)}
        row = next((other for other in rows if other.region not in first), rows[-1])
    most = (row.region in places(query)) != query.negated if query.polar else None
    twin = next((other for other in rows if other.region == facs.mirror_region(row.region)), None)
    pair_rows = [row, *([twin] if twin is not None and twin is not row else [])]
    return Findings(query, most, tuple(_px(each, sight) for each in pair_rows))


def parts_of(names: tuple[str, ...]) -> tuple[str, ...]:
    """The parts of the face among what a query compares with."""
    return tuple(name for name in names if name in PARTS)


def _largest(parts: tuple[str, ...], sight: Sight) -> Evidence | None:
    names = places(Query("moved", regions=parts))
    return next((row for row in sight.rows if row.region in names), None)


def _px(row: Evidence, sight: Sight) -> Fact:
    return Fact(row.region, "px", round(row.magnitude, 3), "px", (row,), sight.rise)


def _not_placed(names: tuple[str, ...]) -> str:
    return f"the landmarks are too uncertain to measure the {', the '.join(names)}"
