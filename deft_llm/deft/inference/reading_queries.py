"""Queries about the model's own verdicts: AUs, emotion, how likely, how sure, why and why not."""

from __future__ import annotations

from dataclasses import replace

from deft_llm import facs
from deft_llm.answers import NOTHING, coarse_label
from deft_llm.clip import Evidence
from deft_llm.deft.inference import wording
from deft_llm.deft.inference.motion_queries import STILL, still
from deft_llm.deft.inference.sight import (
    Sight,
    Weighed,
    explains,
    moved_fact,
    places,
    z_below,
)
from deft_llm.motion.regions import REGION_NAMES
from deft_llm.queries.findings import Fact, Findings
from deft_llm.queries.phrasing import place
from deft_llm.queries.query import CLASSES, SIDES, Query
from deft_llm.simulator.scene.statistics import class_share

#: Probability of the AU head from which an AU that is not named may be there all the same. On
#: simulated clips of both heads six in ten of those between this and the next AU that is named are.
LIKELY_AU = 0.15
#: An emotion with this share of the likeliest one's probability is hardly told apart from it.
ALIKE = 0.8
#: Labels that the emotion head tells apart; the others are their classes.
_FINE = ("anger", "contempt", "disgust", "fear", "happiness", "sadness", "surprise")


def unjudged(sight: Sight) -> str:
    """Why no emotion and no AU is named; empty if the model judged the clip."""
    return "" if sight.explanation.probabilities else sight.explanation.status


def _named(sight: Sight, number: int) -> str:
    """The code under which the model names an AU; empty if it does not."""
    return next((code for code in sight.explanation.aus if facs.au_number(code) == number), "")


def au_fact(code: str, sight: Sight) -> Fact:
    """An AU that the model names, with the motion that speaks for it."""
    rows = tuple(row for row in sight.rows if wording.explains(code, row))
    share = round(sight.explanation.aus[code], 3)
    return Fact(code, "named", True, f"probability {share:.2f}", rows, sight.rise)


def action_units(query: Query, sight: Sight) -> Findings:
    """Which AUs are named, or whether one of some is."""
    if not query.aus:
        return _listed_aus(query, sight)
    if unknown := [number for number in query.aus if number not in facs.ACTION_UNITS]:
        return Findings(query, untold=f"FACS has no AU{unknown[0]}")
    # Without motion nothing is named, whether the clip was judged or not: that is told below.
    if reason := sight.rows and unjudged(sight):
        return Findings(query, facts=_fitting(query, sight), untold=reason)
    codes = [code for number in query.aus if (code := _named(sight, number))]
    sides = set(query.sides)
    # A code without a side acts on both sides, so it answers for either.
    codes = [code for code in codes if not sides or sides <= set(facs.au_sides(code))]
    numbers = {facs.au_number(code) for code in codes}
    if query.of == "all" and numbers < set(query.aus):
        facts = (*(au_fact(code, sight) for code in codes), *_not_named(query, numbers, sight))
        return Findings(query, query.negated if query.polar else None, facts)
    if codes:
        facts = tuple(au_fact(code, sight) for code in codes)
        if not query.polar:
            facts += _not_named(query, numbers, sight)
        return Findings(query, (not query.negated) if query.polar else None, facts)
    if likely := _likely_aus(query, sight):
        polarity = (not query.negated) if query.polar else None
        return Findings(query, polarity, (*likely, *_fitting(query, sight)))
    if not any(facs.expected_directions(str(number)) for number in query.aus):
        label = facs.ACTION_UNITS[query.aus[0]].label
        return Findings(query, untold=f"{label} does not move the skin in a way that is measured")
    polarity = query.negated if query.polar else None
    absent = _not_named(query, set(), sight)
    rest = _fitting(query, sight) if sight.rows else (STILL,)
    return Findings(query, polarity, (*absent, *rest))


def _not_named(query: Query, named: set[int], sight: Sight) -> tuple[Fact, ...]:
    return tuple(
        Fact(str(number), "named", False, _share_of(number, query, sight))
        for number in query.aus
        if number not in named
    )


