"""Sentences that answers of all kinds are made of: what moved, what rests, when the eyes blink."""

from __future__ import annotations

from collections.abc import Sequence

from deft_llm import facs
from deft_llm.answers import PLURALS, au_name, strength
from deft_llm.clip import OFFSET_PHASE, Evidence
from deft_llm.queries.findings import Fact, Findings
from deft_llm.queries.phrasing import place

_FEW = 2  # regions at rest that are named one by one


def capital(text: str) -> str:
    """A sentence with its first letter large."""
    return text[:1].upper() + text[1:]


def facts_of(facts: Sequence[Fact], what: str) -> list[Fact]:
    """Those of one property."""
    return [fact for fact in facts if fact.what == what]


def motion(rows: Sequence[Evidence]) -> list[str]:
    """One sentence for each region or pair that moved: where to, how strongly, how many px."""
    by_region = {row.region: row for row in rows}
    done = set[str]()
    sentences = []
    for row in rows:
        if row.region in done:
            continue
        twin = by_region.get(facs.mirror_region(row.region))
        paired = twin is not None and twin is not row and twin.direction == row.direction
        group = [row, twin] if paired and twin is not None else [row]
        done.update(each.region for each in group)
        # By name, so that left comes before right, as the px are said.
        sentences.append(_moves(sorted(group, key=lambda each: each.region)))
    return sentences


def _moves(rows: list[Evidence]) -> str:
    row, part = rows[0], rows[0].region.partition(" ")[2]
    late = row.phase == OFFSET_PHASE
    where = f"both {PLURALS.get(part, part + 's')}" if len(rows) > 1 else f"the {row.region}"
    # "goes": a sentence that says "moves" is held against the motion from onset to apex.
    verb = ("go" if late else "move") + ("" if len(rows) > 1 else "es" if late else "s")
    px = " and ".join(f"{each.magnitude:.2f}" for each in rows)
    sides = " left and right" if len(rows) > 1 else ""
    word = strength(sum(each.magnitude for each in rows) / len(rows))
    said = f"{where} {verb} {row.direction}, {word} ({px} px{sides})."
    return f"After the apex {said}" if late else capital(said)


def rows_of(facts: Sequence[Fact]) -> list[Evidence]:
    """The measured motion behind some facts, each region of a phase once."""
    rows = {(row.region, row.phase): row for fact in facts for row in fact.evidence}
    return list(rows.values())


def resting(facts: Sequence[Fact], where: str = "") -> list[str]:
    """What did not move, in words; ``where`` stands for more than a few regions."""
    still = [fact for fact in facts_of(facts, "moved") if fact.value is False]
    if not still:
        return []
    if still[0].about == "movement":
        return ["No region moved above the noise floor."]
    named = [f"the {fact.about}{f' ({fact.unit})' * bool(fact.unit)}" for fact in still]
    # The unit of a region at rest holds its z.
    known = [float(fact.unit.removeprefix("z ")) for fact in still if fact.unit]
    if where and known and len(named) > _FEW:
        return [f"In the {where}, no part moves above its noise floor (largest z {max(known)})."]
    verb = "stays" if len(named) == 1 else "stay"
    return [f"{capital(listed(named))} {verb} at rest."]


def unit_name(code: str) -> str:
    """Name of an AU; its number alone, if FACS has none."""
    number = facs.au_number(code)
    return au_name(code) if number in facs.ACTION_UNITS else f"AU{number}"


def listed(names: Sequence[str]) -> str:
    """For example "the chin, the glabella and the left cheek"."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def told(found: Findings) -> list[str]:
    """What moved, what does not fit the AUs asked about, what rests, and blinks."""
    unfit = [
        f"What moved does not fit {unit_name(fact.about)}."
        for fact in facts_of(found.facts, "fits")
        if not fact.value
    ]
    moving = [*motion(rows_of(found.facts)), *likely_told(found.facts)]
    blinks = facts_of(found.facts, "blink")
    if blinks and _nothing(found.facts):
        return [*blinks_told(blinks), "Besides, no region moved above the noise floor."]
    still = resting(found.facts, _whole_place(found))
    return [*moving, *unfit, *still, *blinks_told(blinks)]


def _nothing(facts: Sequence[Fact]) -> bool:
    return any(fact.about == "movement" and fact.value is False for fact in facts)


def likely_told(facts: Sequence[Fact]) -> list[str]:
    """Regions that likely moved, and how sure that is; without a direction, which is not sure."""
    found = [fact for fact in facts_of(facts, "likely") if fact.unit]
    if not found:
        return []
    said = [f"the {fact.about} ({fact.value:.2f} px, {fact.unit})" for fact in found]
    return [f"Likely, but below the z of 3 from which it is sure: {listed(said)}."]


def blinks_told(facts: Sequence[Fact]) -> list[str]:
    """When the eyes blink."""
    if not facts:
        return []
    said = [f"at {f.value:.3f} s (frames {f.frames[0]} to {f.frames[-1]})" for f in facts]
    return [f"The eyes blink {listed(said)}."]


def _whole_place(found: Findings) -> str:
    """The place of a query in words, if none of it moved."""
    told = any(fact.evidence or fact.what == "likely" for fact in found.facts)
    return "" if told else place(found.query)
