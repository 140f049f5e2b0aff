"""Findings on AUs and emotions in words: what is named, what speaks for it and what against."""

from __future__ import annotations

from collections.abc import Sequence

from deft_llm import facs
from deft_llm.answers import NOTHING, au_name
from deft_llm.deft.inference.sentences import (
    capital,
    facts_of,
    listed,
    motion,
    resting,
    rows_of,
    told,
    unit_name,
)
from deft_llm.queries.findings import Fact, Findings


def aus(found: Findings) -> list[str]:
    """Which AUs are named or not, and the motion that fits them."""
    query, named = found.query, facts_of(found.facts, "named")
    if named and query.kind == "confidence" and query.of == "aus":
        return [f"{listed([f'{au_name(fact.about)} ({fact.unit})' for fact in named])}."]
    if named and not query.aus:
        names = ", ".join(au_name(fact.about) for fact in named)
        return [names if found.polarity is None else f"{names}."]
    return [
        *_nearly_named(found.facts),
        *_decided(named),
        *_motion_of(found, named),
        *_fitting(found.facts),
        *(["No action unit is named."] if facts_of(found.facts, "number") else []),
    ]


def _nearly_named(facts: Sequence[Fact]) -> list[str]:
    return [
        f"{unit_name(fact.about)} is not named, but the AU head, which sees all frames, "
        f"gives it {fact.value:.2f}."
        for fact in facts_of(facts, "likely")
    ]


def _decided(named: Sequence[Fact]) -> list[str]:
    """Of each AU that was asked about, whether it is named, and its motion."""
    sentences = []
    for fact in named:
        if fact.value:
            sentences += [f"{au_name(fact.about)} is named ({fact.unit}).", *motion(fact.evidence)]
        else:
            share = f" ({fact.unit})" * bool(fact.unit)
            sentences.append(f"{au_name(fact.about)} is not named{share}.")
    return sentences


def _motion_of(found: Findings, named: Sequence[Fact]) -> list[str]:
    """What moved or rests where the AUs can be seen."""
    asked = facts_of(found.facts, "moved")
    if any(fact.value is False for fact in asked):
        return resting(asked)
    moved = motion(rows_of(asked))
    if asked and named:
        return ["Motion that would fit it:", *moved] if moved else []
    if named and not any(fact.value for fact in named) and not found.untold:
        return ["What moved does not fit it."]
    return moved


def _fitting(facts: Sequence[Fact]) -> list[str]:
    """AUs that the motion fits, where the model names none."""
    fitting = [facs.au_short(fact.about) for fact in facts_of(facts, "fits") if fact.value]
    if not fitting:
        return []
    return [f"No action unit is named; what moved fits {', '.join(fitting)}."]


def reading(fact: Fact) -> str:
    """How the emotion is read."""
    if fact.value == NOTHING:
        return f"The model names no emotion ({fact.unit})." if fact.unit else "No emotion is named."
    if fact.value == "others":
        return f"It fits none of the basic emotions ({fact.unit})."
    return f"It is read as {fact.value} ({fact.unit})."


def emotion(found: Findings) -> list[str]:
    """How the emotion is read, by which reasons, how surely, and what rests."""
    facts = found.facts
    sentences = [
        *(str(fact.value) for fact in facts_of(facts, "reasons")),
        *(reading(fact) for fact in facts_of(facts, "emotion")),
        *filter(None, map(_how_surely, facts)),
        *_same_class(facts_of(facts, "of the same class as")),
    ]
    # What two facts say alike is said once.
    return [*dict.fromkeys(sentences), *resting(facts)]


def _how_surely(fact: Fact) -> str:
    """What else may be, and how likely; empty for other facts."""
    if fact.what == "about as likely as":
        return _rival(fact)
    if fact.what == "probability":
        return f"The class {fact.about} has probability {fact.value:.2f}."
    if fact.what == "doubt":
        return f"{capital(str(fact.value))}."
    if fact.what.startswith("share of codings"):
        return _share_of_codings(fact)
    return ""


def _rival(fact: Fact) -> str:
    if fact.value == fact.about:
        return f"The emotion head finds {fact.about} likeliest ({fact.unit})."
    return f"The emotion head hardly tells {fact.about} from {fact.value} ({fact.unit})."


def _share_of_codings(fact: Fact) -> str:
    label = fact.what.rpartition(" ")[2]
    share = f"{100 * float(fact.value or 0):.0f} %"
    return f"Of the published codings with {facs.au_short(fact.about)}, {share} are {label}."


def _same_class(near: Sequence[Fact]) -> list[str]:
    """Emotions that a class holds beside the one that is named."""
    if not near:
        return []
    labels = listed([fact.about for fact in near])
    be = "are" if len(near) > 1 else "is"
    return [
        f"{capital(labels)} {be} of the same class as {near[0].value}; within a class the "
        "model names one, without a probability."
    ]


def why(found: Findings) -> list[str]:
    """The reasons for the reading, for or against AUs, or for what moved."""
    if found.query.aus:
        return _against(found) if found.query.kind == "why_not" else aus(found)
    if explained := facts_of(found.facts, "explained by"):
        said = [
            f"The {f.about}: {f.value or 'no named action unit explains it'}." for f in explained
        ]
        return [*motion(rows_of(explained)), *said]
    if any(fact.value for fact in facts_of(found.facts, "moved")):
        return told(found)
    sentences = emotion(found)
    if not any(fact.value for fact in facts_of(found.facts, "reasons")):
        return sentences
    # The reasons conclude on the reading themselves.
    return [s for s in sentences if not s.startswith(("It is read", "The model names"))]


def _against(found: Findings) -> list[str]:
    """What speaks against AUs, after what is named."""
    sentences = aus(found)
    elsewhere = motion(rows_of(facts_of(found.facts, "elsewhere")))
    if elsewhere:
        sentences += ["Against it:", *elsewhere]
    elif any(fact.value for fact in facts_of(found.facts, "named")):
        sentences.append("No motion that was measured speaks against it.")
    if still := facts_of(found.facts, "at rest"):
        names = [f"the {fact.about} ({fact.unit})" for fact in still]
        stay = "stays" if len(still) == 1 else "stay"
        sentences.append(f"It can move {listed(names)}, which {stay} at rest.")
    return sentences