def _likely_aus(query: Query, sight: Sight) -> tuple[Fact, ...]:
    """AUs that are not named, but that the AU head, which sees all frames, does not rule out."""
    weighed = sight.weighed
    # Where nothing moved above the noise, nothing is said to have moved.
    if weighed is None or not sight.rows:
        return ()
    shares = {number: _au_share(number, query, weighed) for number in query.aus}
    return tuple(
        Fact(str(number), "likely", round(share, 3))
        for number, share in shares.items()
        if share >= LIKELY_AU
    )


def _au_share(number: int, query: Query, weighed: Weighed) -> float:
    shares = dict(zip(SIDES, weighed.aus.get(number, (0.0, 0.0)), strict=True))
    # Of two sides that are both asked for, the less likely one counts.
    return min(shares[s] for s in query.sides) if query.sides else max(shares.values())


def _share_of(number: int, query: Query, sight: Sight) -> str:
    """The probability of an AU that is not named, in words; empty if the head has none for it."""
    weighed = sight.weighed if sight.rows else None
    if weighed is None or number not in weighed.aus:
        return ""
    return f"probability {_au_share(number, query, weighed):.2f}"


def _fitting(query: Query, sight: Sight) -> tuple[Fact, ...]:
    """Motion that would fit the AUs asked about."""
    rows = [row for row in sight.rows if any(explains(number, row) for number in query.aus)]
    return tuple(moved_fact(row, sight.rise) for row in rows)


def _listed_aus(query: Query, sight: Sight) -> Findings:
    if not sight.rows:
        return Findings(query, query.negated if query.polar else None, (STILL,))
    if reason := unjudged(sight):
        fits = facs.sort_aus(code for row in sight.rows for code in row.aus)
        facts = tuple(Fact(code, "fits", True) for code in fits)
        return Findings(query, facts=facts, untold=reason)
    if query.negated and not query.polar:
        return _absent_aus(query, sight)
    names = set(places(query)) if query.regions or query.sides else None
    facts = tuple(
        fact
        for fact in (au_fact(code, sight) for code in sight.explanation.aus)
        if names is None or any(row.region in names for row in fact.evidence)
    )
    polarity = (bool(facts) != query.negated) if query.polar else None
    if not facts and sight.explanation.aus:
        untold = f"none of the action units that are named moves the {place(query)}"
        return Findings(query, polarity, untold=untold)
    return Findings(query, polarity, facts or (Fact("aus", "number", 0),))


def _absent_aus(query: Query, sight: Sight) -> Findings:
    """The AUs that the model knows and does not name, of a place if one is asked about."""
    parts = {name.partition(" ")[2] or name for name in places(query)}
    absent = [
        number
        for number in (sight.weighed.aus if sight.weighed else ())
        if not _named(sight, number)
        and (not query.regions or parts & {m.region for m in facs.ACTION_UNITS[number].movements})
    ]
    facts = tuple(Fact(str(number), "named", False) for number in absent)
    return Findings(query, facts=facts, untold="" if facts else "none is absent")


def reading_fact(sight: Sight) -> Fact:
    """The emotion that the model names, with the probability of its class."""
    found = sight.explanation
    label = found.emotion or NOTHING
    probability = found.probabilities.get(label, 0.0)
    name = found.fine_emotion or label
    unit = f"class {label}, probability {probability:.2f}"
    return Fact("reading", "emotion", name, unit, sight.rows, sight.rise)


def emotion(query: Query, sight: Sight) -> Findings:
    """Which emotion is named, or whether it is one of some."""
    if not sight.rows:
        calm = NOTHING in query.classes
        polarity = (calm != query.negated) if query.polar else None
        return Findings(query, polarity, (Fact("reading", "emotion", NOTHING), STILL))
    if reason := unjudged(sight):
        return Findings(query, untold=reason)
    facts = (reading_fact(sight), *_others(query.classes, sight))
    if not query.polar:
        return Findings(query, facts=facts)
    if not query.classes:
        return Findings(query, (sight.explanation.emotion is not None) != query.negated, facts[:1])
    alike = () if _is_read_as(query.classes, sight) else _alike(query.classes, sight)
    yes = bool(alike) or _is_read_as(query.classes, sight)
    return Findings(query, yes != query.negated, (*facts, *alike))


