"""A query as the arguments of a tool call, and back: how an instruct model asks the engine."""

from __future__ import annotations

from typing import Any

from deft_llm.errors import UserError
from deft_llm.queries import query as grammar
from deft_llm.queries.query import Query, expand, grouped

TOOL = "look_at_clip"
# As in a query's line, a name is one word.
_PLACES = tuple(name.replace(" ", "_") for name in (*grammar.GROUPS, *grammar.PARTS))
#: Fields with several of some values.
LISTS: dict[str, tuple[str, ...]] = {
    "regions": _PLACES,
    "sides": grammar.SIDES,
    "directions": grammar.WAYS,
    "classes": grammar.CLASSES,
    "moments": grammar.MOMENTS,
    "than": (*_PLACES, *grammar.CLASSES),
}
#: Fields with one of some values.
WORDS: dict[str, tuple[str, ...]] = {
    "kind": grammar.KINDS,
    "of": grammar.OBJECTS,
    "rank": grammar.RANKS,
    "topic": grammar.TOPICS,
}
FLAGS = ("polar", "negated")
#: The two kinds of a limit.
LIMITS = ("more", "less")


def arguments(query: Query) -> dict[str, Any]:
    """The arguments of the call that asks a query; fields that it leaves empty are left out."""
    values: dict[str, Any] = {name: getattr(query, name) for name in (*WORDS, *FLAGS)}
    for name in LISTS:
        value = getattr(query, name)
        listed = grouped(value) if name in {"regions", "than"} else value
        values[name] = [each.replace(" ", "_") for each in listed]
    values |= {"aus": list(query.aus), "at": query.at}
    if query.bound:
        values[query.bound[0]] = query.bound[1]
    return {name: value for name, value in values.items() if value or name in LIMITS}


def from_arguments(values: dict[str, Any]) -> Query | None:
    """The query of a call's arguments; None if they are none."""
    try:
        lists = {
            name: expand(each.replace("_", " ") for each in values.get(name, ())) for name in LISTS
        }
        words = {name: values.get(name, "") for name in WORDS if name != "kind"}
        flags = {name: values.get(name) is True for name in FLAGS}
        aus = tuple(map(int, values.get("aus", ())))
        limits = [(name, float(values[name])) for name in LIMITS if name in values]
        bound = limits[0] if limits else None
        words["at"] = values.get("at", "")
        return Query(values["kind"], aus=aus, bound=bound, **flags, **lists, **words)  # type: ignore[arg-type]
    except (UserError, AttributeError, KeyError, TypeError, ValueError):
        return None