def _alike(classes: tuple[str, ...], sight: Sight) -> tuple[Fact, ...]:
    """Emotions that the emotion head finds likeliest, or hardly tells apart from that one."""
    weighed = sight.weighed
    if weighed is None or weighed.label == NOTHING:
        return ()
    shares = {name: weighed.emotions.get(name, 0.0) for name in _FINE}
    best = max(shares, key=shares.__getitem__)
    said = {name: f"{share:.2f} and {shares[best]:.2f}" for name, share in shares.items()}
    said[best] = f"{shares[best]:.2f}"
    return tuple(
        Fact(name, "about as likely as", best, said[name])
        for name in classes
        if name in shares and shares[name] >= ALIKE * shares[best]
    )


def _is_read_as(classes: tuple[str, ...], sight: Sight) -> bool:
    found = sight.explanation
    return bool({found.fine_emotion or NOTHING, found.emotion or NOTHING} & set(classes))


def _others(classes: tuple[str, ...], sight: Sight) -> tuple[Fact, ...]:
    """What is to say of labels beside the reading: the probability of their class, if another."""
    found = sight.explanation
    own = found.emotion or NOTHING
    near = tuple(
        Fact(label, "of the same class as", found.fine_emotion or own)
        for label in classes
        if coarse_label(label) == own and label not in {own, found.fine_emotion}
    )
    return (*near, *(fact for fact in _chances(classes, sight) if fact.about != own))


def _chances(classes: tuple[str, ...], sight: Sight) -> tuple[Fact, ...]:
    """The probability of the class of each label, which is what the model tells apart."""
    # Labels of one class have one probability, which is told once.
    labels = dict.fromkeys(coarse_label(label) for label in classes)
    shares = sight.explanation.probabilities
    return tuple(Fact(label, "probability", round(shares[label], 3)) for label in labels)


def probability(query: Query, sight: Sight) -> Findings:
    """How likely the classes are, or whether one is likelier than another."""
    if not sight.rows:
        return Findings(query, facts=(STILL,), untold="nothing moved that could be read")
    if reason := unjudged(sight):
        return Findings(query, untold=reason)
    if query.aus:
        return action_units(Query("au", aus=query.aus), sight)
    shares = sight.explanation.probabilities
    ranked = sorted(shares, key=lambda label: -shares[label])
    if query.classes and any(name in CLASSES for name in query.than):
        return _likelier(query, sight)
    asked = query.classes or tuple(ranked)
    if query.rank:
        asked = (ranked[{"most": 0, "second": 1, "least": -1}.get(query.rank, 0)],)
    facts = _chances(asked, sight)
    if query.classes:
        facts += (reading_fact(sight),)
    if not query.polar:
        return Findings(query, facts=facts)
    kind, limit = query.bound or ("more", 0.5)
    value = float(facts[0].value or 0.0)
    yes = value > limit if kind == "more" else value < limit
    return Findings(query, yes != query.negated, facts)


def _likelier(query: Query, sight: Sight) -> Findings:
    one, two = query.classes[:1], tuple(n for n in query.than if n in CLASSES)[:1]
    facts = _chances((*one, *two), sight)
    # One probability for two labels: both are of one class, and only its name tells them apart.
    if len(facts) < 2:
        named = _is_read_as(one, sight), _is_read_as(two, sight)
        if named[0] == named[1]:
            return Findings(
                query, untold="both belong to one class, which is all that is told apart"
            )
        polarity = named[0] != query.negated if query.polar else None
        return Findings(query, polarity, (reading_fact(sight),))
    likelier = float(facts[0].value or 0) > float(facts[1].value or 0)
    return Findings(query, likelier != query.negated if query.polar else None, facts)


def why(query: Query, sight: Sight) -> Findings:
    """The reasons for the reading, or for an AU; of another reading, why it is not that."""
    if not sight.rows:
        return Findings(query, facts=(STILL,))
    if query.aus:
        return action_units(Query("why", aus=query.aus), sight)
    if reason := unjudged(sight):
        return Findings(
            query, facts=tuple(moved_fact(r, sight.rise) for r in sight.rows), untold=reason
        )
    if query.regions:
        rows = [row for row in sight.rows if row.region in places(query)]
        return Findings(
            query, facts=tuple(_explained(row, sight) for row in rows) or still(query, sight)
        )
    if query.classes and not _is_read_as(query.classes, sight):
        return why_not(query, sight)
    named = tuple(au_fact(code, sight) for code in sight.explanation.aus)
    return Findings(query, facts=(*_reasons(sight), *named, reading_fact(sight)))


def _reasons(sight: Sight) -> tuple[Fact, ...]:
    doubt = sight.explanation.disagreement
    told = Fact("reading", "reasons", sight.explanation.rationale, "", sight.explanation.evidence)
    return (told, Fact("reading", "doubt", doubt)) if doubt else (told,)


def _explained(row: Evidence, sight: Sight) -> Fact:
    named = [code for code in sight.explanation.aus if wording.explains(code, row)]
    listed = ", ".join(map(facs.au_short, named))
    return Fact(row.region, "explained by", listed or None, evidence=(row,), frames=sight.rise)


def why_not(query: Query, sight: Sight) -> Findings:
    """What speaks against another reading, or why an AU is not named."""
    if query.aus:
        found = action_units(Query("why_not", aus=query.aus), sight)
        return found if found.untold or not sight.rows else _against(found, sight)
    if not sight.rows:
        return Findings(query, facts=(STILL,))
    if reason := unjudged(sight):
        return Findings(query, untold=reason)
    asked = query.classes or tuple(_runner_up(sight))
    against = []
    own = sight.explanation.emotion or NOTHING
    for label in dict.fromkeys(label for label in map(coarse_label, asked) if label != own):
        for code in sight.explanation.aus:
            share = class_share(code, label)
            if share is not None:
                against.append(Fact(code, f"share of codings that are {label}", round(share, 3)))
    return Findings(
        Query("why_not", classes=asked),
        facts=(reading_fact(sight), *_others(asked, sight), *against),
    )


def _against(found: Findings, sight: Sight) -> Findings:
    """What speaks against AUs: where their motion should be, regions at rest or going elsewhere."""
    # Of an AU that is named, what speaks for it is not asked; of another, it is why one may doubt.
    facts = [
        replace(fact, evidence=()) if fact.value is True and fact.what == "named" else fact
        for fact in found.facts
    ]
    moving = {row.region: row for row in sight.rows}
    named = [fact.about for fact in facts if fact.what == "named" and fact.value]
    for code in named or map(str, found.query.aus):
        for name in facs.expected_directions(code):
            row = moving.get(name)
            if row is not None and not wording.explains(code, row):
                facts.append(Fact(name, "elsewhere", row.direction, "", (row,), sight.rise))
            elif row is None and name not in sight.unseen((name,)):
                z = float(sight.measurement.table_apex.z[REGION_NAMES.index(name)])
                facts.append(Fact(name, "at rest", True, z_below(z)))
    return replace(found, facts=tuple(dict.fromkeys(facts)))


def _runner_up(sight: Sight) -> list[str]:
    shares = sight.explanation.probabilities
    return sorted(shares, key=lambda label: -shares[label])[1:2]


def confidence(query: Query, sight: Sight) -> Findings:
    """How sure the reading or an AU is."""
    if query.aus:
        return action_units(Query("confidence", aus=query.aus), sight)
    if not sight.rows:
        return Findings(query, facts=(STILL,))
    if reason := unjudged(sight):
        return Findings(query, untold=reason)
    if query.of == "aus":
        named = tuple(au_fact(code, sight) for code in sight.explanation.aus)
        return Findings(query, facts=named or (Fact("aus", "number", 0),))
    second = _chances(tuple(_runner_up(sight)), sight)
    doubt = sight.explanation.disagreement
    doubts = (Fact("reading", "doubt", doubt),) if doubt else ()
    asked = [f for f in _chances(query.classes, sight) if f.about not in {s.about for s in second}]
    own = sight.explanation.emotion or NOTHING
    others = tuple(fact for fact in (*asked, *second) if fact.about != own)
    yes = None
    if query.polar and query.bound:
        share = sight.explanation.probabilities.get(own, 0.0)
        more = query.bound[0] == "more"
        yes = (share > query.bound[1] if more else share < query.bound[1]) != query.negated
    return Findings(query, yes, (reading_fact(sight), *others, *doubts))
